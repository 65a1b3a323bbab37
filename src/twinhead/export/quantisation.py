"""int8 by NNCF, after the training: most convolutions, by photographs of the train split.

What follows the convolutions stays in float: the memory's distances, the readings, the
probabilities. Nearly all of the work is in the convolutions, and a distance is the small difference
of large numbers.
"""

import contextlib
import io
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from twinhead import processor
from twinhead.export import conversion

CALIBRATION = 48
"""Photographs by which each layer's range is set."""
DEPTHWISE = "GroupConvolution"
CONVOLUTIONS = {"Convolution", DEPTHWISE}
FLOAT_DEPTHWISE = 3
"""So many depthwise convolutions, the first ones, stay in float as the very first convolution does.

Their few weights' rounding isn't averaged, and all that follows sees it: in float, less than
half of the maps' error is left, and on real15's val none of 186 decisions changes.
"""
REPORTS = "openvino_telemetry"
"""What NNCF would report its use by; it does without."""


def available() -> bool:
    """Whether NNCF is installed."""
    try:
        _import()
    except ImportError:
        return False
    return True


def calibration(frame: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """Choose photographs that set the ranges: at most CALIBRATION of the rows, sorted.

    Each category gives as many, good and defective ones in turn. frame: the catalog.
    """
    train = frame.iloc[rows]
    turn = train.groupby(["category", "defective"]).cumcount()
    order = np.lexsort((train["category"], train["defective"], turn))
    return np.sort(rows[order[:CALIBRATION]])


def quantise(model: Any, read: Callable[[int], np.ndarray], rows: np.ndarray) -> Any:
    """A copy of the network whose convolutions are in int8.

    Weights use half of their range, so that sums can't overflow on processors without VNNI: the
    answers are nearly the same on all. read: a row's pixels, (size, size, 3), uint8.
    """
    nncf = _import()
    copy = model.clone()
    given = nncf.Dataset(rows.tolist(), lambda row: read(row)[None])
    with contextlib.redirect_stdout(io.StringIO()):  # its bars
        found = nncf.quantize(
            copy,
            given,
            subset_size=len(rows),
            ignored_scope=nncf.IgnoredScope(names=in_float(copy), validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE
            ),
        )
    conversion.name(found)
    return found


def in_float(model: Any) -> list[str]:
    """The names of the operations that stay in float."""
    operations = model.get_ordered_ops()
    convolutions = [one for one in operations if one.get_type_name() in CONVOLUTIONS]
    first, before = _leading_to(convolutions[:1]), _leading_to(convolutions)
    kinds = [(one.get_type_name(), one.get_friendly_name()) for one in operations]
    outside = [
        name for kind, name in kinds if kind != "Constant" and (name in first or name not in before)
    ]
    depthwise = [name for kind, name in kinds if kind == DEPTHWISE]
    return outside + depthwise[:FLOAT_DEPTHWISE]


def _leading_to(targets: list) -> set[str]:
    """These operations, and all that leads to one, by name."""
    todo = list(targets)
    before: set[str] = set()
    while todo:
        operation = todo.pop()
        if (own := operation.get_friendly_name()) not in before:
            before.add(own)
            todo += [value.get_source_output().get_node() for value in operation.inputs()]
    return before


def _import() -> Any:
    """NNCF without what reports its use, and without its remarks on each operation."""
    processor.load()
    with processor.without(REPORTS):
        import nncf
    nncf.set_log_level(logging.ERROR)
    return nncf
