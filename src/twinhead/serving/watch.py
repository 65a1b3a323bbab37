"""`twinhead watch`: answer each photograph that a camera drops into a folder, once.

A photograph is taken when its size and time were the same in two looks and it can be decoded; one
that is cut off may still be written. Its answer is a line of JSON, on the terminal and in a file
that grows; what stands in that file is not answered again after a restart.
"""

import errno
import heapq
import json
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np

from twinhead.errors import InputError
from twinhead.ingest import images
from twinhead.serving import batch, drawing, formats, models, photographs
from twinhead.serving.answered import Answered
from twinhead.serving.models import Answering
from twinhead.serving.tally import Tally

INTERVAL = 0.1
"""Seconds between two looks."""
PATIENCE = 5.0
"""Seconds that a file must have been the same before it is called unreadable."""
TOGETHER = 8
"""Photographs that are answered at a time, where so many have come."""
WAITING = 10_000
"""Photographs that are remembered from look to look until they are answered."""
RETRY = 1.0
"""Seconds until a full disk is tried again."""
FULL = {errno.ENOSPC, errno.EDQUOT}

Stamp = tuple[int, int]
"""A file's bytes, and the nanosecond of its last change."""


class Stopped(Exception):
    """Somebody has asked for the end."""


class Stopping:
    """Whether Ctrl-C or SIGTERM has come; the second one ends at once."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)

    def wait(self, seconds: float) -> None:
        """Raises Stopped if the end has been asked for."""
        until = time.monotonic() + seconds
        while not self.asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, INTERVAL))
        if self.asked:
            raise Stopped


@dataclass
class Arriving:
    """A file that hasn't been answered, as it was at the last look."""

    stamp: Stamp
    since: float
    """The monotonic second at which it was first seen so."""
    looks: int = 1
    tried: bool = False
    """Whether it couldn't be decoded, as it is."""
    away: bool = False
    """Whether the disk or the network didn't give it."""


class Folder:
    """The photographs of a folder that are new."""

    def __init__(self, place: Path, answered: Answered, patience: float) -> None:
        """answered: by `key`, what has been answered already.

        patience: seconds that a file must have been the same before it is called unreadable.
        """
        self.place, self._answered, self._patience = place, answered, patience
        self._arriving: dict[str, Arriving] = {}
        self._unlisted: set[str] = set()

    def ready(self) -> list[tuple[str, Arriving]]:
        """The photographs that didn't change since the last look, the oldest first.

        No more than WAITING at a time, however many have come. Those that the disk or the network
        didn't give make way for others.
        """
        now, found = time.monotonic(), {}
        for name, stamp in heapq.nsmallest(WAITING, self._new(), key=self._turn):
            one = self._same(name, stamp) or Arriving(stamp, now, looks=0)
            one.looks += 1
            found[name] = one
        # What was answered is never forgotten: a share that is away for a moment looks empty.
        self._arriving = found
        ready = [
            (name, one) for name, one in found.items()
            if one.looks > 1 and not (one.tried and now - one.since < self._patience)
        ]  # fmt: skip
        return sorted(ready, key=lambda pair: (pair[1].stamp[1], pair[0]))

    def _new(self) -> Iterator[tuple[str, Stamp]]:
        for file in photographs.below(self.place, self._tell):
            try:
                about = file.stat()
            except OSError:  # taken away since
                continue
            name, stamp = str(file.relative_to(self.place)), (about.st_size, about.st_mtime_ns)
            if key(name, stamp) not in self._answered:
                yield name, stamp

    def _tell(self, error: OSError) -> None:
        """Say once that a folder can't be listed; it may come back."""
        if error.filename not in self._unlisted:
            self._unlisted.add(error.filename)
            _say(formats.printable(f"{error.filename}: can't be listed ({error.strerror})"))

    def _same(self, name: str, stamp: Stamp) -> Arriving | None:
        """The photograph as at the last look, if it is still so."""
        one = self._arriving.get(name)
        return one if one and one.stamp == stamp else None

    def _turn(self, photograph: tuple[str, Stamp]) -> tuple[int, int, str]:
        """What has been seen is before what is new, so that it gets its second look."""
        name, stamp = photograph
        one = self._same(name, stamp)
        return 1 if one is None else 2 * one.away, stamp[1], name

    def read(self, name: str, arriving: Arriving, size: int) -> np.ndarray | InputError | None:
        """A photograph's pixels, what is wrong with it, or None where it may still be written."""
        file = self.place / name
        try:
            try:
                found: np.ndarray | InputError = images.read(file, size)
            except InputError as error:
                found = error
            about = file.stat()
        except OSError:  # of the machine or the network, or it was taken away
            arriving.away = True
            return None
        if (about.st_size, about.st_mtime_ns) != arriving.stamp:  # `found` is of another one
            return None
        if isinstance(found, InputError) and time.monotonic() - arriving.since < self._patience:
            arriving.tried = True
            return None
        return found

    def done(self, name: str) -> None:
        """Answer this photograph no more, as it is."""
        self._answered.add(key(name, self._arriving.pop(name).stamp))


def key(name: str, stamp: Stamp) -> int:
    """A number for a photograph; name: its path below the folder, also as `spelt` gives it."""
    return Answered.number(f"{formats.spelt(name)}\0{stamp[0]}\0{stamp[1]}")


def beside(folder: Path) -> Path:
    """The file of answers of a folder, where none is named."""
    return folder.absolute().with_name(f"{folder.absolute().name}.jsonl")


def lines(file: Path) -> Iterator[tuple[dict, int]]:
    """Yield the answers in a file of answers, with the bytes of their line; only whole lines.

    Raises InputError naming a line that is something else.
    """
    with file.open("rb") as written:
        for number, line in enumerate(written, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
                row |= {"path": str(row["path"])}
                row |= {name: int(row[name]) for name in ("bytes", "modified")}
            except (ValueError, LookupError, TypeError):
                raise InputError(
                    f"{file}: line {number} isn't an answer of `twinhead watch`; name another file"
                    " with --jsonl"
                ) from None
            yield row, len(line)


class Log:
    """The file of answers; whole lines alone, also if the disk is full or the power fails."""

    def __init__(self, file: Path) -> None:
        """Raises InputError naming the file if it can't be written, or another watch writes it."""
        self.file = file
        formats.check(file)
        try:
            self._target = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(f"{file}: can't be written ({error.strerror})") from None
        with suppress(ImportError):  # not on Windows
            import fcntl

            try:
                fcntl.flock(self._target, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{file}: another `twinhead watch` writes it") from None

    def answered(self) -> Answered:
        """What stands in the file, by `key`; a last line that isn't whole is taken away."""
        found, whole = Answered(), 0
        for row, size in lines(self.file):
            found.add(key(row["path"], (row["bytes"], row["modified"])))
            whole += size
        os.ftruncate(self._target, whole)
        return found

    def write(self, line: bytes, room: "Room") -> None:
        room.write(self._target, line, str(self.file))


class Room:
    """Writes, and waits where a disk is full until there is room again."""

    def __init__(self, stopping: Stopping) -> None:
        self._stopping, self._told = stopping, False

    def write(self, target: int, data: bytes, name: str) -> None:
        """All of the data, in as many pieces as it takes. Raises Stopped."""
        while data:
            written = self.taken(lambda data=data: os.write(target, data), name)
            data = data[written:]

    def taken(self, work: Callable, name: str) -> int:
        """What `work` returns, once there is room for it. Raises Stopped."""
        while True:
            try:
                done = work()
            except OSError as error:
                if error.errno not in FULL:
                    raise
                if not self._told:
                    _say(f"{name}: {error.strerror}; waiting until there is room")
                self._told = True
                self._stopping.wait(RETRY)
            else:
                if self._told:
                    _say(f"{name}: there is room again")
                self._told = False
                return done


def watch(options: Namespace) -> int:
    """Answer what comes until Ctrl-C or SIGTERM; return the exit code.

    Raises InputError for what can't be done at all.
    """
    folder = Path(options.folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; expected the one that photographs come to")
    if options.jsonl == formats.STDOUT:
        raise InputError(
            "--jsonl -: the answers need a file, by which a restart knows them; the"
            " terminal has them anyway"
        )
    file = options.jsonl or beside(folder)
    log = Log(file)
    answered = log.answered()
    with models.opened(options.model) as model, _stopping() as stopping:
        if options.heatmaps:
            model.check_scale()
        model.answer(np.zeros((1, model.size, model.size, 3), np.uint8))  # the first takes longer
        watched = Folder(folder, answered, options.patience)
        before = f"; {len(answered)} were answered before" if answered else ""
        _say(f"{folder}: waiting for photographs; the answers go to {file}{before}")
        tally = Tally()
        with suppress(Stopped):
            _follow(watched, model, log, Room(stopping), stopping, options.heatmaps, tally)
        _say(tally.line("defect" in model.tasks))
    return 0


def _follow(
    watched: Folder,
    model: Answering,
    log: Log,
    room: Room,
    stopping: Stopping,
    heatmaps: Path | None,
    tally: Tally,
) -> None:
    """Answer what comes. Raises Stopped; what has been begun is ended before."""
    gone = False
    while True:
        if not watched.place.is_dir() and not gone:
            _say(f"{watched.place} isn't there; waiting for it")
        gone = not watched.place.is_dir()
        ready = [] if gone else watched.ready()
        for start in range(0, len(ready), TOGETHER):
            part = ready[start : start + TOGETHER]
            for name, line, fault in _answers(watched, model, part, room, heatmaps):
                text = f"{formats.JsonLines().line(line)}\n".encode()
                log.write(text, room)
                watched.done(name)
                if fault:
                    _say(formats.printable(fault))
                if "error" in line:
                    tally.unread += 1
                else:
                    tally.add(line)
                    tally.undrawn += fault is not None
                room.write(sys.stdout.fileno(), text, "the terminal's file")
            stopping.wait(0)
        stopping.wait(INTERVAL)


def _answers(
    watched: Folder,
    model: Answering,
    ready: list[tuple[str, Arriving]],
    room: Room,
    heatmaps: Path | None,
) -> Iterator[tuple[str, dict, InputError | None]]:
    """Of those that are whole: the name, the line, and what is wrong, if something is."""
    read, decoded = [], []
    for name, arriving in ready:
        found = watched.read(name, arriving, model.size)
        size, changed = arriving.stamp
        line = {"path": formats.spelt(name), "bytes": size, "modified": changed}
        if isinstance(found, InputError):
            yield name, line | {"error": formats.printable(found)}, found
        elif found is not None:
            read.append((name, line))
            decoded.append(found)
    given = batch.answers(model, decoded, heatmaps is not None)
    for (name, line), (answer, heat) in zip(read, given, strict=True):
        fault = None
        if heatmaps and heat is not None:
            fault = drawing.draw(model, watched.place / name, heat, heatmaps / name, room.taken)
        yield name, line | answer, fault


def _say(text: str) -> None:
    print(f"watch: {text}", file=sys.stderr, flush=True)


@contextmanager
def _stopping() -> Iterator[Stopping]:
    """Ctrl-C and SIGTERM let the photograph be ended that is being answered."""
    stopping = Stopping()
    before = {number: signal.signal(number, stopping) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
