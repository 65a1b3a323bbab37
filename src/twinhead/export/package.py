"""The folder `models/edge/`: the network in float, in int8 if that passes, and the list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from twinhead import paths, processor
from twinhead.dataset import catalog, splits
from twinhead.dataset.store import Store
from twinhead.errors import InputError
from twinhead.export import conversion, manifest, parity, quantisation
from twinhead.export.decisions import Rules
from twinhead.export.manifest import FLOAT, INT8, Manifest
from twinhead.model import network


@dataclass(frozen=True)
class Judged:
    """What the pipeline knows of the model by the time it is exported."""

    frame: pd.DataFrame
    """The catalog."""
    split: pd.Series
    predictions: pd.DataFrame
    """reports/predictions.csv."""
    rules: Rules
    scale: float | None
    """The heat at which the colours end; None where the network's own map isn't what was judged."""
    tiles: int
    model: str
    """SHA-256 of models/model.keras."""


def write(
    model: keras.Model,
    images: Store,
    masks: Mapping[int, np.ndarray],
    known: Judged,
    int8: bool,
    folder: Path,
    said: Callable[[str], None],
) -> dict:
    """Write the folder's files; return what metrics/export.json has.

    Raises InputError where OpenVINO is missing, or can't run the network. An int8 network that
    doesn't pass the gate isn't written; `said` is told why.
    """
    try:
        graph = conversion.convert(model)
        plain = processor.Network(graph)
    except (ImportError, RuntimeError) as error:
        fault = " ".join(str(error).split())[:300]
        raise InputError(f"the network can't be exported: {fault}") from None
    conversion.save(graph, folder, FLOAT)
    val = known.predictions[known.predictions["split"] == splits.VAL]
    size = images.shape[1]
    categories = catalog.categories(known.frame)
    found, maps = parity.answers(plain, images, val, categories, known.rules)
    area = parity.pixel_auroc(val, maps, masks, size)
    # The trained network's maps are the float one's: TensorFlow computes them within 1e-4.
    metrics: dict = {"images": len(val), FLOAT: parity.compare(found, val, (area, area))}
    if faults := parity.failures(metrics[FLOAT]):
        said(f"float answers otherwise than {paths.MODEL}: {'; '.join(faults)}")

    rows = quantisation.calibration(known.frame, np.flatnonzero(known.split == splits.TRAIN))
    metrics[INT8], reason = None, "export.int8 is false"
    if int8 and not quantisation.available():
        reason = "NNCF isn't installed"
    elif int8 and not len(val):
        reason = "there are no val images to judge it on"
    elif int8:
        small = quantisation.quantise(graph, lambda row: images[row], rows)
        found, maps = parity.answers(processor.Network(small), images, val, categories, known.rules)
        areas = parity.pixel_auroc(val, maps, masks, size), area
        metrics[INT8] = parity.compare(found, val, areas)
        reason = "; ".join(parity.failures(metrics[INT8]))
        if not reason:
            conversion.save(small, folder, INT8)
    metrics |= {"calibration_images": len(rows) if metrics[INT8] else 0}
    kept = [FLOAT] if reason else [FLOAT, INT8]
    metrics |= {
        "kept": " and ".join(kept),
        "why": reason or f"int8 passes on {len(val)} val images",
    }
    said(f"{metrics['kept']} kept ({metrics['why']})")
    manifest.write(
        Manifest(
            version=manifest.VERSION,
            categories=categories if "category" in network.tasks(model) else [],
            rules=known.rules,
            scale=known.scale,
            size=size,
            tiles=known.tiles,
            files={name: digest for one in kept
                   for name, digest in manifest.digests(folder, one).items()},
            gate=metrics,
            model=known.model,
        ),
        folder,
    )  # fmt: skip
    return metrics
