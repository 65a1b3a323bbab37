import signal
import subprocess
import sys
from pathlib import Path

import pytest

from twinhead import heap, stage

SOURCE = Path(__file__).resolve().parents[1] / "src"
ARRAYS = """
import resource
import numpy as np
from twinhead import heap
{first}
np.ones(2**26, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**26, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first: str) -> int:
    """Pages that the kernel makes for twenty more arrays of 64 MiB, each freed before the next."""
    command = [sys.executable, "-c", ARRAYS.format(first=first)]
    answer = subprocess.run(
        command, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    if answer.stderr == "no\n":
        pytest.skip("the C library keeps nothing")
    return int(answer.stdout)


def test_an_array_takes_the_pages_of_the_one_before() -> None:
    kept, given_back = faults("heap.keep_freed() or exit('no')"), faults("")
    assert kept < given_back / 4


def test_a_system_that_cannot_be_asked_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    assert not heap.keep_freed()


def test_where_less_may_be_kept_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Older:
        asked: list[tuple[int, int]] = []

        def mallopt(self, name: int, value: int) -> int:
            self.asked.append((name, value))
            return int(name != heap.MMAP_THRESHOLD or value <= heap.KEPT_BEFORE)

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Older())
    assert heap.keep_freed()
    assert (heap.TRIM_THRESHOLD, heap.KEPT) in Older.asked


def test_the_collector_is_spared_when_a_stage_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = []
    monkeypatch.setattr(stage.gc, "freeze", lambda: frozen.append("after"))
    monkeypatch.setattr(stage, "run", lambda function: frozen.append(function))
    monkeypatch.setattr(stage, "load", lambda name: name)
    monkeypatch.setattr(stage.heap, "keep_freed", lambda: True)
    monkeypatch.setattr(stage, "_name", "")
    monkeypatch.setattr(sys, "argv", ["stage", "split"])
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        stage.main()
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert frozen == ["split", "after"]
