"""Whether photographs still look like those that the network knows."""
