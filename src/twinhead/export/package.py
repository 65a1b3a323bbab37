"""The folder `models/edge/`: the network in float, in int8 if that passes, reference and list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from twinhead import paths, processor
from twinhead.dataset import catalog, splits
from twinhead.dataset.store import Store
from twinhead.export import conversion, manifest, parity, quantisation, reference
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
    reference: pd.DataFrame | None = None
    """What `reference.collect` returns."""


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

    Where OpenVINO is missing, or can't run the network, the list alone is written. An int8 network
    that can't be made, or doesn't pass the gate, isn't. `said` is told why.
    """
    val = known.predictions[known.predictions["split"] == splits.VAL]
    size = images.shape[1]
    categories = catalog.categories(known.frame)
    metrics: dict = {"images": len(val), FLOAT: None, INT8: None, "calibration_images": 0}
    try:
        graph = conversion.convert(model)
        plain = processor.Network(graph)
    except (ImportError, RuntimeError) as error:
        why = f"the network can't be exported: {_fault(error)}"
        metrics |= {"kept": "none", "why": why}
        said(f"none kept ({why})")
        _list([], metrics, model, known, folder)
        return metrics
    conversion.save(graph, folder, FLOAT)
    found, maps = parity.answers(plain, images, val, categories, known.rules)
    # No maps of the trained network are there to compare with; int8's are compared with float's.
    metrics[FLOAT] = parity.compare(found, val, (None, None))
    faults = parity.failures(metrics[FLOAT])

    rows = quantisation.calibration(known.frame, np.flatnonzero(known.split == splits.TRAIN))
    reason = "export.int8 is false"
    if int8 and not quantisation.available():
        reason = "NNCF isn't installed"
    elif int8:
        try:
            small = quantisation.quantise(graph, lambda row: images[row], rows)
            quick = processor.Network(small)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # NNCF's are of many kinds
            reason = f"int8 can't be made ({_fault(error)})"
        else:
            found, other = parity.answers(quick, images, val, categories, known.rules)
            areas = [parity.pixel_auroc(val, heat, masks, size) for heat in (other, maps)]
            metrics[INT8] = parity.compare(found, val, (areas[0], areas[1]))
            metrics["calibration_images"] = len(rows)
            reason = "; ".join(parity.failures(metrics[INT8]))
            if reason:
                reason = f"int8 answers otherwise on {len(val)} val images: {reason}"
            else:
                conversion.save(small, folder, INT8)
    kept = [FLOAT] if reason else [FLOAT, INT8]
    told = [reason or f"int8 passes on {len(val)} val images"]
    if faults:
        told.append(f"float answers otherwise than {paths.MODEL}: {'; '.join(faults)}")
    metrics |= {"kept": " and ".join(kept), "why": "; ".join(told)}
    said(f"{metrics['kept']} kept ({metrics['why']})")
    _list(kept, metrics, model, known, folder)
    return metrics


def _list(kept: list[str], metrics: dict, model: keras.Model, known: Judged, folder: Path) -> None:
    """Write the list of the folder's files, of these precisions, and the reference with them."""
    names = [name for one in kept for name in manifest.network(one)]
    if kept and known.reference is not None:
        reference.write(known.reference, folder)
        names.append(reference.FILE)
    named = "category" in network.tasks(model)
    categories = catalog.categories(known.frame) if named else []
    manifest.write(
        Manifest(
            version=manifest.VERSION,
            categories=categories,
            rules=known.rules,
            scale=known.scale,
            size=model.input_shape[1],
            tiles=known.tiles,
            files=manifest.digests(folder, names),
            gate=metrics,
            model=known.model,
        ),
        folder,
    )


def _fault(error: Exception) -> str:
    """What is wrong, on a line. Raises MemoryError where OpenVINO has run out of memory."""
    fault = " ".join(str(error).split())[:300]
    if "bad_alloc" in fault:  # else a full memory would decide on what is exported
        raise MemoryError(fault) from error
    return fault or type(error).__name__
