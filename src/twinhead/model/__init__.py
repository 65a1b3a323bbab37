"""The network: heads, memory, readings of patches; how it is trained, fitted and used."""
