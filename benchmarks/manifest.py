"""Are these the photographs that the figures in docs/ were measured on?

Prints one SHA-256 for each category below a folder: of a list of its files, sorted by path, each
with its own SHA-256. `--check` compares with a list that was printed before, names what differs,
and ends with 1 if something does.

    python benchmarks/manifest.py FOLDER > benchmarks/real15.sha256
    python benchmarks/manifest.py FOLDER --check benchmarks/real15.sha256
"""

import argparse
import sys
from hashlib import sha256
from pathlib import Path


def digests(root: Path) -> dict[str, str]:
    """By category: the digest, and how many files it is of."""
    found = {}
    for category in sorted(path for path in root.iterdir() if path.is_dir()):
        files = [path for path in category.rglob("*") if path.is_file()]
        names = {path.relative_to(category).as_posix(): path for path in files}
        lines = [
            f"{sha256(names[name].read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)
        ]
        digest = sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
        found[category.name] = f"{digest}  {len(files)} files"
    return found


def differences(found: dict[str, str], listed: dict[str, str]) -> list[str]:
    """What is missing, new or different, in a line for each category."""
    lines = []
    for name in sorted(found.keys() | listed.keys()):
        if found.get(name) != listed.get(name):
            here, there = found.get(name, "nothing"), listed.get(name, "nothing")
            lines.append(f"{name}: expected {there}, found {here}")
    return lines


def read(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: rest for rest, _, name in (line.rpartition("  ") for line in lines)}


def main(root: Path, listed: Path | None) -> int:
    found = digests(root)
    if listed is None:
        print("\n".join(f"{rest}  {name}" for name, rest in found.items()))
        return 0
    wrong = differences(found, read(listed))
    print("\n".join(wrong) or f"{len(found)} categories, as {listed} lists them")
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="FOLDER")
    parser.add_argument("--check", type=Path, metavar="FILE")
    chosen = parser.parse_args()
    sys.exit(main(chosen.root, chosen.check))
