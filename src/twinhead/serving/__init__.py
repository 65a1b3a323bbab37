"""Photographs in, answers out: on the command line, in MLflow, from Python."""
