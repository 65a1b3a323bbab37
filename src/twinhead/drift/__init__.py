"""Whether photographs still look like those that the network knows."""

FALSE_ALARMS = 0.01
"""The share of undisturbed comparisons that raise an alarm, by the tests' theory."""
