"""Which images train, which choose, which judge; what belongs together stays together."""
