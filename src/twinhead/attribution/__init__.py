"""Where in a photograph an answer comes from, and how well that agrees with the masks."""
