"""What was answered about a folder's photographs: by `twinhead watch`, or now.

A table of answers has `modified` (the photograph's, in seconds since 1970), `category`,
`defective`, `known` (both bool), and `error`, which is "" where the photograph could be read.
"""

from pathlib import Path

import pandas as pd

from twinhead.export.decisions import Rules
from twinhead.serving import watch

ALL = "all"
"""The category of every photograph, for a network that tells none."""
COLUMNS = ["modified", "category", "defective", "known", "error"]


def of_watch(file: Path) -> pd.DataFrame:
    """Read what `watch` has written. Raises InputError naming a line that is something else."""
    rows = [
        (
            row["modified"] / 1e9,
            str(row.get("category", ALL)),
            bool(row.get("defective", False)),
            bool(row.get("known", True)),
            str(row.get("error", "")),
        )
        for row, _ in watch.lines(file)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def of_look(now: pd.DataFrame, unread: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """What is answered now; now, unread: as `command.ask` returns them."""
    limits = now["category"].map(rules.threshold_of).astype(float)
    read = now[["modified", "category"]].assign(
        defective=now["score"] >= limits, known=now["unusual"] <= rules.unusual, error=""
    )
    lost = unread.assign(category=ALL, defective=False, known=True)[COLUMNS]
    return pd.concat([read, lost], ignore_index=True) if len(lost) else read
