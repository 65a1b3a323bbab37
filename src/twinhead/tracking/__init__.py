"""The bridge between DVC and MLflow: every experiment has one run, and the run has everything.

A run is found by what made it: the digests of the params, of the data set and of the model. So a
stage needs no run id from another stage, and whatever DVC took from its cache is filled in from the
files that lie there.
"""

from twinhead.tracking import client_settings  # first of all: MLflow reads them when imported

# isort: split
from twinhead.tracking.bridge import record, running

__all__ = ["client_settings", "record", "running"]
