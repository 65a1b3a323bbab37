"""Servers on the loopback that the tests start, and stop again."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 180
"""Seconds for a server to start on a busy machine."""


@dataclass
class Served:
    """A command that serves HTTP until it is stopped, with the processes that it has made."""

    command: str
    """For bash."""
    address: str
    log: Path
    variables: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self, page: str) -> None:
        """Start it, and wait until it answers at a page."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", self.command],
                cwd=self.log.parent,
                env=dict(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.address}{page}", timeout=5)
                return
            except OSError:
                time.sleep(0.1)
        pytest.fail(self.log.read_text(encoding="utf-8"))

    def stop(self) -> None:
        if self.process:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
