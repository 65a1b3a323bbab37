"""What a training knows and no output can hold, since it never repeats: its seconds and machine.

It lies at the repository's root, out of git's and DVC's sight, so that a run can be completed
later, also that of a training in one of DVC's throw-away copies.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER = ".journal"


@dataclass(frozen=True)
class TrainingLog:
    """The page of one training."""

    path: Path

    def read(self) -> dict:
        """Return `machine`, `seconds` by epoch and, of a training that ended, `model`'s digest."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def epoch(self, epoch: int, seconds: float, machine: dict[str, str]) -> None:
        before = self.read().get("seconds", {}) if epoch > 1 else {}
        self._write({"machine": machine, "seconds": before | {str(epoch): seconds}})

    def close(self, model: str) -> None:
        if page := self.read():
            self._write(page | {"model": model})

    def _write(self, page: dict) -> None:
        # Two workers may be at the same training: each replaces the page as a whole.
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with suppress(OSError):  # a full disk costs the seconds, not the training
            self.path.parent.mkdir(exist_ok=True)
            try:
                part.write_text(json.dumps(page, indent=1), encoding="utf-8")
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)
