"""What people have answered about photographs: a table, applied over the folders' labels.

`data/answers.csv` has a row for each answer. It holds for a photograph's bytes, not for its path: a
file that is renamed keeps its answer. A later answer names those that it replaces. Where two stand
that differ, as after two reviewers worked at once, neither holds, and both are listed.
"""

import csv
import io
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from twinhead import paths, regular_file
from twinhead.dataset.catalog import CONFIRMED, GOOD, NEW, RELABELLED
from twinhead.errors import InputError, shown

COLUMNS = (
    "path", "sha256", "category", "label", "defect_type", "who", "when", "replaces",
    "defect_probability", "threshold", "model",
)  # fmt: skip
"""path: relative to data.root, or below data/reviewed. replaces: the label that it had in the
folders, or the times of the answers before. The last three: what which model had said, held out."""
DEFECTIVE, UNUSABLE = "defective", "unusable"
LABELS = (GOOD, DEFECTIVE, UNUSABLE)
MAX_BYTES = 2**29
MAX_NAME = 200
LOST, CHANGED, CONTRADICTED = "lost", "changed", "contradicted"


@dataclass(frozen=True)
class Answers:
    standing: pd.DataFrame
    """Those that hold: COLUMNS, by sha256, one for each photograph."""
    contradicted: pd.DataFrame
    """Those that no other replaces and that differ from each other: COLUMNS."""

    @property
    def left_out(self) -> dict[str, str]:
        """By sha256: photographs that aren't usable, and who said so."""
        rows = self.standing[self.standing["label"] == UNUSABLE]
        return {digest: f"not usable, says {who}" for digest, who in rows["who"].items()}

    @property
    def unmasked(self) -> set[str]:
        """Of good photographs, whose masks mean nothing."""
        return set(self.standing.index[self.standing["label"] == GOOD])

    def new(self) -> pd.DataFrame:
        """Rows for the catalog, up to `reviewed`: photographs that came by a review."""
        rows = self.standing[self.standing["label"] != UNUSABLE]
        rows = rows[rows["path"].map(_is_below).astype(bool)]
        return pd.DataFrame({
            "path": rows["path"], "category": rows["category"], "defect_type": _kinds(rows),
            "defective": (rows["label"] == DEFECTIVE).astype(int), "mask": "", "official": "train",
            "given": "", "reviewed": NEW,
        }).reset_index(drop=True)  # fmt: skip

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The completed catalog with the answers' labels, and in `reviewed` what they did.

        Raises InputError naming a photograph below data/reviewed that isn't the one answered.
        """
        frame = frame.copy()
        own = frame["path"].map(_is_below).astype(bool)
        answered = set(self.standing.index)
        if len(odd := frame["path"][own & ~frame["sha256"].isin(answered)]):
            raise InputError(
                f"{odd.iat[0]}: changed since it was answered; bring the file back, or delete its"
                " row from the answers"
            )
        rows = frame.index[frame["sha256"].isin(answered)]
        given = self.standing.loc[frame["sha256"][rows]].set_axis(rows)
        labels = frame.loc[rows, ["category", "defect_type"]]
        told = pd.DataFrame({"category": given["category"], "defect_type": _kinds(given)})
        same = (labels == told).all(axis=1)
        kinds = same.map({True: CONFIRMED, False: RELABELLED})
        frame.loc[rows, "reviewed"] = kinds.where(~own[rows], NEW)
        frame.loc[rows, ["category", "defect_type"]] = told
        frame.loc[rows, "defective"] = (given["label"] == DEFECTIVE).astype(int)
        return frame

    def remarks(self, listed: pd.DataFrame, frame: pd.DataFrame) -> list[tuple[str, str, str]]:
        """What can't be applied: its kind, the path, and why. listed: the folders' photographs."""
        found = [
            (CONTRADICTED, rows["path"].iat[0], "; ".join(map(told, rows.to_dict("records"))))
            for _, rows in self.contradicted.groupby("sha256", sort=False)
        ]
        gone = self.standing[self.standing["label"] != UNUSABLE]
        gone = gone[~gone.index.isin(frame["sha256"])]
        there = set(listed["path"])
        for digest, row in gone.iterrows():
            kind = CHANGED if row["path"] in there else LOST
            found.append((kind, row["path"], told(row.to_dict() | {"sha256": digest})))
        return found

    def counts(self, frame: pd.DataFrame) -> dict[str, int]:
        """How many photographs were answered, and what came of it."""
        kinds = frame["reviewed"]
        return {
            "photographs": len(self.standing),
            **{name: int((kinds == name).sum()) for name in (CONFIRMED, RELABELLED, NEW)},
            "unusable": len(self.left_out),
            "contradicted": self.contradicted["sha256"].nunique(),
        }


def load(path: Path) -> Answers:
    """Read the table, and find which answers hold. Raises InputError as `read` does."""
    return settle(read(path))


def settle(table: pd.DataFrame) -> Answers:
    """Which of the answers hold: those that no other replaces, unless they differ."""
    last = table[~replaced(table)]
    meaning = last["category"] + "/" + last["label"] + "/" + last["defect_type"]
    differ = meaning.groupby(last["sha256"]).transform("nunique") > 1
    holds = last[~differ].sort_values("when", kind="stable").drop_duplicates("sha256", keep="last")
    return Answers(holds.set_index("sha256").sort_index(), last[differ])


def read(path: Path) -> pd.DataFrame:
    """All answers, in the file's order: COLUMNS as text; none without a file.

    Raises InputError naming the line that is cut off or says nothing that could be applied.
    """
    if not path.exists() and not path.is_symlink():
        return pd.DataFrame(columns=list(COLUMNS), dtype=str)
    data = regular_file.read(path, MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected text in UTF-8") from None
    try:
        lines = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:  # lines that end with \r alone, for one
        raise InputError(f"{path}: not a table of answers ({error})") from None
    if not lines or not set(COLUMNS) <= set(lines[0]):
        found = ", ".join(lines[0])[:200] if lines else "nothing"
        raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)}; found {found}")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not any(line):
            continue
        cut = number == len(lines) and not text.endswith("\n")
        if len(line) != len(lines[0]):
            fault = "is cut off" if cut else f"has {len(line)} values; expected {len(lines[0])}"
            raise InputError(f"{path}: line {number} {fault}; complete it, or delete it")
        row = dict(zip(lines[0], line, strict=True))
        if fault := _fault(row):
            raise InputError(f"{path}: line {number}: {fault}")
        rows.append({name: row[name] for name in COLUMNS})
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=str).drop_duplicates(ignore_index=True)


def told(row: dict) -> str:
    """An answer in a few words."""
    label = row["label"] if row["label"] != DEFECTIVE else f"defective ({row['defect_type']})"
    return f"{row['category']} {label}, says {row['who']} {row['when']}"


def _kinds(rows: pd.DataFrame) -> pd.Series:
    return rows["defect_type"].where(rows["label"] == DEFECTIVE, GOOD)


def _is_below(path: str) -> bool:
    return path.startswith(f"{paths.REVIEWED.as_posix()}/")


def replaced(table: pd.DataFrame) -> pd.Series:
    """Whether another answer about the same photograph names an answer's time."""
    times = {
        (digest, time)
        for digest, replaces in zip(table["sha256"], table["replaces"], strict=True)
        for time in replaces.split(" ")
    }
    keys = zip(table["sha256"], table["when"], strict=True)
    return pd.Series([key in times for key in keys], table.index, dtype=bool)


def _fault(row: dict[str, str]) -> str | None:
    """What is wrong with an answer, or None."""
    label, kind = row["label"], row["defect_type"]
    if not re.fullmatch("[0-9a-f]{64}", row["sha256"]):
        return f"sha256 is {shown(row['sha256'])}; expected 64 hexadecimal digits"
    if label not in LABELS:
        return f"label is {shown(label)}; expected {', '.join(LABELS[:-1])} or {LABELS[-1]}"
    for name in ("category", "defect_type"):
        value, needed = row[name], name == "category" or label == DEFECTIVE
        if (needed and label != UNUSABLE and not value) or (value and not is_name(value)):
            return f"{name} is {shown(value)}; expected a name as a folder has it"
    if label == DEFECTIVE and kind == GOOD:
        return f"a defect can't be called {GOOD}"
    if ".." in Path(row["path"]).parts:
        return f"path is {shown(row['path'])}; expected one without .."
    try:
        datetime.fromisoformat(row["when"])
    except ValueError:
        return f"when is {shown(row['when'])}; expected a time such as 2026-01-31T12:00:00+00:00"
    for name in ("defect_probability", "threshold"):
        if row[name] and not _is_share(row[name]):
            return f"{name} is {shown(row[name])}; expected a number from 0 to 1, or nothing"
    return None


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1  # no NaN is
    except ValueError:
        return False


def is_name(text: str) -> bool:
    """Whether a category or a kind of defect can be called so: as a folder in MVTec AD's layout."""
    plain = text.isprintable() and text == text.strip() and 0 < len(text) <= MAX_NAME
    return plain and not set(text) & set("/\\") and not text.startswith(".")
