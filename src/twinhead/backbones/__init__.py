"""Backbones: a module with a function `build` each; their weights, and the features they give."""
