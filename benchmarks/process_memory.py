"""What a process holds, as Linux tells it. Only the standard library: all environments read it."""

import re
from pathlib import Path


def peak() -> int:
    """Bytes that this process has held at most. What getrusage tells may be the parent's."""
    return _status("self", "VmHWM")


def own(pid: int) -> int:
    """Bytes that a process holds for itself now, without mapped files; 0 for one that has ended."""
    try:
        return _status(str(pid), "RssAnon")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _status(process: str, name: str) -> int:
    facts = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(rf"^{name}:\s+(\d+) kB", facts, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0  # an ended one that nobody has waited for has none
