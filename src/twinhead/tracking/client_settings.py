"""How MLflow's client behaves here; to be imported before MLflow is."""

import logging
import os

SERVER = os.environ.get("MLFLOW_TRACKING_URI")
"""The user's own server or store. Read now: MLflow overwrites the variable."""
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# Each stage would print the run's address on a server, which `train` says.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# MLflow sets its own logger's level when it is imported.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# The last two log a traceback of each error that they raise, too.
for name, level in {
    "alembic": logging.WARNING,
    "mlflow.store.db.utils": logging.CRITICAL,
    "sqlalchemy": logging.CRITICAL,
}.items():
    logging.getLogger(name).setLevel(level)
