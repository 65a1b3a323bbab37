"""Which files of this package a module needs: what is shipped with a registered model."""

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
"""The folder that holds the package."""


def needed(start: Path) -> set[Path]:
    """The module's file and all files of this package that importing it may run, sorted in no way.

    Imports within functions count, and so does the `__init__.py` of each package on the way.
    """
    todo, seen = [start], {start}
    while todo:
        found = imported(todo.pop())
        found |= {init for file in found for init in _packages(file)}
        todo += found - seen
        seen |= found
    return seen


def imported(file: Path) -> set[Path]:
    """The files of this package that a file imports by name, anywhere in it."""
    found = set()
    for name in names(file):
        place = SOURCE.joinpath(*name.split("."))
        tried = (place, place.parent)  # the module itself, or the one that holds the name
        files = [f for p in tried for f in (p.with_suffix(".py"), p / "__init__.py") if f.is_file()]
        found |= set(files[:1])
    return found


def names(file: Path) -> set[str]:
    """The dotted names that a file imports, anywhere in it: modules, or what is in them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _packages(file: Path) -> set[Path]:
    inits = (folder / "__init__.py" for folder in file.parents if folder.is_relative_to(SOURCE))
    return {init for init in inits if init.is_file()}
