"""The t-SNE map, every image a point that tells what it is."""

import math
from html import escape

import numpy as np
import pandas as pd

from twinhead.dataset import splits
from twinhead.report import thumbnails
from twinhead.report.markup import Html, folded, join, number, paragraph, share
from twinhead.report.results import Results

WIDTH, HEIGHT, MARGIN = 1000, 680, 14
MOST = 10_000
"""More points than that make a browser slow; they are drawn in part."""
MOST_NAMES = 40
"""A longer legend is folded."""


def section(results: Results) -> Html:
    """The map as SVG: coloured by category or by defect without a script, thumbnails with one."""
    known = results.metrics["embed"]
    neighbours = known["category_knn_accuracy"]
    said = [] if neighbours is None else [
        "An image's nearest neighbours agree with it on the category for"
        f" {share(neighbours)} of the test images."
    ]  # fmt: skip
    return join([
        paragraph(
            f"{_shown(results)} is a point; images that the network takes for alike lie together."
            " Test images have a ring. Point at one, or tap it, to see what it is; a category's"
            " name enlarges it.",
            *said,
            f"Trustworthiness of the map: {number(known['trustworthiness'])} (1 is perfect).",
        ),
        _map(results),
    ])  # fmt: skip


def _shown(results: Results) -> str:
    shown, known = min(len(results.embedding), MOST), len(results.predictions)
    return "Every image" if shown == known else f"Each of {shown:,} out of {known:,} images"


def _map(results: Results) -> Html:
    table = results.embedding
    if len(table) > MOST:
        table = table.iloc[np.linspace(0, len(table) - 1, MOST).round().astype(int)]
    # Held-out images are drawn last, on top.
    table = table.sort_values("split", key=lambda split: split == splits.TEST, kind="stable")
    names = sorted(table["category"].unique())
    numbers = {name: place for place, name in enumerate(names)}
    radius = min(5.5, max(2.5, 130 / math.sqrt(len(table))))
    said = _said(results.predictions)
    dots = []
    for row, (x, y) in zip(table.itertuples(), _placed(table), strict=True):
        kind = f"c{numbers[row.category]}"
        kind += " d" * bool(row.defective) + " t" * (row.split == splits.TEST)
        about = f"{row.path}\n{row.category}, {row.defect_type} ({row.split}){said[row.Index]}"
        dots.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{escape(about)}</title></circle>"
        )
    colours = "".join(
        f".map .c{place}{{--own:{_colour(place, len(names))}}}\n" for place in range(len(names))
    )
    legend = "".join(
        f'<button type="button" class="c{place}" data-category="{place}">{escape(name)}</button>'
        for place, name in enumerate(names)
    )
    legend = Html(f'<div class="legend">{legend}</div>')
    if len(names) > MOST_NAMES:
        legend = folded(f"The colours of {len(names)} categories", legend)
    source, side, columns = thumbnails.sheet(results.pixels, table.index)
    size = f'data-side="{side}" data-columns="{columns}"'
    pictures = f'<img class="sheet" hidden alt="" {size} src="{source}">'
    return Html(
        f'<style>\n{colours}</style><div class="map">'
        '<input type="radio" name="colour" id="by-category" checked>'
        '<label for="by-category">by category</label>'
        '<input type="radio" name="colour" id="by-defect"><label for="by-defect">by defect</label>'
        '<span class="truth"><i></i>good <i class="d"></i>defective</span>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="t-SNE map of {len(table)} images">{"".join(dots)}</svg>'
        '<div class="about" hidden><canvas></canvas><p></p></div>'
        f"{legend}{pictures}</div>"
    )


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
    """What the network said of each image, a line for each head."""
    said = pd.Series("", predictions.index)
    if "category_predicted" in predictions:
        said += "\ntaken for " + predictions["category_predicted"]
    if "defect_probability" in predictions:
        said += predictions["defect_probability"].map("\ndefect probability {:.1%}".format)
    return said


def _colour(place: int, total: int) -> str:
    """Hues all around, every other one lighter, so that neighbours differ."""
    return f"hsl({360 * place / total:.0f} {70 if place % 2 else 60}% {60 if place % 2 else 42}%)"
