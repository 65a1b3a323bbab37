"""The table of cases in docs/robustness.md: what the tests saw, kept as text that they compare.

A test says what came of its case with the fixture `case`; the row in the table has to say the
same. `python -m pytest -m case --write-cases` writes the rows anew from what comes of them.
"""

from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "docs/robustness.md"
BEGIN, END = "<!-- cases -->\n", "<!-- /cases -->\n"
SECTIONS = ("Images", "Folders and files", "Data sets", "Params", "Faults", "Numbers", "Security")
UNTRIED = " (not tried where this was written: the test was skipped)"
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
            known = self.known[section].get(name, "").removesuffix(UNTRIED)
            assert known == outcome, "docs/robustness.md says otherwise"

    def unseen(self) -> Rows:
        """The table's rows of which no test has said anything."""
        return {
            section: {name: rows[name] for name in rows if name not in self.seen[section]}
            for section, rows in self.known.items()
        }

    def finish(self, whole: bool, skipped: bool) -> None:
        """Write the table. If all tests have run, rows that none has seen go.

        Where this machine couldn't run some of the tests, they stay and say so.
        """
        if not self.writing:
            return
        kept = self.unseen() if skipped or not whole else dict.fromkeys(SECTIONS, {})
        if whole:
            for section, rows in kept.items():
                kept[section] = {
                    n: f"{text.removesuffix(UNTRIED)}{UNTRIED}" for n, text in rows.items()
                }
        # In their old order, with what is new at the end.
        write({
            section: {name: rows[name] for name in [*self.known[section], *rows] if name in rows}
            for section in SECTIONS
            for rows in [kept[section] | self.seen[section]]
        })  # fmt: skip


@pytest.fixture
def case(request: pytest.FixtureRequest):
    """Say (section, case, outcome) of a case that was tried."""
    return request.config.stash[KEY].take


KEY = pytest.StashKey[Table]()
