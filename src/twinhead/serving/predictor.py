"""Photographs in, answers out: what `predict` and the served model have in common."""

import base64
import binascii
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from twinhead import engine, errors, paths
from twinhead.attribution import gradcam, maps
from twinhead.errors import InputError
from twinhead.export import decisions
from twinhead.ingest import images
from twinhead.model import detector, network
from twinhead.model.batches import at_a_time
from twinhead.plots import heatmap
from twinhead.serving import ARTIFACTS, metadata
from twinhead.serving.metadata import Metadata


class Predictor:
    """A network with its metadata. Several threads may ask it."""

    def __init__(self, model: keras.Model, known: Metadata) -> None:
        """Raises InputError where the metadata are of another network."""
        self.model, self.metadata = model, known
        self.size: int = model.input_shape[1]
        self.tasks = network.tasks(model)
        self.categories = known.categories
        self.rules = known.rules(detector.UNUSUAL)
        self.columns = decisions.columns(model.output, self.rules)
        """What an answer has, in this order."""
        self._alone = threading.Lock()  # an engine is built at the first call, and takes one
        if "category" in self.tasks:
            count = model.output["category"].shape[-1]
            if count != len(known.categories):
                found = f"{count} categories, its labels {len(known.categories)}"
                raise InputError(f"the network knows {found}: not of one run; run `dvc repro`")
        if "defect" in self.tasks and known.threshold is None:
            raise InputError("the network has a defect head but no threshold; run `dvc repro`")

    def answer(self, pixels: np.ndarray, threshold: float | None = None) -> list[dict]:
        """Answer for decoded photographs, (images, size, size, 3), uint8, in their order.

        Each answer has, for the heads that the network has, `category` and `category_probability`;
        `defect_probability`, as `defective` whether it reaches the threshold, and as `known`
        whether the photograph is like any good one that the network has learned from. A model that
        was made for it says as `review` whether a person should look.

        threshold: instead of the model's own, for all categories.
        """
        return self.read(self.look(pixels), threshold) if len(pixels) else []

    def look(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """What the network gives for decoded photographs, by output, (images, …) each."""
        size = at_a_time(self.size)
        starts = range(0, len(pixels), size)
        with self._alone:
            parts = [self._network(pixels[start : start + size]) for start in starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def read(self, given: dict[str, np.ndarray], threshold: float | None = None) -> list[dict]:
        """The answers in what `look` gives; as `answer`."""
        return decisions.read(given, self.categories, self.rules, threshold)

    def heat(
        self, pixels: np.ndarray, given: dict[str, np.ndarray] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the photographs' heat maps, (height, width), float32 each; the higher, the odder.

        given: what `look` gave for them, where that is known. Raises InputError where it isn't
        known at which heat the colours end.
        """
        self.check_scale()
        own = maps.of_patches(self.model, self.metadata.head, self.metadata.method)
        if own and given:
            yield from given["anomaly_map"]
            return
        size = max(1, at_a_time(self.size) // 2)
        for start in range(0, len(pixels), size):
            part = pixels[start : start + size]
            if own:
                yield from self.look(part)["anomaly_map"]
            else:
                with self._alone:
                    found = self._mapper(part)
                yield from found

    def check_scale(self) -> None:
        """Raise InputError where it isn't known at which heat the colours end."""
        if self.metadata.scale is None:
            raise InputError(f"{paths.EXPLANATIONS} is missing, so the heat maps have no scale")

    def draw(self, data: bytes, name: Path | str, found: np.ndarray) -> bytes:
        """A photograph with its heat map over it: a PNG file in the photograph's proportions.

        data: the photograph's file, which errors call by `name`; found: its heat map.
        """
        assert self.metadata.scale is not None  # else there would be no heat
        return heatmap.png(images.picture(data, name, heatmap.LONGEST), found, self.metadata.scale)

    @cached_property
    def _network(self) -> engine.Engine:
        # Also for a single photograph: benchmarks/engine.py has what it takes to start.
        return engine.fastest(self.model)

    @cached_property
    def _mapper(self) -> Callable[[np.ndarray], np.ndarray]:
        return gradcam.mapper(self.model, self.metadata.head)


def load(place: Path) -> Predictor:
    """Take the network `models/model.keras` of a workspace, or the folder of an MLflow model.

    Raises InputError if there is none, or if what it needs beside the network is missing.
    """
    place = Path(place)
    if place.is_dir():
        file, known = place / ARTIFACTS / paths.MODEL.name, place / ARTIFACTS / metadata.FILE
        if not known.is_file():
            raise InputError(f"{place}: not a folder of an MLflow model of twinhead")
        return Predictor(network.load(file), metadata.read(known))
    if not place.is_file():
        raise errors.no_model(place)
    if place.name != paths.MODEL.name:
        # The threshold in metrics/ was chosen for that one; another's would be wrong unnoticed.
        raise InputError(f"{place}: expected {paths.MODEL}, the one that the pipeline has judged")
    root = place.parents[1] if len(place.parents) > 1 else Path("..")
    return Predictor(network.load(place), metadata.collect(root))


def file_bytes(given: object, name: str) -> bytes:
    """A photograph's file from bytes or from base64 text, with or without `data:image/…;base64,`.

    Raises InputError naming the photograph if it is neither.
    """
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    if not isinstance(given, str):
        raise InputError(f"{name}: expected a file's bytes or base64, found {type(given).__name__}")
    text = given.partition(",")[2] if given.startswith("data:") else given
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{name}: not base64 ({error})") from None
