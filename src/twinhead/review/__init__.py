"""What people answer about photographs: the page that asks, and the table of their answers."""

HOST = "127.0.0.1"
"""Where the page is served: no other machine sees it."""
