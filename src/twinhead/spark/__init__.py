"""Millions of photographs on Spark: `twinhead spark`.

The driver lists the photographs and writes the answers; the workers read and answer them.
"""

COMMIT = 4096
"""Photographs whose answers are written at a time."""
MASTER = "local[*,4]"
"""This machine, a worker a core; a worker that dies gets four tries, as on a cluster."""
