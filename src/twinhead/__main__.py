"""Commands beside the pipeline: `python -m twinhead track` and `python -m twinhead ui`."""

import os
import sys

from twinhead import params, paths, stage
from twinhead.errors import InputError


def track() -> None:
    """Send what this workspace holds to its MLflow run, where that lacks it."""
    settings = params.load()
    with stage.loading():
        from twinhead import network, tracking  # noqa: F401  (tracking sends the network)

    if not paths.REPORT.exists():
        raise InputError(f"{paths.REPORT} is missing; run `dvc repro` or `dvc checkout` first")
    tracking.record("report", settings)
    print(f"track: runs are in {tracking.store()}")


def ui() -> None:
    """Open the MLflow UI on the pipeline's own store."""
    with stage.loading():
        from twinhead import tracking

    if not tracking.store().startswith("sqlite"):
        return print("ui: the store is a server of yours, with a UI of its own")
    sys.stdout.flush()
    os.execvp("mlflow", ["mlflow", "ui", "--backend-store-uri", tracking.store()])


if __name__ == "__main__":
    commands = {"track": track, "ui": ui}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python -m twinhead {'|'.join(commands)}")
    stage.run(commands[sys.argv[1]])
