"""Does training run at the processor's pace, and how far is it from decoding in every epoch?

Three ways to train for an epoch on the same rendered images of 1024 × 1024: from one batch that is
in memory already (the processor's pace); from the store as `train` does, which is pixels with their
augmentation, or the views of a frozen backbone; and from the PNG files, decoded and resized anew by
tf.data in every epoch, as tutorials do. The first two take turns in one process; the last runs in
one of its own, since `train` asks TensorFlow for repeatable operations, which slow tf.data down.

    python benchmarks/training.py [--backbone efficientnet_lite0] [--precision mixed_bfloat16]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from twinhead import params, sample, stage
from twinhead.backbones import extraction
from twinhead.dataset import pixels
from twinhead.ingest import decoding, layout

SIZES = {"cnn": 224, "efficientnet_lite0": 320}
TURNS = 3
SHORT = 15
"""Turns where an epoch takes less than a second."""


def main(images: int, backbone: str, precision: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        sample.render(root, images, 1024)
        here = [sys.executable, __file__, "--backbone", backbone, "--precision", precision]
        memory, stored = _one("stored", root, here)
        (naive,) = _one("files", root, here)
    print(f"{backbone}, {images} images, {precision}, images/s (medians over epochs)")
    for name, pace in (
        ("one batch in memory", memory),
        ("the store", stored),
        ("files", naive),
    ):
        print(f"  {name:22} {pace:7.1f}")
    print(f"the store / one batch in memory: {stored / memory:.2f}")
    print(f"the store / files decoded in every epoch: {stored / naive:.1f}")


def _one(way: str, root: Path, command: list[str]) -> list[float]:
    done = subprocess.run(
        [*command, "--way", way, "--root", str(root)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def from_stored(root: Path, settings: params.Params) -> list[float]:
    """The pace of one batch in memory and of the store, epochs of the two in turn."""
    import tensorflow as tf

    from twinhead.dataset import features
    from twinhead.model import network
    from twinhead.model.batches import Batches

    tf.config.experimental.enable_op_determinism()
    model, frame, targets = _prepare(root, settings)
    image_size = SIZES[settings.model.backbone]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("pixels", "masks", "decoded.csv")]
        decoding.build(frame, root, image_size, *files)
        stored, rows = pixels.load(files[0]), np.arange(len(frame))
        if settings.model.has_frozen_backbone:
            trunk, views = extraction.trunk(image_size), settings.features.views
            kept, listed = Path(folder) / "features", Path(folder) / "extracted.csv"
            extraction.build(
                trunk.predict_on_batch,
                list(trunk.output),
                stored,
                views,
                kept,
                listed,
                engine="TensorFlow",
            )
            stored = features.load(kept)[features.POOLED]
        part = network.learning_part(model, settings.model.tasks, stored=stored.ndim == 3)
        _compile(part, settings)
        size = settings.train.batch_size
        batches = Batches(stored, rows[: len(rows) // size * size], targets, size, settings.train)
        given = stored[:size, 0] if stored.ndim == 3 else stored[:size]
        batch = tf.constant(given, tf.float32), {n: v[:size] for n, v in targets.items()}
        memory = tf.data.Dataset.from_tensors(batch).repeat(len(batches))

        def from_store() -> None:
            batches.start(batches.epoch + 1)
            part.fit(batches.source, shuffle=False, verbose=0)

        ways = [lambda: part.fit(memory, shuffle=False, verbose=0), from_store]
        return _paces(ways, len(batches) * size, SHORT if stored.ndim == 3 else TURNS)


def from_files(root: Path, settings: params.Params) -> list[float]:
    """The pace of tf.data's own decoding, resizing and augmentation."""
    import tensorflow as tf

    from twinhead.model import network

    model, frame, targets = _prepare(root, settings)
    part = network.learning_part(model, settings.model.tasks, stored=False)
    _compile(part, settings)
    change, image_size = settings.train.augmentation, SIZES[settings.model.backbone]

    def read(path: tf.Tensor, target: dict) -> tuple:
        image = tf.io.decode_png(tf.io.read_file(path), 3)
        image = tf.image.resize(image, (image_size, image_size))
        image = tf.image.random_flip_left_right(image)
        image = tf.image.random_brightness(image, 255 * change.brightness)
        image = tf.image.random_contrast(image, *change.contrast)
        return tf.clip_by_value(image, 0, 255), target

    paths = [str(root / path) for path in frame["path"]]
    data = tf.data.Dataset.from_tensor_slices((paths, targets)).shuffle(len(paths))
    data = data.map(read, tf.data.AUTOTUNE).batch(settings.train.batch_size, drop_remainder=True)
    data = data.prefetch(tf.data.AUTOTUNE)
    count = len(paths) // settings.train.batch_size * settings.train.batch_size
    return _paces([lambda: part.fit(data, shuffle=False, verbose=0)], count, TURNS)


def _prepare(root: Path, settings: params.Params) -> tuple:
    from twinhead.model import network, training

    frame = layout.scan(root)
    size = SIZES[settings.model.backbone]
    model = network.build(settings.model, size, 15, 0, settings.train.precision)
    return model, frame, training.targets_of(frame, settings.model.tasks)


def _compile(model, settings: params.Params) -> None:
    from twinhead.model import training

    training.compile_for(model, settings.train, settings.model.tasks, steps=100)


def _paces(ways: list[Callable[[], object]], images: int, turns: int) -> list[float]:
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(turns + 1):  # the first one compiles
        for taken, way in zip(seconds, ways, strict=True):
            started = time.perf_counter()
            way()
            if turn:
                taken.append(time.perf_counter() - started)
    return [images / statistics.median(taken) for taken in seconds]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--backbone", choices=SIZES, default="cnn")
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="float32")
    parser.add_argument("--way", choices=["stored", "files"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not chosen.way:
        sys.exit(main(chosen.images, chosen.backbone, chosen.precision))
    shipped = params.load()
    model = shipped.model.model_copy(update={"backbone": chosen.backbone})
    train = shipped.train.model_copy(update={"precision": chosen.precision})
    with stage.loading():
        import tensorflow  # noqa: F401  (its greetings)
    ways = {"stored": from_stored, "files": from_files}
    shipped = shipped.model_copy(update={"model": model, "train": train})
    print(json.dumps(ways[chosen.way](chosen.root, shipped)))
