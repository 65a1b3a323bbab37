"""What the ImageNet backbone says of every image: computed once, and read by all experiments."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from twinhead import files, sharding
from twinhead.backbones import efficientnet_lite0, outputs, pooling, weights
from twinhead.dataset.features import POOLED
from twinhead.dataset.store import Store
from twinhead.errors import InputError

BATCH = 8
"""Larger ones leave the processor's cache in TensorFlow: a quarter slower at 448 pixels a side."""
FLIPS = (
    (),
    (2,),  # left to right
    (1,),  # upside down
    (1, 2),  # turned by 180 degrees
)
"""The axes of (images, height, width, channels) that each view reverses."""
VIEWED = {POOLED}
"""The arrays that are kept of every view; of others the image as photographed is enough."""
COLUMNS = ["version", "array", "shard", "check"]
"""Of the list of shards: what computed them, the array, the shard, and its file's SHA-256."""

Describe = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Takes (BATCH, size, size, 3), float32; gives arrays by name, (BATCH, …) each."""


def trunk(image_size: int) -> keras.Model:
    """The pretrained backbone up to what is kept of each image, by name; each in its own dtype."""
    image = keras.Input((image_size, image_size, 3), name="image")
    return keras.Model(image, outputs.of(image, efficientnet_lite0.build(image, "imagenet")))


def build(
    describe: Describe,
    names: Sequence[str],
    pixels: Store,
    views: int,
    path: Path,
    extracted: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    engine: str,
) -> int:
    """Write what the backbone says of every image; return how many images went through it.

    An image that an earlier build has seen, with these views, this code and these libraries, is
    taken from there; also one that was killed. The result is the same as from nothing.

    Args:
        describe: the backbone, with these names for what it gives.
        pixels: the images. The stores have its keys and its shards.
        views: flips of each image; view 0 is the image as photographed.
        path: folder of the stores, one by each name, row i = catalog row i. `pooled` is (images,
            views, values), others (images, …) of view 0.
        extracted: file for the list of shards, a row of COLUMNS for each.
        engine: what `describe` runs on, with its version: results of another aren't taken.
    """
    earlier = _Earlier(path, names, pixels, _version(views, engine), extracted)
    first: dict[str, int] = {}
    for row, key in enumerate(pixels.keys):
        first.setdefault(key, row)
    todo = [(key, row) for key, row in first.items() if key not in earlier.places]
    computed = _compute(describe, pixels, todo, views, progress)
    ready: dict[str, dict[str, np.ndarray]] = {}
    listed, places = set(), dict(earlier.places)
    with ExitStack() as stack:
        stack.callback(earlier.forget)
        writers = {name: stack.enter_context(sharding.writing(path / name)) for name in names}
        part = stack.enter_context(files.whole(extracted))
        for shard, keys in pixels.shards:
            whole = all((name, shard) in earlier.checks for name in names)
            while not whole and any(key not in places and key not in ready for key in keys):
                ready |= next(computed)
            for name, writer in writers.items():
                if whole:
                    writer.keep(keys)
                    listed.add((name, shard, earlier.checks[name, shard]))
                    continue
                rows = [ready[key][name] if key in ready else writer.load(*places[key])
                        for key in keys]  # fmt: skip
                check = _digest(writer.shard(keys, np.stack(rows)))
                listed.add((name, shard, check))
                earlier.note(name, shard, check)
            for place, key in enumerate(keys):
                places.setdefault(key, (shard, place))
                ready.pop(key, None)
        table = [(earlier.version, *line) for line in sorted(listed)]
        pd.DataFrame(table, columns=COLUMNS).to_csv(part, index=False, lineterminator="\n")
    for other in set(path.iterdir()) - {path / name for name in names}:
        files.remove(other)  # of arrays that are no longer wanted
    return len(todo)


def _compute(
    describe: Describe,
    pixels: Store,
    todo: list[tuple[str, int]],
    views: int,
    progress: Callable[[int, int], None],
) -> Iterator[dict[str, dict[str, np.ndarray]]]:
    """Yield a batch's arrays, by key and name."""
    for start in range(0, len(todo), BATCH):
        keys, rows = zip(*todo[start : start + BATCH], strict=True)
        # Always as many, so that an image's numbers can't depend on how many others are new.
        images = pixels[np.resize(rows, BATCH)].astype(np.float32)
        seen = [describe(np.flip(images, FLIPS[view])) for view in range(views)]
        arrays = {
            name: np.stack([each[name] for each in seen], axis=1) if name in VIEWED else found
            for name, found in seen[0].items()
        }
        progress(start + len(keys), len(todo))
        yield {
            key: {name: found[place] for name, found in arrays.items()}
            for place, key in enumerate(keys)
        }


def _version(views: int, engine: str) -> str:
    """Name everything beside the pixels that decides the result."""
    modules = (efficientnet_lite0, outputs, pooling, weights)
    sources = (__file__, *(str(module.__file__) for module in modules))
    code = b"".join(Path(source).read_bytes() for source in sources)
    seen = sha256(code)
    versions = f"{tf.__version__} {keras.__version__} {engine}"
    seen.update(f"{weights.SHA256} {versions} {views}".encode())
    return seen.hexdigest()[:32]


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


class _Earlier:
    """What the last build left, and one that was killed since, as far as it is whole.

    Beside the list of shards lies another while a build goes on, with a line for each new shard.
    """

    def __init__(
        self, path: Path, names: Sequence[str], pixels: Store, version: str, extracted: Path
    ) -> None:
        self.version, self._path = version, path
        self.checks: dict[tuple[str, str], str] = {}
        """By array and shard."""
        self.places: dict[str, tuple[str, int]] = {}
        """Shard and row of what is known, by key."""
        self._notes = extracted.with_name(f"{extracted.stem}.new.partial{extracted.suffix}")
        for file in (extracted, self._notes):
            with suppress(OSError, ValueError, KeyError):
                table = pd.read_csv(file, dtype=str, keep_default_na=False)
                known = table[table["version"] == version].dropna()
                for _, name, shard, check in known[COLUMNS].itertuples(index=False):
                    with suppress(OSError):
                        if _digest(path / name / f"{shard}.npy") == check:
                            self.checks[name, shard] = check
        shards = list(pixels.shards)
        with suppress(InputError):
            shards = [*Store(path / names[0]).shards, *shards]
        for shard, keys in shards:
            if all((name, shard) in self.checks for name in names):
                self.places |= {key: (shard, place) for place, key in enumerate(keys)}

    def note(self, name: str, shard: str, check: str) -> None:
        """Remember a new shard: a build that is killed is gone on with."""
        line = ",".join([self.version, name, shard, check])
        is_new = not self._notes.exists()
        try:
            with self._notes.open("a", encoding="utf-8") as notes:
                notes.write(f"{','.join(COLUMNS)}\n{line}\n" if is_new else f"{line}\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def forget(self) -> None:
        """Take the notes away: the build has ended, well or with what it wrote taken away."""
        self._notes.unlink(missing_ok=True)
