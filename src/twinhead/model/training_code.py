"""The code that decides what a training makes of its data, by its digest."""

from hashlib import sha256
from pathlib import Path

FOLDERS = ("backbones", "dataset", "model")


def digest() -> str:
    """SHA-256 of the modules that train."""
    package, seen = Path(__file__).parents[1], sha256()
    for folder in FOLDERS:
        for file in sorted((package / folder).rglob("*.py")):
            seen.update(file.read_bytes())
    return seen.hexdigest()
