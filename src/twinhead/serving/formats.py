"""Answers about photographs as a table to read, as CSV, or as JSON."""

import json
import sys
from pathlib import Path

import pandas as pd

from twinhead import files
from twinhead.errors import InputError

STDOUT = Path("-")


class Table:
    """Answers that have these columns, a line for each as it comes."""

    def __init__(self, shown: list[str], columns: list[str], categories: list[str]) -> None:
        self.columns = columns
        self.path = max(map(len, ["photograph", *shown]))
        self.category = max(map(len, ["category", *categories]))

    def heading(self) -> str:
        cells = [f"{'photograph':{self.path}}"]
        if "category" in self.columns:
            cells.append(f"{'category':{self.category}}  {'':6}")
        if "defective" in self.columns:
            cells.append("defect")
        return "  ".join(cells).rstrip()

    def line(self, answer: dict) -> str:
        cells = [f"{answer['path']:{self.path}}"]
        if "category" in self.columns:
            cells.append(f"{answer['category']:{self.category}}")
            cells.append(f"{answer['category_probability']:6.1%}")
        if "defective" in self.columns:
            cells.append(f"{answer['defect_probability']:6.1%}")
            cells.append(verdict(answer))
        return "  ".join(cells)


def verdict(answer: dict) -> str:
    """An answer in a word; what is unlike all that was trained on is never called good."""
    if answer.get("review"):
        return "REVIEW"
    if answer["defective"]:
        return "DEFECTIVE"
    return "good" if answer.get("known", True) else "UNKNOWN"


def printable(given: Path | InputError) -> str:
    """A path, or what is wrong with one, as text; bytes that aren't UTF-8 are spelt out."""
    return str(given).encode(errors="surrogateescape").decode(errors="backslashreplace")


def check(file: Path) -> None:
    """Raise InputError if the file can't be written; say so before the work, not after it."""
    if file != STDOUT and (file.is_dir() or not file.absolute().parent.is_dir()):
        found = "is a folder" if file.is_dir() else "lies in a folder that doesn't exist"
        raise InputError(f"{file} {found}; expected a file to write")


def write_csv(answers: list[dict], columns: list[str], file: Path) -> None:
    table = pd.DataFrame(answers, columns=["path", *columns])
    _write(table.to_csv(index=False, lineterminator="\n"), file)


def write_json(answers: list[dict], file: Path) -> None:
    _write(json.dumps(answers, indent=2, ensure_ascii=False) + "\n", file)


def _write(text: str, file: Path) -> None:
    if file == STDOUT:
        sys.stdout.write(text)
        return
    try:
        if file.exists() and not file.is_file():  # a pipe or a device
            file.write_text(text, encoding="utf-8")
            return
        with files.whole(file) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file}: can't be written ({error.strerror})") from None
