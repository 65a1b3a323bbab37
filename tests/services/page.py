"""The commands and files that the pages show, with the tests' own places in them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conftest import REPOSITORY

PAGES = ("docs/server.md", "docs/machines.md")
TEXT = "\n".join((REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [text for kind, text in BLOCKS if kind == "sh"]
FILES = {
    name: text
    for kind, text in BLOCKS
    if kind == "ini"
    for name in re.findall(r"\A# (\S+)\n", text)
}
"""By their names, as the first line has them."""
SECRET = "…"


@dataclass
class Page:
    """The pages as they read once their places are exchanged for those of the tests."""

    places: Mapping[str, str]
    """What stands on the pages, and what stands for it here."""
    secrets: Mapping[str, str]
    """By what comes before them on their line."""

    def __post_init__(self) -> None:
        self.ran: set[str] = set()

    def command(self, start: str) -> str:
        """The one block that has a line which begins so."""
        (found,) = [text for text in COMMANDS if re.search(f"^{re.escape(start)}", text, re.M)]
        self.ran.add(found)
        return self._here(found)

    def write(self, name: str, root: Path | None = None) -> Path:
        """Write one of their files, for its owner alone; `~` is `root`."""
        path = Path(self._here(name).replace("~", str(root)))
        lines = [self._filled(line) for line in self._here(FILES[name]).splitlines()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _here(self, text: str) -> str:
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def _filled(self, line: str) -> str:
        if SECRET not in line:
            return line
        (secret,) = [text for before, text in self.secrets.items() if line.startswith(before)]
        return line.replace(SECRET, secret)
