"""The Spark that the command runs on: started, given the model and the code, and asked."""

import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinhead.errors import InputError
from twinhead.serving import code
from twinhead.spark import worker

TASK = 64
"""Photographs in a task, at most: a few seconds of one core."""
HERE = "local"
"""How the name of a master begins that runs on this machine."""
DEFAULTS = {
    "spark.app.name": "twinhead",
    "spark.log.level": "FATAL",  # what went wrong is told in one line
    "spark.ui.enabled": "false",  # its page would be open to the network
    "spark.ui.showConsoleProgress": "false",
}
_LINE = re.compile(r"(?:^|[\s:])(?:[\w.]+\.)?(\w+(?:Error|Exception)): (.+)$", re.MULTILINE)
_WRAPPING = {"SparkException", "PythonException", "Py4JJavaError", "RuntimeException"}


@contextmanager
def started(master: str, settings: dict[str, str], model: Sequence[Path], called: str) -> Iterator:
    """Give a Spark session whose executors have this package and the model.

    settings: they take the place of DEFAULTS. model: its files, which each executor has once, in a
    folder that is called so. Raises InputError where Spark doesn't start.
    """
    if master.startswith(HERE):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit has a master
        builder = builder.master(master)
    for name, value in (DEFAULTS | settings).items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        raise InputError(f"Spark at {master} can't be started: {cause(error)}") from None
    try:
        with tempfile.TemporaryDirectory() as folder:  # executors may come for them at any time
            package, archive = Path(folder) / "twinhead.zip", Path(folder) / f"{called}.zip"
            with zipfile.ZipFile(package, "w") as written:
                for file in sorted(code.needed(Path(worker.__file__))):
                    written.write(file, file.relative_to(code.SOURCE))
            with zipfile.ZipFile(archive, "w") as written:
                for file in model:
                    written.write(file, file.name)
            session.sparkContext.addPyFile(str(package))
            session.sparkContext.addArchive(f"{archive}#{called}")
            yield session
    finally:
        session.stop()


def ask(session: Any, function: Callable[[Sequence], Iterator], items: Sequence) -> list:
    """What a function of the workers' code yields for the items, some at a time, in their order.

    Spark asks another worker for those of one that was lost. Raises InputError where it gives up.
    """
    context = session.sparkContext
    size = min(TASK, -(-len(items) // context.defaultParallelism))
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    try:
        return context.parallelize(parts, len(parts)).flatMap(function).collect()
    except Exception as error:
        fault = f"Spark gave up: {cause(error)}"
        raise InputError(f"{fault}; what was answered is kept, run it again") from None


def cause(error: Exception) -> str:
    """What is behind an error of Spark's, whose text is that of several programs, in one line."""
    found = _LINE.findall(str(error))
    for own in (True, False):
        for kind, said in found:
            if kind == InputError.__name__ if own else kind not in _WRAPPING:
                return said if own else f"{kind}: {said}"
    return found[0][1] if found else str(error).strip().partition("\n")[0]
