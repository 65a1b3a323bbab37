"""What every stage reads: the catalog, the splits, and the stores of pixels and features."""
