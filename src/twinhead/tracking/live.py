"""A run while a stage works on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlflow.entities import Metric, RunStatus
from mlflow.tracking import MlflowClient

from twinhead.errors import InputError
from twinhead.tracking import environment, metrics, store
from twinhead.tracking.training_log import TrainingLog

PATIENCE = 3
"""Seconds that an interrupted stage gives the store to mark its run as killed."""
FAILURE_TAG = "twinhead.failure"


@dataclass
class Live:
    """A run while a stage works on it. A store that fails stops no stage."""

    stage: str
    log: TrainingLog
    run_id: str = ""
    logged: set[tuple[int, float]] = field(default_factory=set)
    """Epochs, by their loss, that a training of the same run has logged before."""
    warned: bool = False
    """Whether the user knows that the store can't be used."""
    calling: bool = False
    """Whether the stage is in the middle of a call to the store."""
    leaving: bool = False
    """Whether it is to end when that call has."""

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        """Log one epoch's row of the history, and its duration."""
        epoch = int(row["epoch"])
        self.log.epoch(epoch, seconds, environment.facts())
        if not self.run_id or (epoch, row["train_loss"]) in self.logged:
            return
        with spared(self):
            points = metrics.of_epoch(row) + [metrics.point("seconds_per_epoch", seconds, epoch)]
            MlflowClient().log_batch(self.run_id, points)

    def resumed(self, history: list[dict[str, float]]) -> None:
        """Log the epochs that a killed training hadn't sent, before the next ones."""
        rows = [row for row in history if (int(row["epoch"]), row["train_loss"]) not in self.logged]
        if not self.run_id or not rows:
            return
        with spared(self):
            log_points(self.run_id, [point for row in rows for point in metrics.of_epoch(row)])

    def close(self, status: int, reason: str) -> None:
        if not self.run_id:
            return
        with spared(self):
            MlflowClient().set_tag(self.run_id, FAILURE_TAG, f"{self.stage}: {reason}"[:4000])
            MlflowClient().set_terminated(self.run_id, RunStatus.to_string(status))

    def leave(self) -> bool:
        """Say that the stage is interrupted; False if it has to finish a word to the store first.

        An exception there could end in a callback of the database's, which swallows it. Interrupted
        twice, it is raised all the same.
        """
        if self.calling and self.leaving:
            raise KeyboardInterrupt
        self.leaving = self.calling
        if not self.calling:
            self.kill()
        return not self.calling

    def kill(self) -> None:
        """Close it as killed, without keeping a user waiting who wants to be gone."""
        self.leaving = False
        closing = threading.Thread(target=self.close, args=(RunStatus.KILLED, "interrupted"))
        closing.daemon = True
        closing.start()
        closing.join(PATIENCE)
        if closing.is_alive():
            print(f"{self.stage}: MLflow at {store.address()} doesn't answer; the run isn't marked")


def log_points(run_id: str, points: list[Metric]) -> None:
    for start in range(0, len(points), 1000):  # the most that a server takes at once
        MlflowClient().log_batch(run_id, points[start : start + 1000])


@contextmanager
def spared(live: Live, remedy: str | None = None) -> Iterator[None]:
    """Warn once of a store that fails; the stage goes on.

    With a remedy, raise InputError instead: no work has begun.
    """
    live.calling = True
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a store fails in the ways of its database, driver and network
        live.run_id = ""
        if remedy is not None:
            raise InputError(store.trouble(error) + remedy) from None
        if not live.warned:
            print(
                f"{live.stage}: {store.trouble(error)}; `make track` sends the results later",
                flush=True,
            )
        live.warned = True
    finally:
        live.calling = False
    if live.leaving:
        raise KeyboardInterrupt
