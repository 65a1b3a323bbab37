"""How near does `index` come to bare decoding, and what does it save when images are added?

Rendered PNGs of 1024 × 1024, on all cores: Pillow decoding each file and nothing else; Pillow
decoding and resizing it, the least that pixels of one size need; and `index`, which also checks and
hashes the files and stores their pixels and masks. Then a tenth more images: the index that knows
the first ones, against one from nothing, and whether both leave the same bytes.

    python benchmarks/indexing.py [--images 360]
"""

import argparse
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from twinhead import cores, params, sample
from twinhead.ingest import decoding, layout

TURNS = 5


def main(images: int) -> None:
    size = params.load().data.image_size
    with tempfile.TemporaryDirectory() as folder:
        root, kept, held_back = (Path(folder) / name for name in ("photos", "kept", "held back"))
        sample.render(root, images, 1024)
        frame = layout.scan(root)
        paths = [root / path for path in frame["path"]]
        files = [*paths, *(root / mask for mask in frame["mask"] if mask)]
        index(root, kept, size)  # the files are in the system's cache from here on
        seconds: dict[str, list[float]] = {"decoding": [], "decoding, resizing": [], "index": []}
        for _ in range(TURNS):
            seconds["decoding"].append(timed(lambda: bare(files)))
            seconds["decoding, resizing"].append(timed(lambda: bare(files, size)))
            shutil.rmtree(kept)
            seconds["index"].append(timed(lambda: index(root, kept, size)))
        added = [path for path in paths if "train/good" in path.as_posix()][:: max(1, images // 50)]
        added = added[: max(1, images // 10)]
        for path in added:
            (held_back / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            path.rename(held_back / path.relative_to(root))
        shutil.rmtree(kept)
        index(root, kept, size)
        shutil.copytree(held_back, root, dirs_exist_ok=True)
        again = timed(lambda: index(root, kept, size))
        scratch = timed(lambda: index(root, Path(folder) / "scratch", size))
        same = contents(kept) == contents(Path(folder) / "scratch")
    print(f"{images} images of 1024 × 1024 to {size} × {size}, {cores.available()} cores")
    for name, taken in seconds.items():
        print(f"  {name:20} {images / statistics.median(taken):6.1f} images/s (median of {TURNS})")
    for name in ("decoding, resizing", "decoding"):
        pace = statistics.median(seconds[name]) / statistics.median(seconds["index"])
        print(f"index / {name}: {pace:.2f}")
    print(f"{len(added)} images added: from nothing / with what was there: {scratch / again:.1f}")
    print(f"the same bytes: {same}")


def index(root: Path, folder: Path, size: int) -> None:
    folder.mkdir(exist_ok=True)
    files = [folder / name for name in ("pixels", "masks", "decoded.csv")]
    decoding.build(layout.scan(root), root, size, *files)


def contents(folder: Path) -> dict[Path, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder): file.read_bytes() for file in files}


def bare(paths: list[Path], size: int | None = None) -> None:
    def decode(path: Path) -> None:
        picture = Image.open(path)
        picture.load()
        if size:
            picture.resize((size, size), Image.Resampling.BILINEAR)

    with ThreadPoolExecutor(cores.available()) as pool:
        list(pool.map(decode, paths))


def timed(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=360)
    main(parser.parse_args().images)
