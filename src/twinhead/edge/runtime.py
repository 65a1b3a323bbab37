"""Photographs in, answers and heat maps out, from the folder that the stage `export` left."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from twinhead import errors, processor
from twinhead.edge import compiled
from twinhead.errors import InputError
from twinhead.export import decisions, manifest
from twinhead.export.manifest import FLOAT, INT8, Manifest
from twinhead.ingest import images
from twinhead.plots import heatmap

TOGETHER = 64
"""Photographs that are held at a time, decoded."""


class Runtime:
    """An exported network with what its answers need. Several threads may ask it."""

    def __init__(self, network: processor.Network, known: Manifest, precision: str) -> None:
        self.manifest, self.precision = known, precision
        self.size, self.categories = known.size, known.categories
        self.tasks = [task for task in ("category", "defect") if task in network.names]
        self.columns = decisions.columns(network.names, known.rules)
        """What an answer has, in this order."""
        self._network, self._alone = network, threading.Lock()

    def answer(self, photographs: Sequence[Path | str | bytes] | np.ndarray) -> list[dict]:
        """Answer for photographs, in their order.

        They are files, files' bytes, or decoded already: (images, size, size, 3), uint8. Each
        answer has, for the heads that the network has, `category` and `category_probability`;
        `defect_probability`, as `defective` whether it reaches the threshold, and as `known`
        whether the photograph is like any good one that the network has learned from. Raises
        InputError naming a photograph that can't be read.
        """
        found: list[dict] = []
        for start in range(0, len(photographs), TOGETHER):
            found += self.read(self.look(self._decoded(photographs[start : start + TOGETHER])))
        return found

    def look(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """What the network gives for decoded photographs, by output, (images, …) each."""
        with self._alone:
            return self._network(pixels)

    def read(self, given: dict[str, np.ndarray], threshold: float | None = None) -> list[dict]:
        """The answers in what `look` gives; threshold: instead of the model's own, for all."""
        return decisions.read(given, self.categories, self.manifest.rules, threshold)

    def heat(
        self, pixels: np.ndarray, given: dict[str, np.ndarray] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the photographs' heat maps, (height, width), float32 each; the higher, the odder.

        given: what `look` gave for them, where that is known. Raises InputError for a network that
        has no map of its own.
        """
        self.check_scale()
        yield from (given or self.look(pixels))["anomaly_map"]

    def check_scale(self) -> None:
        """Raise InputError for a network whose heat maps need TensorFlow's gradients."""
        if self.manifest.scale is None:
            raise InputError(
                "this export has no heat maps: params.yaml explains the network by Grad-CAM, for"
                " which `predict` needs models/model.keras"
            )

    def draw(self, data: bytes, name: Path | str, found: np.ndarray) -> bytes:
        """A photograph with its heat map over it: a PNG file in the photograph's proportions.

        data: the photograph's file, which errors call by `name`; found: its heat map.
        """
        assert self.manifest.scale is not None  # else there would be no heat
        return heatmap.png(images.picture(data, name, heatmap.LONGEST), found, self.manifest.scale)

    def _decoded(self, photographs: Sequence[Path | str | bytes] | np.ndarray) -> np.ndarray:
        if isinstance(photographs, np.ndarray):
            return photographs
        read = [
            images.decode(one, f"photograph {number}", self.size)
            if isinstance(one, bytes)
            else images.read(Path(one), self.size)
            for number, one in enumerate(photographs, start=1)
        ]
        return np.array(read, np.uint8).reshape(-1, self.size, self.size, 3)


def load(folder: Path | str, precision: str | None = None) -> Runtime:
    """Take what the stage `export` left: int8 where it is there, or the precision that is named.

    Raises InputError where a file is missing or isn't the one that was exported, where nothing
    could be exported, or where OpenVINO is missing or can't run here.
    """
    folder = Path(folder)
    known = manifest.read(folder)
    if not known.precisions:
        raise InputError(f"{folder}: has no network ({known.gate.get('why', 'none is listed')})")
    chosen = precision or (INT8 if INT8 in known.precisions else FLOAT)
    if chosen not in known.precisions:
        raise InputError(f"{folder}: has no {chosen}; it has {' and '.join(known.precisions)}")
    names = manifest.network(chosen)
    manifest.check(folder, known, names)
    try:
        graph = folder / f"{chosen}{manifest.ENDINGS[0]}"
        model = processor.load().Core().read_model(graph)
        network = compiled.Network(model, " ".join(known.files[name] for name in names))
    except ImportError:
        raise InputError(errors.not_installed("openvino", "edge")) from None
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:300]
        raise InputError(f"{folder}: OpenVINO can't run it here ({fault})") from None
    rules = known.rules
    for output, name, value in (
        ("defect", "threshold", rules.threshold),
        ("unusual", "unusual", rules.unusual),
    ):
        if output in network.names and value is None:
            raise InputError(f"{folder / manifest.FILE}: lacks rules.{name}; export it again")
    return Runtime(network, known, chosen)
