"""Remarks on a data set that can be used all the same: named, counted and listed."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from twinhead import files
from twinhead.ingest import answers, decoding, images, layout

SKIPPED = {
    decoding.IMAGE: "skipped image",
    decoding.MASK: "skipped mask",
    decoding.UNUSABLE: "unusable image",
}
ANSWERED = {
    answers.CONTRADICTED: "contradicting answers",
    answers.CHANGED: "changed image",
    answers.LOST: "lost image",
}
STRAY, EMPTY, CONTRADICTION = "stray mask", "empty mask", "contradiction"
DEPTH = "reduced depth"
KINDS = {
    SKIPPED[decoding.IMAGE]: "skipped images that can't be read",
    SKIPPED[decoding.MASK]: "skipped masks that can't be used",
    SKIPPED[decoding.UNUSABLE]: "photographs that were answered as not usable, and are left out",
    ANSWERED[answers.CONTRADICTED]: "photographs with contradicting answers, of which none holds",
    ANSWERED[answers.CHANGED]: "photographs that changed since they were answered",
    ANSWERED[answers.LOST]: "answers about photographs that are nowhere",
    STRAY: "masks without an image",
    EMPTY: "masks that mark nothing",
    CONTRADICTION: "photographs with two labels",
    DEPTH: "photographs that use 10 or 12 of their 16 bits, and are read so",
}
COLUMNS = ["kind", "path", "remark"]
SHOWN = 3
"""Remarks of a kind that the terminal shows."""


def collect(
    root: Path,
    scanned: pd.DataFrame,
    built: decoding.Built,
    answered: list[tuple[str, str, str]] | None = None,
) -> pd.DataFrame:
    """Return a table of COLUMNS, in the order of KINDS.

    scanned: the catalog before the build. answered: what answers can't be applied.
    """
    frame, known = built.frame, set(scanned["mask"])
    rows = [(SKIPPED[kind], path, why) for kind, path, why in built.skipped]
    rows += [(ANSWERED[kind], path, why) for kind, path, why in answered or []]
    rows += [(STRAY, path, "") for path in layout.masks(root) if path not in known]
    rows += [(EMPTY, frame["mask"][number], "") for number in sorted(built.empty)]
    rows += _contradictions(frame)
    shallow = frame[frame["mode"].str.endswith(images.USED)]
    rows += [
        (DEPTH, path, mode) for path, mode in zip(shallow["path"], shallow["mode"], strict=True)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    order = table["kind"].map(list(KINDS).index)
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def counts(table: pd.DataFrame) -> dict[str, int]:
    """How many there are of each kind."""
    return {kind.replace(" ", "_"): int((table["kind"] == kind).sum()) for kind in KINDS}


def lines(table: pd.DataFrame) -> Iterator[str]:
    """A line for each kind that there is, with the first of them by name."""
    for kind, rows in table.groupby("kind", sort=False):
        named = ", ".join(rows["path"].head(SHOWN)) + (", …" if len(rows) > SHOWN else "")
        yield f"{KINDS[kind]}: {len(rows):,} ({named})"


def write(table: pd.DataFrame, path: Path) -> None:
    files.write_table(table, path)


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _contradictions(frame: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Images of equal bytes that lie in folders of different categories or kinds of defect."""
    labels = frame["category"] + "/" + frame["defect_type"]
    for _, rows in frame[frame["sha256"].duplicated(keep=False)].groupby("sha256", sort=False):
        if labels[rows.index].nunique() > 1:
            first, *others = rows["path"]
            yield CONTRADICTION, first, f"the same bytes as {', '.join(others)}"
