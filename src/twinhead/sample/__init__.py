"""The embedded data set: fifteen rendered categories in MVTec AD's folders, with exact masks."""

import multiprocessing
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from twinhead import cores
from twinhead.sample.picture import take
from twinhead.sample.plan import counts

__all__ = ["counts", "render"]

SIZES = range(32, 1025)
HELD_TO_AVX2 = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""For the locked NumPy, and OpenBLAS: by AVX-512 they round otherwise, and so do some pixels."""
Job = tuple[str, str, int]  # category, folder within it, number


def render(
    root: Path,
    images: int = 600,
    size: int = 256,
    seed: int = 42,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the data set of `images` PNGs of size × size pixels below `root`; return their number.

    The same `images`, `size` and `seed` give the same bytes for any number of `workers` (processes;
    None: one per core), and on all x86 processors with AVX2. `root` appears whole or not at all.
    `progress(done, total)` is called as images finish. Raises ValueError for values out of range,
    FileExistsError if `root` holds files.
    """
    root = Path(root).resolve()
    if size not in SIZES:
        raise ValueError(f"size is {size}; expected {SIZES.start} to {SIZES.stop - 1} pixels")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    jobs = list(_jobs(counts(images)))
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} isn't empty; expected an empty or absent folder")
    building = root.with_name(f".{root.name}.building-{os.getpid()}")
    try:
        for category, folder, _ in jobs:
            (building / category / folder).mkdir(parents=True, exist_ok=True)
            if not folder.endswith("/good"):
                _masks(building, category, folder).mkdir(parents=True, exist_ok=True)
        work = partial(_write, building, size, seed)
        for done, _ in enumerate(_each(work, jobs, workers or cores.available()), 1):
            if progress:
                progress(done, len(jobs))
        if root.exists():
            root.rmdir()
        building.rename(root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return len(jobs)


def _jobs(table: dict[str, dict[str, int]]) -> Iterator[Job]:
    for category, folders in table.items():
        for folder, number in folders.items():
            yield from ((category, folder, i) for i in range(number))


def _each(work: Callable[[Job], None], jobs: list[Job], workers: int) -> Iterator[None]:
    # spawn: a fork would inherit the caller's threads' locks (TensorFlow's, a logger's)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    with _environment(HELD_TO_AVX2), pool:
        yield from pool.map(work, jobs, chunksize=4)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Give variables to the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


def _end_with_parent() -> None:
    # a killed parent can't tell its workers, which would wait for their next job for ever
    def follow() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _write(root: Path, size: int, seed: int, job: Job) -> None:
    category, folder, number = job
    picture = take(category, folder, number, size, seed)
    _save(root / category / folder / f"{number:03d}.png", picture.image)
    if picture.mask is not None:
        masks = _masks(root, category, folder)
        _save(masks / f"{number:03d}_mask.png", picture.mask.astype("uint8") * 255)


def _masks(root: Path, category: str, folder: str) -> Path:
    return root / category / folder.replace("test/", "ground_truth/", 1)


def _save(path: Path, pixels: np.ndarray) -> None:
    # sensor noise holds no repeats to find: Huffman alone is the quickest, and no larger
    Image.fromarray(pixels).save(path, compress_level=1, compress_type=zlib.Z_HUFFMAN_ONLY)
