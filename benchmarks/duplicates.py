"""How many photographs are known again when they were saved in another way?

Takes images of your folder, changes each as cameras, converters and mail programs do, and says
which share of them is found to be a near duplicate of its original; then names the photographs of
the folder itself that are taken for near duplicates, to be looked at.

    python benchmarks/duplicates.py FOLDER [--images 150] [--share 0.1] [--seed 0]

Or it says how long the search takes among so many drawn hashes, and in how much memory: one in a
hundred is near another. `random` hashes differ in half of their bits; those of `products` are drawn
around fifteen categories, whose limits differ.

    python benchmarks/duplicates.py --hashes 10000 30000 100000 1000000
"""

import argparse
import io
import resource
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

from twinhead.ingest import images, layout, phash
from twinhead.partition import duplicates, hamming


def main(root: Path, number: int, share: float, seed: int) -> None:
    frame = layout.scan(root)
    data = [images.contents(root / path) for path in frame["path"]]
    frame["sha256"] = [sha256(file).hexdigest() for file in data]
    frame["phash"] = [phash.of(images.upright(file, "")[0]) for file in data]
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(frame), min(number, len(frame)), replace=False)
    print(f"{len(frame)} photographs; {len(chosen)} of them changed (seed {seed}):")
    for name, change in CHANGES.items():
        known = [found(frame, row, data[row], change, share, rng) for row in chosen]
        print(f"  {name}: {np.mean(known):.0%} known again")
    group = duplicates.groups(frame, share)
    near = frame[group.duplicated(keep=False) & ~frame["sha256"].duplicated(keep=False)]
    print(f"photographs of the folder that look like another one: {len(near)}")
    for _, rows in near.groupby(group):
        print(f"  {', '.join(rows['path'])}")


Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def found(
    frame: pd.DataFrame,
    row: int,
    data: bytes,
    change: Change,
    share: float,
    rng: np.random.Generator,
) -> bool:
    """Whether the changed photograph is grouped with its original, among those of its category."""
    again = change(images.upright(data, "")[0], rng)
    kept = frame[frame["category"] == frame["category"].iat[row]]
    copy = frame.loc[[row]].assign(sha256="changed", phash=phash.of(again))
    group = duplicates.groups(pd.concat([kept, copy], ignore_index=True), share)
    return group.iat[-1] == group.iat[kept.index.get_loc(row)]


def saved(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def noisy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    values = np.asarray(picture) + rng.normal(0, 5, (picture.height, picture.width, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def half(picture: Image.Image) -> Image.Image:
    return picture.resize([max(1, side // 2) for side in picture.size], Image.Resampling.LANCZOS)


def trimmed(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    edge = (width // 50, height // 50)
    return picture.crop((*edge, width - edge[0], height - edge[1]))


CHANGES: dict[str, Change] = {
    "saved as JPEG, quality 80": lambda picture, rng: saved(picture, 80),
    "saved as JPEG, quality 50": lambda picture, rng: saved(picture, 50),
    "half the size": lambda picture, rng: half(picture),
    "15% brighter": lambda picture, rng: ImageEnhance.Brightness(picture).enhance(1.15),
    "20% less contrast": lambda picture, rng: ImageEnhance.Contrast(picture).enhance(0.8),
    "taken again: other noise (5 of 255)": noisy,
    "2% trimmed off each edge": lambda picture, rng: trimmed(picture),
    "turned by half a degree": lambda picture, rng: picture.rotate(0.5, Image.Resampling.BICUBIC),
}


SHARE, CATEGORIES = 0.1, 15


def curve(kind: str, sizes: list[int], seed: int) -> None:
    """Print a line for each number of hashes; the peak of memory includes the larger drawing's."""
    for number in sizes:
        words, limits = drawn(kind, number, np.random.default_rng(seed))
        started, computed = time.monotonic(), time.process_time()
        group = hamming.components(words, limits)
        wall, cpu = time.monotonic() - started, time.process_time() - computed
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        joined = number - len(np.unique(group))
        print(
            f"{kind}, {number:,} hashes: {wall:.1f} s ({cpu:.1f} s of a processor),"
            f" {peak:.2f} GiB, {joined:,} joined",
            flush=True,
        )


def drawn(kind: str, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Hashes as `hamming.components` takes them, and their limits."""
    bits = phash.FREQUENCIES**2
    words = rng.integers(0, 2**64, (number, bits // hamming.WORD), np.uint64)
    limits = np.full(number, int(SHARE * bits))
    if kind == "products":
        category = rng.integers(0, CATEGORIES, number)
        for one in range(CATEGORIES):
            rows = np.flatnonzero(category == one)
            # Some bits of a category hardly ever change, others are a coin's.
            flips = (rng.beta(0.6, 1.2, bits) * (0.3 + 0.7 * one / CATEGORIES)).clip(0, 0.5)
            centre = rng.integers(0, 2, bits).astype(bool)
            for part in np.array_split(rows, len(rows) // 10_000 + 1):
                words[part] = packed(centre ^ (rng.random((len(part), bits)) < flips))
            usual = np.median(hamming.distances(words[rows[:300]], words[rows[-300:]]))
            limits[rows] = min(SHARE * bits, duplicates.USUAL * usual)
    for source, target in rng.integers(0, number, (number // 100, 2)):
        looks = np.unpackbits(words[source].view(np.uint8))
        looks[rng.choice(bits, rng.integers(0, SHARE * bits), replace=False)] ^= 1
        words[target], limits[target] = packed(looks), limits[source]
    return words, limits


def packed(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits.astype(np.uint8), axis=-1).view(np.uint64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="FOLDER", nargs="?")
    parser.add_argument("--hashes", type=int, nargs="+", metavar="N")
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.hashes:
        for kind in ("random", "products"):
            curve(kind, chosen.hashes, chosen.seed)
    elif chosen.root:
        main(chosen.root, chosen.images, chosen.share, chosen.seed)
    else:
        parser.error("expected a FOLDER, or --hashes")
