"""What does it cost to add ten photographs to those that are known?

Makes a repository of its own with the embedded data set, runs `dvc repro` up to the features and
`dvc push` to a remote folder, and then changes the photographs, step by step: ten more in one
folder, ten more in many, ten taken away, ten renamed, a category renamed. For each step: the files
that were decoded, the images that went through the backbone, and by how many bytes DVC's cache and
the remote grew, against what the new images take by themselves and what all of the stores take.

    python benchmarks/additions.py [--images 600] [--size 128] [--views 1]
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from twinhead import paths, sample, sharding
from twinhead.dataset import features
from twinhead.dataset.store import Store

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = ("dvc.yaml", "params.yaml", "requirements.lock", ".gitignore", ".dvcignore", ".dvc/config",
          ".dvc/.gitignore", "data/.gitignore", "data/answers.csv", "data/round.csv",
          "docs/comparison.md", "docs/labels/curve.png", "docs/labels/table.md")  # fmt: skip
TEN = 10
STORES = (paths.PIXELS, paths.MASKS, paths.FEATURES)


def main(images: int, size: int, views: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work, photos = Path(folder) / "work", Path(folder) / "photos"
        held_back = Path(folder) / "held back"
        sample.render(photos, images, size)
        good = sorted(photos.glob("*/train/good/*.png"))
        together = [file for file in good if file.parts[-4] == good[0].parts[-4]][-TEN:]
        others = [file for file in good if file not in together]
        scattered = others[:: len(others) // TEN][:TEN]
        take(together + scattered, photos, held_back)
        begin(work, photos, size, views)
        everything, decoded, passed, _ = step(work)
        print(f"{images - 2 * TEN} photographs, {size} × {size}, {views} views: {decoded} files")
        print(f"decoded, {passed} images through the backbone, {everything:,} bytes in the cache\n")
        print("| change | decoded | through the backbone | cache grows by | of it stores |", end="")
        print(" remote grows by | the new images alone |")
        print("|---|---|---|---|---|---|---|")

        def give(files: list[Path]) -> None:
            take([held_back / file.relative_to(photos) for file in files], held_back, photos)

        def rename() -> None:
            for file in others[1 : TEN + 1]:
                file.rename(file.with_name(f"renamed {file.name}"))

        changes: dict[str, tuple[Callable[[], object], int]] = {
            "ten more in one folder": (lambda: give(together), TEN),
            "ten more in many folders": (lambda: give(scattered), TEN),
            "ten taken away": (lambda: take(together, photos, held_back), 0),
            "ten renamed": (rename, 0),
            "a category renamed": (lambda: (photos / "bottle").rename(photos / "a bottle"), 0),
        }
        for name, (change, new) in changes.items():
            before = shards(work)
            change()
            cache, decoded, passed, remote = step(work)
            after = shards(work)
            stores = sum(after[file] for file in after.keys() - before.keys())
            print(
                f"| {name} | {decoded} | {passed} | {cache:,} | {stores:,} | {remote:,} |", end=""
            )
            print(f" {new * share(work):,} |", flush=True)
        last = {file: file.read_bytes() for file in stored(work)}
        for place in (*STORES, paths.DECODED, paths.EXTRACTED):
            (shutil.rmtree if (work / place).is_dir() else os.unlink)(work / place)
        step(work, "--force")
        same = {file: file.read_bytes() for file in stored(work)} == last
        known = shards(work)
        print(f"\nThe stores together: {sum(known.values()):,} bytes in {len(known)} shards.")
        print(f"From nothing they are the same, byte for byte: {same}")
        rows = rewritten(rows=images)
        print(
            f"Ten more in one place, {len(rows)} random ones of {images} rows: {np.mean(rows):.0f}"
        )
        print(f"rows written anew on average, {np.quantile(rows, 0.9):.0f} in one of ten places,")
        print(f"{max(rows)} at most.")


def rewritten(draws: int = 1000, rows: int = 600) -> list[int]:
    """How many rows are written anew where ten come into one place of a store, by random keys."""
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        keys = [rng.bytes(16).hex() for _ in range(rows + TEN)]
        at = int(rng.integers(0, rows))
        before = set(map(tuple, sharding.cut(keys[:at] + keys[at + TEN :])))
        found.append(sum(len(own) for own in sharding.cut(keys) if tuple(own) not in before))
    return found


def take(files: list[Path], origin: Path, target: Path) -> None:
    for file in files:
        place = target / file.relative_to(origin)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)


def begin(work: Path, photos: Path, size: int, views: int) -> None:
    for name in COPIED:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, work / name)
    for name in ("src", "stages"):
        left = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, work / name, ignore=left)
    (work / "metrics").mkdir()
    settings = yaml.safe_load((work / "params.yaml").read_text(encoding="utf-8"))
    settings["data"] |= {"root": str(photos), "image_size": size}
    settings["features"]["views"] = views
    (work / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run(work, "git", "init", "--quiet")
    run(work, "dvc", "remote", "add", "--quiet", "--default", "folder", str(work.parent / "remote"))


def step(work: Path, *options: str) -> tuple[int, int, int, int]:
    """Run and push; return the cache's growth, the two counts, and the remote's growth."""
    places = work / ".dvc/cache/files", work.parent / "remote"
    before = [size_of(place) for place in places]
    said = run(work, "dvc", "repro", *options, "features", "split")
    run(work, "dvc", "push", "--quiet", "features", "split", "index")
    cache, remote = (size_of(p) - known for p, known in zip(places, before, strict=True))
    decoded = re.search(r"index: (\d+) files decoded", said)
    passed = re.search(r"features: (\d+) of \d+ images went", said)
    return cache, *(int(found[1]) if found else 0 for found in (decoded, passed)), remote


def stored(work: Path) -> list[Path]:
    found = [file for store in STORES for file in (work / store).rglob("*") if file.is_file()]
    return [*found, work / paths.DECODED, work / paths.EXTRACTED]


def shards(work: Path) -> dict[str, int]:
    """The bytes of each shard of all stores, by name."""
    found = [file for file in stored(work) if file.suffix == ".npy"]
    return {str(file.relative_to(work)): file.stat().st_size for file in found}


def share(work: Path) -> int:
    """The bytes that one good image takes in the stores."""
    stores = [Store(work / paths.PIXELS), *features.load(work / paths.FEATURES).values()]
    return sum(int(np.prod(store.shape[1:])) * store.dtype.itemsize for store in stores)


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def run(work: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_", "MLFLOW_"))}
    done = subprocess.run(
        command,
        cwd=work,
        env=known | {"PATH": path, "PYTHONPATH": "src"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, choices=[1, 2, 4], default=1)
    chosen = parser.parse_args()
    main(chosen.images, chosen.size, chosen.views)
