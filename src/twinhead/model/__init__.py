"""The two-headed network and how it is trained."""
