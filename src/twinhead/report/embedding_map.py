"""The t-SNE map, every image a point with its answers."""

import math

import numpy as np
import pandas as pd

from twinhead.dataset import splits
from twinhead.report import thumbnails
from twinhead.report.results import Results

WIDTH, HEIGHT, MARGIN = 1000, 680, 14
MOST = 10_000
"""More points than that make a browser slow; they are drawn in part."""
MOST_NAMES = 40
"""A longer legend is folded."""


def section(results: Results) -> dict:
    """The map as SVG: coloured by category or by defect without a script, thumbnails with one."""
    table = results.embedding
    if len(table) > MOST:
        table = table.iloc[np.linspace(0, len(table) - 1, MOST).round().astype(int)]
    # Held-out images are drawn last, on top.
    table = table.sort_values("split", key=lambda split: split == splits.TEST, kind="stable")
    names = sorted(table["category"].unique())
    source, side, columns = thumbnails.sheet(results.pixels, table.index)
    return {
        "metrics": results.metrics["embed"],
        "images": len(results.predictions),
        "width": WIDTH,
        "height": HEIGHT,
        "radius": min(5.5, max(2.5, 130 / math.sqrt(len(table)))),
        "points": _points(table, names, _said(results.predictions)),
        "colours": {name: _colour(place, len(names)) for place, name in enumerate(names)},
        "most_names": MOST_NAMES,
        "sheet": {"source": source, "side": side, "columns": columns},
    }


def _points(table: pd.DataFrame, names: list[str], said: pd.Series) -> list[dict]:
    numbers = {name: place for place, name in enumerate(names)}
    return [
        {
            "category": numbers[row.category],
            "defective": row.defective,
            "held_out": row.split == splits.TEST,
            "x": x,
            "y": y,
            "about": f"{row.path}\n{row.category}, {row.defect_type} ({row.split})",
            "said": said[row.Index],
        }
        for row, (x, y) in zip(table.itertuples(), _placed(table), strict=True)
    ]


def _placed(table: pd.DataFrame) -> np.ndarray:
    """The points in the picture's units, neither axis stretched against the other."""
    points = table[["x", "y"]].to_numpy(float) * (1, -1)
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([WIDTH, HEIGHT]) - 2 * MARGIN
    # A map that is taller than wide is turned, to use the room.
    if (high - low)[1] > (high - low)[0]:
        points, low, high = points[:, ::-1], low[::-1], high[::-1]
    scale = (room / np.maximum(high - low, 1e-9)).min()
    return (points - (low + high) / 2) * scale + np.array([WIDTH, HEIGHT]) / 2


def _said(predictions: pd.DataFrame) -> pd.Series:
    """The network's answers for each image, a line for each head."""
    said = pd.Series("", predictions.index)
    if "category_predicted" in predictions:
        said += "\ntaken for " + predictions["category_predicted"]
    if "defect_probability" in predictions:
        said += predictions["defect_probability"].map("\ndefect probability {:.1%}".format)
    return said


def _colour(place: int, total: int) -> str:
    """Hues all around, every other one lighter, so that neighbours differ."""
    return f"hsl({360 * place / total:.0f} {70 if place % 2 else 60}% {60 if place % 2 else 42}%)"
