"""The table of cases in docs/robustness.md: what the tests saw, kept as text that they compare.

A test says what came of its case with the fixture `case`; the row in the table has to say the
same. `python -m pytest -m case --write-cases` writes the rows anew from what comes of them.
"""

from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "docs/robustness.md"
BEGIN, END = "<!-- cases -->\n", "<!-- /cases -->\n"
SECTIONS = ("Images", "Folders and files", "Data sets", "Params", "Faults", "Numbers", "Security")
Rows = dict[str, dict[str, str]]
"""By section and case: what happens."""


def read() -> Rows:
    rows: Rows = {section: {} for section in SECTIONS}
    section = ""
    for line in FILE.read_text(encoding="utf-8").partition(BEGIN)[2].splitlines():
        if line.startswith("### "):
            section = line.removeprefix("### ")
        elif line.startswith("| ") and not line.startswith("| case |"):
            name, outcome = line.removeprefix("| ").removesuffix(" |").split(" | ")
            rows[section][name] = outcome
    return rows


def write(seen: Rows) -> None:
    lines = []
    for section, rows in seen.items():
        lines += [f"### {section}", "", "| case | what happens |", "|---|---|"]
        lines += [f"| {name} | {outcome} |" for name, outcome in rows.items()] + [""]
    before, _, after = FILE.read_text(encoding="utf-8").partition(BEGIN)
    table = BEGIN + "\n" + "\n".join(lines) + END + after.partition(END)[2]
    FILE.write_text(before + table, encoding="utf-8")


class Table:
    """What the tests have seen, and what the table says."""

    def __init__(self, writing: bool) -> None:
        self.writing, self.known = writing, read()
        self.seen: Rows = {section: {} for section in SECTIONS}

    def take(self, section: str, name: str, outcome: str) -> None:
        """Compare a case's outcome with its row; called by the test that has tried it."""
        for text in (name, outcome):
            assert "|" not in text and "\n" not in text, f"not fit for a table: {text!r}"
        self.seen[section][name] = outcome
        if not self.writing:
            assert self.known[section].get(name) == outcome, "docs/robustness.md says otherwise"

    def finish(self, whole: bool) -> None:
        """Write the table; rows that no test has seen go, if all of the tests have run."""
        if self.writing:
            kept = {s: {} if whole else rows for s, rows in self.known.items()}
            write({section: kept[section] | self.seen[section] for section in SECTIONS})


@pytest.fixture
def case(request: pytest.FixtureRequest):
    """Say (section, case, outcome) of a case that was tried."""
    return request.config.stash[KEY].take


KEY = pytest.StashKey[Table]()
