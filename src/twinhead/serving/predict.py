"""`twinhead predict`: answer for photographs, print or write the answers, draw the heat maps.

Answers are written as they come, and photographs are found as they are wanted: memory stays the
same however many there are.
"""

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from twinhead import stage
from twinhead.errors import InputError
from twinhead.serving import batch, drawing, formats, models, photographs
from twinhead.serving.models import Answering
from twinhead.serving.tally import Tally

ALL_READ, UNREADABLE, NOT_GOOD = 0, 1, 3
"""How `predict` ends; 2 is for what stops the whole."""
BATCH = 64
"""Photographs that are held at a time, decoded."""


@dataclass
class Survey:
    """The photographs that are named, at a first look: what the table and the progress need."""

    count: int = 0
    longest: int = 0
    """Letters of the longest path."""
    root: str = ""
    """The folder that all are in."""


def predict(options: Namespace) -> int:
    """Do what the command line asks, and return the exit code.

    Raises InputError for what can't be done at all; a photograph that can't be read is named on
    stderr, and the rest goes on.
    """
    outputs = [file for file in (options.csv, options.jsonl, options.json) if file]
    formats.check_all(outputs)
    if options.resume and (options.json or not outputs or formats.STDOUT in outputs):
        raise InputError("--resume goes on with the file of --csv or --jsonl; name one of them")
    if options.resume and options.threshold is not None:
        raise InputError(
            "--resume and --threshold: the answers in the file may be of another threshold; begin a"
            " new file"
        )
    survey = _survey(options.paths)
    with models.opened(options.model) as model:
        if options.overlays:
            model.check_scale()
        if options.threshold is not None and "defect" not in model.tasks:
            raise InputError("--threshold: the network has no defect head, so there is none to set")
        return _predict(options, model, survey)


def _survey(names: list[str]) -> Survey:
    found = Survey()
    for file in photographs.find(names):
        found.count += 1
        found.longest = max(found.longest, len(formats.printable(file)))
        folder = os.path.dirname(os.path.abspath(file))
        found.root = os.path.commonpath([found.root or folder, folder])
    return found


def _predict(options: Namespace, model: Answering, survey: Survey) -> int:
    with contextlib.ExitStack() as stack:
        kept: list[formats.Lines] = []
        forms: list[tuple[Path | None, formats.Form]] = [
            (options.csv, formats.Csv(model.columns)),
            (options.jsonl, formats.JsonLines()),
        ]
        for file, form in forms:
            if file:
                kept.append(formats.Lines(file, form, options.resume))
                stack.callback(kept[-1].close)
        array = stack.enter_context(formats.json_array(options.json)) if options.json else None
        tally = Tally(
            defective=min((one.defective for one in kept), default=0),
            unknown=min((one.unknown for one in kept), default=0),
            before=min(map(len, kept)) if options.resume else 0,
        )
        files = photographs.find(options.paths)
        if options.resume:
            files = (x for x in files if not all(formats.spelt(x) in one for one in kept))

        table = None
        if formats.STDOUT not in (options.csv, options.jsonl, options.json):
            table = formats.Table(survey.longest, model.columns, model.categories)
            print(table.heading())
        for answers in _answers(model, files, options, survey, tally.before):
            for answer, fault in answers:
                if fault:
                    print(f"predict: {formats.printable(fault)}", file=sys.stderr, flush=True)
                if answer is None:
                    tally.unread += 1
                    continue
                tally.add(answer)
                tally.undrawn += fault is not None
                if table:
                    print(table.line(answer))
                for one in kept:
                    one.write(answer)
                if array:
                    array(answer)
            sys.stdout.flush()
            for one in kept:
                one.flush()
    judged = "defect" in model.tasks
    print(f"predict: {tally.line(judged)}", file=sys.stderr)
    if options.check and (tally.defective or tally.unknown):
        return NOT_GOOD
    return UNREADABLE if tally.unread + tally.undrawn else ALL_READ


def _answers(
    model: Answering, files: Iterable[Path], options: Namespace, survey: Survey, done: int
) -> Iterator[list[tuple[dict | None, InputError | None]]]:
    """In the files' order, some at a time: an answer with its `path`, and what is wrong.

    Without an answer the photograph can't be read; with one, its heat map can't be drawn.
    """
    overlays: Path | None = options.overlays
    tell = stage.progress("predict", done) if survey.count - done > BATCH else None
    for part in photographs.decoded(files, model.size, BATCH):
        read = [found for _, found in part if not isinstance(found, InputError)]
        given = batch.answers(model, read, overlays is not None, options.threshold)
        answers: list[tuple[dict | None, InputError | None]] = []
        for file, found in part:
            if isinstance(found, InputError):
                answers.append((None, found))
                continue
            answer, heat = next(given)
            fault = None
            if overlays and heat is not None:
                place = overlays / os.path.relpath(os.path.abspath(file), survey.root)
                fault = drawing.draw(model, file, heat, place)
            answers.append(({"path": formats.spelt(file)} | answer, fault))
        yield answers
        done += len(part)
        if tell:
            with contextlib.redirect_stdout(sys.stderr):
                tell(done, max(done, survey.count))
