"""How many photographs are known again when they were saved in another way?

Takes images of your folder, changes each as cameras, converters and mail programs do, and says
which share of them is found to be a near duplicate of its original; then names the photographs of
the folder itself that are taken for near duplicates, to be looked at.

    python benchmarks/duplicates.py FOLDER [--images 150] [--share 0.1] [--seed 0]
"""

import argparse
import io
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

from twinhead.ingest import images, layout, phash
from twinhead.partition import duplicates


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    main(chosen.root, chosen.images, chosen.share, chosen.seed)
