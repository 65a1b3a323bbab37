"""`twinhead predict`: answer for photographs, print or write the answers, draw the heat maps."""

import contextlib
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twinhead import stage
from twinhead.errors import InputError
from twinhead.ingest import images
from twinhead.serving import formats, photographs

if TYPE_CHECKING:
    from twinhead.serving.predictor import Predictor

ALL_READ, UNREADABLE, DEFECTS = 0, 1, 3
"""How `predict` ends; 2 is for what stops the whole."""
BATCH = 64
"""Photographs that are held at a time, decoded."""


def predict(options: Namespace) -> int:
    """Do what the command line asks, and return the exit code.

    Raises InputError for what can't be done at all; a photograph that can't be read is named on
    stderr, and the rest goes on.
    """
    files = photographs.find(options.paths)
    outputs = [file for file in (options.csv, options.json) if file]
    for file in outputs:
        formats.check(file)
    if outputs.count(formats.STDOUT) > 1:
        raise InputError("--csv - and --json - both want the terminal; give one of them a file")
    with stage.loading():
        from twinhead.serving import predictor
    with _model(options.model) as place:
        model = predictor.load(place)

    if options.overlays:
        model.check_scale()
    if options.threshold is not None and "defect" not in model.tasks:
        raise InputError("--threshold: the network has no defect head, so there is none to set")
    rows, unread, quiet = [], 0, formats.STDOUT in outputs
    shown = [formats.printable(file) for file in files]
    table = formats.Table(shown, model.columns, model.metadata.categories)
    if not quiet:
        print(table.heading())
    for answer in _answers(model, files, options.overlays, options.threshold):
        if isinstance(answer, InputError):
            unread += 1
            print(f"predict: {formats.printable(answer)}", file=sys.stderr, flush=True)
            continue
        rows.append(answer)
        if not quiet:
            print(table.line(answer), flush=True)
    if options.csv:
        formats.write_csv(rows, model.columns, options.csv)
    if options.json:
        formats.write_json(rows, options.json)
    found = sum(row.get("defective", False) for row in rows)
    defective = f", {found} defective" if "defect" in model.tasks else ""
    if unknown := sum(not row.get("known", True) for row in rows):
        defective += f", {unknown} unlike anything that was trained on"
    failed = f", {unread} could not be read" if unread else ""
    print(f"predict: {len(rows)} photographs{defective}{failed}", file=sys.stderr)
    return DEFECTS if options.check and found else UNREADABLE if unread else ALL_READ


def _answers(
    model: "Predictor", files: list[Path], overlays: Path | None, threshold: float | None
) -> Iterator[dict | InputError]:
    """In the files' order: an answer with its `path`, or what is wrong with the file."""
    tell = stage.progress("predict") if len(files) > BATCH else None
    root = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    done = 0
    for part in photographs.decoded(files, model.size, BATCH):
        read = [found for _, found in part if not isinstance(found, InputError)]
        pixels = np.array(read, np.uint8).reshape(-1, model.size, model.size, 3)
        given = iter(model.answer(pixels, threshold))
        heat = iter(model.heat(pixels) if overlays else ())
        for file, found in part:
            if isinstance(found, InputError):
                yield found
                continue
            answer = {"path": formats.printable(file)} | next(given)
            fault = None
            if overlays:
                place = overlays / os.path.relpath(os.path.abspath(file), root)
                fault = _draw(model, file, next(heat), place)
            yield fault or answer
        done += len(part)
        if tell:
            with contextlib.redirect_stdout(sys.stderr):
                tell(done, len(files))


def _draw(model: "Predictor", file: Path, heat: np.ndarray, place: Path) -> InputError | None:
    """Write the photograph with its heat map; return what is wrong with it, if something is."""
    try:
        png = model.draw(images.contents(file), file, heat)
    except InputError as error:  # it was there when it was decoded
        return error
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_name(place.name + photographs.HEATED).write_bytes(png)
    except OSError as error:
        return InputError(f"{place}: can't be written ({error.strerror})")
    return None


@contextlib.contextmanager
def _model(name: str) -> Iterator[Path]:
    """The file or folder of a model; one of the registry lies in a folder of its own meanwhile."""
    if not name.startswith(("models:/", "runs:/")):
        yield Path(name)
        return
    with stage.loading():
        from twinhead.serving import registry
    with tempfile.TemporaryDirectory() as folder:
        yield registry.fetch(name, Path(folder))
