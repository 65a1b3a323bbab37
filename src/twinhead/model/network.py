"""The network: a backbone, a category head, and a defect head or the readings of patches."""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from twinhead import errors, files, params
from twinhead.backbones import cnn, efficientnet_lite0, outputs, pooling
from twinhead.dataset.features import CHROMATICITY, POOLED
from twinhead.errors import InputError
from twinhead.model import detector, heads
from twinhead.model.moments import Moments

# With a single category the softmax is 1, as it should be; Keras suspects a mistake.
warnings.filterwarnings("ignore", "You are using a softmax over axis -1", UserWarning)

FROM_SCRATCH = {"cnn": cnn.build}
"""By name in the params: functions that return feature maps by name, of which the last is read."""
MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
"""Of a network's file, a zip archive."""
MAX_BYTES = 2**30
"""Of a network's file, unpacked."""
MAX_MEMORY = MAX_BYTES - 2**27
"""Bytes that its memory may have of these."""
OTHER_VERSION = re.compile(
    "Could not locate class|required .*argument|Unrecognized keyword argument"
)
"""What Keras says of a layer that is no more, or takes other arguments than it did."""


def build(
    settings: params.Model, image_size: int, categories: int, seed: int, precision: str = "float32"
) -> keras.Model:
    """Build the network, with weights drawn from `seed` where they aren't pretrained.

    It takes images (batch, image_size, image_size, 3), RGB, uint8 or float on the scale of 0 to
    255. It gives a dict with the keys of settings.tasks: `category`, (batch, categories),
    probabilities; `defect`, (batch, 1), the probability of a defect; and on a pretrained backbone
    `anomaly_map` and `unusual`, as detector.attach gives them. All are float32, whatever the
    precision. Raises InputError where pretrained weights are missing.
    """
    keras.utils.set_random_seed(seed)
    policy = keras.config.dtype_policy()
    try:
        # Stored features are float32, and the network that is judged must be the one that is kept.
        keras.config.set_dtype_policy("float32" if settings.has_frozen_backbone else precision)
        image = keras.Input((image_size, image_size, 3), name="image")
        if settings.is_from_scratch:
            *_, last = FROM_SCRATCH[settings.backbone](image).values()
            pooled = layers.GlobalAveragePooling2D(name=heads.POOLED)(last)
            answers = heads.paper(pooled, settings.tasks, categories, seed)
        else:
            weights = "imagenet" if settings.weights == "imagenet" else None
            maps = efficientnet_lite0.build(image, weights)
            given = outputs.of(image, maps)
            keras.config.set_dtype_policy(precision)
            answers = _detecting(given, settings, categories, seed)
    finally:
        keras.config.set_dtype_policy(policy)
    model = keras.Model(image, answers, name="twinhead")
    if settings.has_frozen_backbone:
        for layer in trunk(model).layers:
            layer.trainable = False
    return model


def _detecting(
    given: dict[str, keras.KerasTensor], settings: params.Model, categories: int, seed: int
) -> dict[str, keras.KerasTensor]:
    """The heads for a pretrained backbone, and with `defect` the readings of its patches."""
    answers = heads.comparing(given[POOLED], settings.tasks, categories, seed)
    if "defect" not in settings.tasks:
        return answers
    logit = answers["defect"]
    seen = answers.get("category")
    if seen is None:  # all images are of one category
        seen = ops.ones_like(logit)
    maps = {name: given[name] for name in outputs.PATCH_STAGES}
    return answers | detector.attach(
        maps,
        deviation=answers.pop(heads.DEVIATION),
        chromaticity=given[CHROMATICITY],
        pooled_logit=logit,
        probabilities=seen,
        capacity=settings.memory,
        seed=seed,
    )


def trunk(model: keras.Model) -> keras.Model:
    """The part from the image to what is stored of it, of a network with a pretrained backbone."""
    return keras.Model(model.inputs, _stored(model))


def tasks(model: keras.Model) -> list[str]:
    """The heads that a network has: "category", "defect" or both."""
    return [task for task in ("category", "defect") if task in model.output]


def detects(model: keras.Model) -> bool:
    """Whether the network reads a photograph's patches, too."""
    return "anomaly_map" in model.output


def _stored(model: keras.Model) -> dict[str, keras.KerasTensor]:
    names = {POOLED: pooling.FEATURES}
    names |= {name: name for name in (CHROMATICITY, *outputs.PATCH_STAGES)}
    known = {layer.name for layer in model.layers}
    return {name: model.get_layer(layer).output for name, layer in names.items() if layer in known}


def pooled(model: keras.Model) -> layers.Layer:
    """The layer that the heads start from; it gives the pooled feature maps, (batch, values)."""
    names = {pooling.FEATURES, heads.POOLED}
    return next(layer for layer in model.layers if layer.name in names)


def answering_part(model: keras.Model) -> keras.Model:
    """The part that leads from stored features, by name, to the answers; it shares its layers."""
    given = _stored(model)
    named = {
        name: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=name)
        for name, x in given.items()
    }
    part = keras.Model(list(given.values()), model.output)
    return keras.Model(named, part(list(named.values())))


def learning_part(model: keras.Model, tasks: Sequence[str], stored: bool) -> keras.Model:
    """The part that is trained by epochs, from the image or from the stored pooled features.

    It gives the probabilities of these tasks: the heads', without what detector.py adds.
    """
    start = pooled(model).output if stored else model.input
    found = {task: model.output[task] for task in tasks}
    if "defect" in tasks and detects(model):
        logit = model.get_layer(heads.DEFECT_LOGIT).output
        found["defect"] = layers.Activation("sigmoid", dtype="float32", name="defect")(logit)
    return keras.Model(start, found)


def adapt(model: keras.Model, moments: Moments) -> None:
    """Give the heads on a pretrained backbone the statistics of the training images' features."""
    shared = model.get_layer(heads.SHARED)
    shared.adapt(moments)
    if any(layer.name == heads.DEVIATION for layer in model.layers):
        deviation = model.get_layer(heads.DEVIATION)
        seen = moments.scaled(np.asarray(shared.mean), np.asarray(shared.scale))
        deviation.adapt(seen if deviation.categories > 1 else seen.as_one_category())


def last_convolution(model: keras.Model) -> str:
    """The name of the network's last convolution layer."""
    names = [layer.name for layer in model.layers if isinstance(layer, layers.Conv2D)]
    return names[-1]


def save(model: keras.Model, path: Path) -> None:
    """Write the network without its optimizer; equal weights give equal bytes.

    Keras writes the day and hour and memory addresses into its archive, which would make DVC take
    each training for a new model. The file appears whole or not at all.
    """
    with files.whole(path) as written:
        model.save(written, include_optimizer=False)
        archive = io.BytesIO()
        with zipfile.ZipFile(written) as original, zipfile.ZipFile(archive, "w") as repeatable:
            for name in sorted(original.namelist()):
                data = original.read(name)
                if name == "metadata.json":
                    data = json.dumps(json.loads(data) | {"date_saved": "undated"}).encode()
                if name == "config.json":
                    data = _number_objects(data.decode()).encode()
                repeatable.writestr(zipfile.ZipInfo(name), data)
        written.write_bytes(archive.getvalue())


def load(path: Path) -> keras.Model:
    """Load a network that `save` wrote; no code in the file is run.

    A file that holds anything else is refused: layers with code of their own (Lambda), members
    that would be unpacked to other places. Raises InputError naming the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if strange := sorted(set(archive.namelist()) - MEMBERS):
                raise ValueError(f"{strange[0]} is in it")
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES:,} bytes in it")
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except FileNotFoundError:
        raise errors.missing(path) from None
    except MemoryError:
        raise
    except Exception as error:  # Keras raises nearly any kind of what isn't its own
        # The first sentence: the next ones say how to load it all the same.
        fault = re.split(r"\.\s|\n", str(error).strip())[0][:200] or type(error).__name__
        other = OTHER_VERSION.search(str(error))
        hint = "; one of another version of Twinhead has to be trained again" if other else ""
        raise InputError(f"{path}: not a network ({fault}){hint}") from None


def _number_objects(config: str) -> str:
    """Count the shared objects, which Keras tells apart by where they lie in memory."""
    numbers: dict[str, int] = {}

    def number(found: re.Match) -> str:
        return f"{found[1]}{numbers.setdefault(found[2], len(numbers))}"

    return re.sub(r'("shared_object_id": )(\d+)', number, config)
