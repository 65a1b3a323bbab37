"""The convolutional parts a network can stand on: one module each, all with the same face."""
