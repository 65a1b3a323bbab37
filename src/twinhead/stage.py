"""Run a stage: `python -m twinhead.stage train` runs the function `train` of stages/train.py.

Ctrl-C ends it with one line, also while modules load. An error that a user can mend is one line,
too. Progress is printed from here.
"""

import gc
import importlib.util
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from twinhead import errors, heap

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's greetings would bury ours
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# It warns of functions that are built more than once: one for each fold of a cross-fit.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


INTERRUPTED = 130
"""How a process ends that Ctrl-C has stopped."""
_LOWER = {
    "sample": "sample.size",
    "split": "split.near_duplicates to 0",
    "train": "train.batch_size or data.image_size",
    "embed": "embed.max_images",
}
_SIZE = "data.image_size"


_farewells: list[Callable[[], bool]] = []
_stderr = 2
_name = ""
_heavy = False
"""Whether the libraries are there, or on their way, whose C++ may swallow Ctrl-C's exception."""


SCRIPTS = Path(__file__).resolve().parents[2] / "stages"


def main() -> None:
    """Run the stage that the command line names."""
    global _name
    names = sorted(file.stem for file in SCRIPTS.glob("*.py"))
    if len(sys.argv) != 2 or sys.argv[1] not in names:
        sys.exit(f"usage: python -m twinhead.stage STAGE; the stages are {', '.join(names)}")
    _name = sys.argv[1]
    heap.keep_freed()  # stages alone: what answers at the line should stay small
    # Until `run`, while modules load, some of which would swallow the exception.
    signal.signal(signal.SIGINT, _leave)
    run(load(_name))
    gc.freeze()  # else the interpreter's last collections walk all that TensorFlow left


def load(name: str) -> Callable[[], None]:
    """The function of a stage's script, which has the stage's name."""
    found = importlib.util.spec_from_file_location(f"stages.{name}", SCRIPTS / f"{name}.py")
    assert found is not None and found.loader is not None  # as for any file that ends in .py
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    return getattr(script, name)


def run(function: Callable[[], None]) -> None:
    """Run a stage; exit with 130 if it is interrupted, with 1 and a message if it fails."""
    name, started = function.__name__, time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):  # so that the run in MLflow is KILLED
        signal.signal(number, _stop)
    try:
        function()
        print(f"{name}: done in {time.monotonic() - started:.1f} s", flush=True)
    except KeyboardInterrupt:
        _leave()
    except Exception as error:
        message = errors.message(error, lower=_LOWER.get(name, _SIZE))
        if message is None:
            raise
        if isinstance(error, FileNotFoundError):  # what an earlier stage leaves
            message += "; run `dvc repro` or `dvc checkout` first"
        sys.exit("\n".join(f"{name}: error: {line}" for line in message.splitlines()))
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)


@contextmanager
def parting(farewell: Callable[[], bool]) -> Iterator[None]:
    """Let an interrupted stage do this first; False says that it will raise KeyboardInterrupt."""
    _farewells.append(farewell)
    try:
        yield
    finally:
        _farewells.remove(farewell)


def _stop(number: int, frame: FrameType | None) -> None:
    if not _heavy:
        raise KeyboardInterrupt  # which takes half-written files away
    left = [farewell() for farewell in _farewells]  # each, also after one that has to stay
    if all(left):
        _leave()


def _leave(*signalled: object) -> None:
    """End at once: threads of TensorFlow's or MLflow's may be busy for long."""
    with suppress(RuntimeError):  # Ctrl-C may have come in the middle of a print
        sys.stdout.flush()
    os.write(_stderr, f"{_name}: interrupted\n".encode())
    os._exit(INTERRUPTED)


@contextmanager
def loading() -> Iterator[None]:
    """Import TensorFlow in here: after the params are checked, and without its greetings.

    It writes them straight to the file behind stderr, before any setting of its own can stop it;
    they are shown if the import fails.
    """
    global _heavy, _stderr
    _heavy = True
    with tempfile.TemporaryFile() as written:
        sys.stderr.flush()
        _stderr = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        except Exception:
            written.seek(0)
            os.write(_stderr, written.read())
            raise
        finally:
            os.dup2(_stderr, 2)
            os.close(_stderr)
            _stderr = 2


def progress(name: str, before: int = 0) -> Callable[[int, int], None]:
    """Return a callback (done, total) that prints every few seconds how far the stage is.

    before: how many of `done` an earlier run did; they say nothing about the rate.
    """
    started = printed = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if done == total or now - printed > 5:
            printed = now
            rate = (done - before) / max(now - started, 1e-9)
            left = f", {(total - done) / rate:.0f} s left" if before < done < total else ""
            print(f"{name}: {done} of {total} images, {rate:.0f} images/s{left}", flush=True)

    return tell


def epochs(total: int, tell: Callable[[dict, float], None]) -> Callable[[dict, float], None]:
    """Return a callback (row, seconds) that prints an epoch's losses and passes them on."""

    def done(row: dict[str, float], seconds: float) -> None:
        parts = [f"epoch {row['epoch']} of at most {total}", f"loss {row['train_loss']:.3f}"]
        for name in ("val_loss", "val_category_accuracy", "val_defect_auroc"):
            if name in row:
                parts.append(f"{name.replace('_', ' ')} {row[name]:.3f}")
        print(f"train: {', '.join(parts)}, {seconds:.1f} s", flush=True)
        tell(row, seconds)

    return done


if __name__ == "__main__":
    from twinhead import stage  # the one module that the stages know, with its state

    stage.main()
