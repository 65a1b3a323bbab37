"""Answers about photographs as a table to read, as CSV, as JSON lines, or as JSON."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import indent
from typing import IO

from twinhead import files
from twinhead.errors import InputError
from twinhead.serving.answered import Answered

STDOUT = Path("-")
FORMULAS = ("=", "+", "-", "@")
"""How a cell begins that spreadsheets would compute."""


class Table:
    """Answers that have these columns, a line for each as it comes."""

    def __init__(self, longest: int, columns: list[str], categories: list[str]) -> None:
        """longest: letters of the longest path, as `printable` gives it."""
        self.columns = columns
        self.path = max(len("photograph"), longest)
        self.category = max(map(len, ["category", *map(printable, categories)]))

    def heading(self) -> str:
        cells = [f"{'photograph':{self.path}}"]
        if "category" in self.columns:
            cells.append(f"{'category':{self.category}}  {'':6}")
        if "defective" in self.columns:
            cells.append("defect")
        return "  ".join(cells).rstrip()

    def line(self, answer: dict) -> str:
        cells = [f"{printable(answer['path']):{self.path}}"]
        if "category" in self.columns:
            cells.append(f"{printable(answer['category']):{self.category}}")
            cells.append(f"{answer['category_probability']:6.1%}")
        if "defective" in self.columns:
            cells.append(f"{answer['defect_probability']:6.1%}")
            cells.append(verdict(answer))
        return "  ".join(cells)


def verdict(answer: dict) -> str:
    """An answer in a word; what is unlike all that was trained on is never called good."""
    if answer.get("review"):
        return "REVIEW"
    found = ["DEFECTIVE"] * answer["defective"] + ["UNKNOWN"] * (not answer.get("known", True))
    return ", ".join(found) or "good"


def spelt(given: Path | str) -> str:
    """A path as text; bytes that aren't UTF-8 are spelt out."""
    return str(given).encode(errors="surrogateescape").decode(errors="backslashreplace")


def printable(given: Path | InputError | str) -> str:
    """A path, or what is wrong with one, for a terminal: what would steer it is spelt out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in spelt(str(given))
    )


class JsonLines:
    """A JSON object on a line for each answer, without anything that would steer a terminal."""

    heading = ""

    def path(self, path: str) -> str:
        return path

    def line(self, answer: dict) -> str:
        text = json.dumps(answer, ensure_ascii=False)
        return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)

    def read(self, line: str) -> dict:
        return json.loads(line)


class Csv:
    """A line for each answer, with path and columns. No cell is one that a spreadsheet computes."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = ["path", *columns]
        self.heading = _csv(self.columns)

    def path(self, path: str) -> str:
        shown = printable(path)
        return f"./{shown}" if shown.startswith(FORMULAS) else shown

    def line(self, answer: dict) -> str:
        cells = [answer.get(name, "") for name in self.columns[1:]]
        return _csv([self.path(answer["path"]), *map(_cell, cells)])

    def read(self, line: str) -> dict:
        (cells,) = csv.reader([line])
        row: dict = dict(zip(self.columns, cells, strict=True))
        said = {"defective": row.get("defective") == "True", "known": row.get("known") != "False"}
        return row | said


Form = Csv | JsonLines


class Lines:
    """A file of answers that grows by a line for each; `-` is the terminal."""

    def __init__(self, file: Path, form: Form, resume: bool = False) -> None:
        """resume: keep what an earlier run has answered, but for a last line that isn't whole.

        Raises InputError naming the file if it can't be written, or holds something else.
        """
        self.file, self.form = file, form
        self.defective = self.unknown = 0
        """Of those that an earlier run has answered."""
        self._answered = Answered()
        continued = resume and file.is_file()
        with _naming(file):
            if continued:
                self._read()
            mode = "a" if continued else "w"
            self._target = sys.stdout if file == STDOUT else file.open(mode, encoding="utf-8")
            if form.heading and not (continued and file.stat().st_size):
                self._target.write(f"{form.heading}\n")

    def __len__(self) -> int:
        """How many photographs an earlier run has answered."""
        return len(self._answered)

    def __contains__(self, path: str) -> bool:
        """Whether an earlier run has answered this photograph."""
        return Answered.number(self.form.path(path)) in self._answered

    def write(self, answer: dict) -> None:
        """Raises InputError naming the file if it can't be written."""
        if answer["path"] not in self:
            with _naming(self.file):
                self._target.write(f"{self.form.line(answer)}\n")

    def flush(self) -> None:
        with _naming(self.file):
            self._target.flush()

    def close(self) -> None:
        self.flush()
        if self.file != STDOUT:
            self._target.close()

    def _read(self) -> None:
        whole = 0
        with self.file.open("rb") as old:
            for number, line in enumerate(old, start=1):
                if not line.endswith(b"\n"):
                    break
                text = line.decode("utf-8", errors="replace").rstrip("\n")
                if self.form.heading and number == 1:
                    if text != self.form.heading:
                        raise InputError(f"{self.file}: has other columns; name another file")
                else:
                    self._take(text, number)
                whole += len(line)
        os.truncate(self.file, whole)

    def _take(self, text: str, number: int) -> None:
        try:
            row = self.form.read(text)
            self._answered.add(Answered.number(row["path"]))
            self.defective += bool(row.get("defective"))
            self.unknown += not row.get("known", True)
        except (ValueError, LookupError, TypeError, AttributeError):
            fault = f"line {number} isn't an answer; name another file"
            raise InputError(f"{self.file}: {fault}") from None


@contextmanager
def json_array(file: Path) -> Iterator[Callable[[dict], None]]:
    """Give what writes an answer into an array of JSON objects; the file is whole or not there.

    Raises OSError naming the file.
    """
    with ExitStack() as stack:
        if file == STDOUT:
            target: IO[str] = sys.stdout
        elif file.exists() and not file.is_file():  # a pipe or a device
            target = stack.enter_context(file.open("w", encoding="utf-8"))
        else:
            part = stack.enter_context(files.whole(file))
            target = stack.enter_context(part.open("w", encoding="utf-8"))
        begun = False

        def write(answer: dict) -> None:
            nonlocal begun
            text = json.dumps(answer, indent=2, ensure_ascii=False)
            text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
            target.write((",\n" if begun else "[\n") + indent(text, "  "))
            begun = True

        yield write
        target.write("\n]\n" if begun else "[]\n")
        target.flush()


def check_all(outputs: list[Path]) -> None:
    """Raise InputError if one of the files can't be written, or two are the same."""
    for file in outputs:
        check(file)
    if outputs.count(STDOUT) > 1:
        raise InputError(
            "--csv -, --jsonl - and --json - want the terminal; give all but one of them a file"
        )
    seen: set[Path] = set()
    for file in outputs:
        if file != STDOUT and file.resolve() in seen:
            raise InputError(f"{file} is named for two outputs; give each a file of its own")
        seen.add(file.resolve())


def check(file: Path) -> None:
    """Raise InputError if the file can't be written; say so before the work, not after it."""
    if file != STDOUT and (file.is_dir() or not file.absolute().parent.is_dir()):
        found = "is a folder" if file.is_dir() else "lies in a folder that doesn't exist"
        raise InputError(f"{file} {found}; expected a file to write")


def _cell(value: object) -> object:
    """Text that a spreadsheet would compute, as text."""
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if shown.startswith(FORMULAS) else shown


def _csv(cells: list) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except OSError as error:
        raise InputError(f"{file}: can't be written ({error.strerror})") from None
