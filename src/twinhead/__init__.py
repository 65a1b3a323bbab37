"""Twinhead: one network that says what a photographed product is and whether it is defective."""
