"""What people answer about photographs: the page that asks, and the table of their answers."""
