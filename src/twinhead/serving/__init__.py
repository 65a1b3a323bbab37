"""Photographs in, answers out: on the command line, in MLflow, from Python."""

from pathlib import Path

ARTIFACTS = Path("artifacts")
"""Where an MLflow model keeps the network, the metadata and the export, by their own names."""
