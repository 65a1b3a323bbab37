"""What does each stage cost, in seconds and memory, as the number of images grows?

Makes MVTec AD's counts (5,354 images of 1024 × 1024), takes the first of each folder for the
smaller sizes, and runs every stage as its own process. The first 600 are rendered, the others are
these turned, mirrored and rolled: as many bytes and patches in a third of the time. "memory" is the
peak of what the process holds for itself; pages of files that are mapped, which the system takes
back when it needs room, are beside it.

With --stores there are no photographs: what `index` and `features` would leave of that many is
written at once, features that are all different and DIFFERENT pixels again and again, and the other
stages run on it. An image's features take 287 kB at 320 pixels a side, 17 kB at 64.

    python benchmarks/size.py [--images 600 1200 2400 5354] [--photos FOLDER] [-S KEY=VALUE]
    python benchmarks/size.py --stores [--images 2000 20000 100000] [-S KEY=VALUE]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import process_memory
import workspaces
import yaml
from PIL import Image

from twinhead import files, paths, sample, sharding
from twinhead.dataset import catalog
from twinhead.ingest import answers, layout, quality

STAGES = (
    "index",
    "split",
    "features",
    "train",
    "evaluate",
    "embed",
    "explain",
    "export",
    "plots",
    "report",
)
GIB = 2**30
RENDERED, SIDE = 600, 1024
"""Photographs that are rendered, and their pixels a side; the others are made of them."""
DIFFERENT = 512
"""Pixels of --stores that aren't equal."""


def main(sizes: list[int], photos: Path | None, stores: bool, changes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if photos is None and not stores:
            photos = Path(folder) / "photos"
            sample.render(photos, min(max(sizes), RENDERED), SIDE)
            multiply(photos, min(max(sizes), RENDERED), max(sizes))
        print("| images | stage | seconds | memory, GiB | with mapped files, GiB |")
        print("|---|---|---|---|---|")
        for size in sizes:
            workspace = Path(folder) / str(size)
            workspace.mkdir(parents=True)
            if not stores:
                take(photos, size, workspace / "photos")
            env = workspaces.make(
                workspace, changed([f"data.root={workspace / 'photos'}", *changes])
            )
            if stores:
                settings = yaml.safe_load((workspace / "params.yaml").read_text(encoding="utf-8"))
                write_stores(workspace, size, settings)
            for name in STAGES:
                if stores and name in ("index", "features"):
                    continue
                seconds, own, all_of_it = measured(name, workspace, env)
                print(
                    f"| {size:,} | {name} | {seconds:.0f} | {own / GIB:.2f} |"
                    f" {all_of_it / GIB:.2f} |",
                    flush=True,
                )
            shutil.rmtree(workspace)


def changed(changes: list[str]) -> dict[str, dict[str, object]]:
    """What SECTION.KEY=VALUE asks for, by section."""
    found: dict[str, dict[str, object]] = {}
    for change in changes:
        key, _, value = change.partition("=")
        section, _, name = key.partition(".")
        found.setdefault(section, {})[name] = yaml.safe_load(value)
    return found


def multiply(photos: Path, rendered: int, size: int) -> None:
    """Fill the folders of a rendered set up to those of `size`: turned, mirrored and rolled."""
    there = sample.counts(rendered)
    for category, folders in sample.counts(size).items():
        for kind, number in folders.items():
            of_masks = kind.replace("test/", "ground_truth/", 1)
            first = there[category][kind]
            for image in range(first, number):
                turn = image // first
                roll = np.random.default_rng(image).integers(SIDE // 8, SIDE, 2)
                for place in (f"{kind}/{{:03d}}.png", f"{of_masks}/{{:03d}}_mask.png"):
                    source = photos / category / place.format(image % first)
                    if not source.exists():
                        continue
                    pixels = np.rot90(np.asarray(Image.open(source)), turn % 4)
                    if turn % 8 > 3:
                        pixels = pixels[:, ::-1]
                    rolled = Image.fromarray(np.roll(pixels, roll, (0, 1)))
                    rolled.save(photos / category / place.format(image), compress_level=1)


def take(photos: Path, size: int, target: Path) -> None:
    """Link the first images of each folder, as many as a set of that size has, with their masks."""
    for category, folders in sample.counts(size).items():
        for kind, number in folders.items():
            truth = kind.replace("test/", "ground_truth/", 1)
            for place in (f"{kind}/{{:03d}}.png", f"{truth}/{{:03d}}_mask.png"):
                for image in range(number):
                    file = photos / category / place.format(image)
                    if file.exists():
                        linked = target / category / place.format(image)
                        linked.parent.mkdir(parents=True, exist_ok=True)
                        linked.hardlink_to(file)


def write_stores(workspace: Path, size: int, settings: dict) -> None:
    """Leave in the workspace's data/ what the stages read of so many images."""
    rng, side = np.random.default_rng(0), settings["data"]["image_size"]
    frame = catalog_of(size, rng, side)
    (workspace / "metrics").mkdir(parents=True)
    layout.write(frame, workspace / paths.CATALOG)
    odd = pd.DataFrame([], columns=quality.COLUMNS)
    quality.write(odd, workspace / paths.REMARKS)
    files.write_json(layout.labels(frame), workspace / paths.LABELS)
    counts = layout.counts(frame) | {"remarks": quality.counts(odd)}
    counts["answers"] = answers.load(workspace / paths.ANSWERS).counts(frame)
    files.write_json(counts, workspace / paths.metrics("index"))
    images = rng.integers(0, 256, (DIFFERENT, side, side, 3), np.uint8)
    masks = np.zeros((DIFFERENT, side, side), bool)
    for number, mask in enumerate(masks):
        at = number % (side // 2)
        mask[at : at + side // 4, at : at + side // 4] = True
    repeat(workspace / paths.PIXELS, images, size)
    repeat(workspace / paths.MASKS, masks, int((frame["mask"] != "").sum()))
    names = catalog.categories(frame)
    numbers = frame["category"].map(names.index).to_numpy()
    for name, (shape, dtype) in stored(side, settings["features"]["views"]).items():
        with sharding.writing(workspace / paths.FEATURES / name) as writer:
            for row in range(size):
                values = rng.standard_normal(shape, np.float32)
                values[..., numbers[row] % shape[-1]] += (
                    8  # far apart: else it takes long; a tint has 2
                )
                values[..., -1] += 8 * frame["defective"].iat[row]
                values = values.astype(dtype)
                writer.add(sharding.key(values), values)


def stored(side: int, views: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """What `features` keeps of an image: shape and dtype, by the store's name."""
    from twinhead.backbones import extraction  # it takes seconds

    given = extraction.trunk(side).output
    return {
        name: (
            (views, *map.shape[1:]) if name in extraction.VIEWED else map.shape[1:],
            np.dtype(map.dtype),
        )
        for name, map in given.items()
    }


def repeat(path: Path, arrays: np.ndarray, rows: int) -> None:
    keys = [sharding.key(array) for array in arrays]
    with sharding.writing(path, arrays.dtype, arrays.shape[1:]) as writer:
        for row in range(rows):
            writer.add(keys[row % DIFFERENT], arrays[row % DIFFERENT])


def catalog_of(size: int, rng: np.random.Generator, side: int) -> pd.DataFrame:
    """The catalog of a data set with MVTec AD's categories and a quarter of defects."""
    names = list(sample.counts(600))
    rows = []
    for number in range(size):
        category, defective = names[number % len(names)], number % 4 == 0
        kind = "cut" if defective else catalog.GOOD
        rows.append({
            "path": f"{category}/test/{kind}/{number:06}.png",
            "category": category,
            "defect_type": kind,
            "defective": int(defective),
            "mask": f"{category}/ground_truth/{kind}/{number:06}_mask.png" if defective else "",
            "official": "test", "given": "", "reviewed": "",
            "width": side, "height": side, "mode": "RGB",
            "sha256": rng.bytes(32).hex(), "phash": rng.bytes(128).hex(),
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values("path", ignore_index=True)


def measured(name: str, workspace: Path, env: dict[str, str]) -> tuple[float, int, int]:
    """Run a stage; return its seconds and, in bytes, its peak memory without and with maps."""
    for folder in ("data", "models", "reports", "metrics"):
        (workspace / folder).mkdir(exist_ok=True)
    log = workspace / f"{name}.log"
    started, own = time.perf_counter(), 0
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "twinhead.stage", name],
            cwd=workspace,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            own = max(own, process_memory.own(process.pid))
            time.sleep(0.05)
    if ended[1]:
        sys.exit(f"{name} failed:\n{log.read_text()}")
    return time.perf_counter() - started, own, 1024 * ended[2].ru_maxrss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[600, 1200, 2400, 5354])
    parser.add_argument("--stores", action="store_true", help="stores, without photographs")
    parser.add_argument(
        "--photos", type=Path, help="a set rendered before, as large as the largest"
    )
    parser.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="SECTION.KEY=VALUE"
    )
    chosen = parser.parse_args()
    main(chosen.images, chosen.photos, chosen.stores, chosen.set_param)
