"""Photographs beside their masks and their heat maps."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from twinhead.attribution import localisation
from twinhead.attribution.resize import enlarged
from twinhead.attribution.scale import full_colour
from twinhead.dataset.store import Store
from twinhead.plots import heatmap, style

LEFT = (0.01, 0.32, 0.63)
"""Where the three pictures begin, in figure widths."""
ENLARGED = 4
"""So many times is the place of the peak enlarged, where there is no mask to show."""
FRAME = "#ffb000"
"""Marks that place in the photograph."""


def draw(
    predictions: pd.DataFrame,
    explanations: pd.DataFrame,
    heat: np.ndarray,
    images: Store | np.ndarray,
    masks: Mapping[int, np.ndarray],
    folder: Path,
) -> None:
    """One picture for each test image that `explain` has chosen.

    explanations: `reports/explanations.csv`, whose `drawn` is the place in heat, (chosen, height,
    width), float32. predictions: of every image; its index is the image's in images and masks.
    """
    chosen = explanations[explanations["drawn"] >= 0].set_index("path")
    scale = full_colour(explanations)
    judged = localisation.with_outcomes(predictions[predictions["path"].isin(chosen.index)])
    for number, row in judged.iterrows():
        name, title, subtitle = localisation.describe(row)
        shown = heat[chosen.at[row["path"], "drawn"]]
        overlay(images[number], masks.get(number), shown, scale, title, subtitle, folder / name)


def overlay(
    image: np.ndarray,
    mask: np.ndarray | None,
    heat: np.ndarray,
    scale: float,
    title: str,
    subtitle: str,
    path: Path,
) -> None:
    """The photograph, the photograph with the defect's outline, and the heat map over it.

    Without a mask the second picture is the place of the heat map's peak, enlarged.

    image: (size, size, 3), uint8. mask: (size, size), bool, or None. heat: its map, the higher
    the odder; `scale` and above get the brightest colour.
    """
    # Fixed places: there may be hundreds of figures, and finding a layout means drawing each twice.
    figure = Figure(figsize=(9.4, 3.65))
    photograph, marked, heated = (
        figure.add_axes((left, 0.09, 0.295, 0.74), xticks=[], yticks=[]) for left in LEFT
    )
    for axes in (photograph, marked, heated):
        axes.set_axis_off()
    photograph.imshow(image)
    photograph.set_title("photograph", weight="normal", size=9)
    if mask is not None:
        marked.imshow(image)
        marked.contour(mask, [0.5], colors=["#00e5ff"], linewidths=1.2)
        marked.set_title("true defect (mask)", weight="normal", size=9)
    elif heat.max() <= heat.min():
        marked.set_title("no mask, and no peak", weight="normal", size=9)
    else:
        rows, columns = around_peak(heat, len(image))
        marked.imshow(image[rows, columns])
        side = rows.stop - rows.start
        frame = Rectangle((columns.start, rows.start), side, side, fill=False, edgecolor=FRAME)
        photograph.add_patch(frame)
        marked.set_title(f"no mask; the peak, enlarged {ENLARGED}×", weight="normal", size=9)
    grey = image.mean(axis=2)
    heated.imshow(grey, cmap="gray", vmin=0, vmax=255)
    shown = np.clip(enlarged(heat, len(image)) / scale, 0, 1)
    opacity = heatmap.opacity(shown)
    drawn = heated.imshow(shown, cmap=heatmap.COLOURS, vmin=0, vmax=1, alpha=opacity)
    if mask is not None:
        heated.contour(mask, [0.5], colors=["#00e5ff"], linewidths=0.8)
    heated.set_title("heat map (one scale for all images)", weight="normal", size=9)
    colour_bar = matplotlib.cm.ScalarMappable(drawn.norm, heatmap.COLOURS)
    figure.colorbar(colour_bar, cax=figure.add_axes((0.937, 0.17, 0.014, 0.58)), ticks=[0, 0.5, 1])
    figure.suptitle(title, x=LEFT[0], ha="left", weight="bold", size=11)
    figure.supxlabel(subtitle, x=LEFT[0], ha="left", size=9)
    style.save(figure, path)


def around_peak(heat: np.ndarray, size: int) -> tuple[slice, slice]:
    """Rows and columns of a photograph around its map's peak, (height, width): size / ENLARGED."""
    side = max(1, size // ENLARGED)
    peak = np.unravel_index(int(np.argmax(heat)), heat.shape)
    middle = [
        int((place + 0.5) * size / cells) for place, cells in zip(peak, heat.shape, strict=True)
    ]
    first = [min(max(at - side // 2, 0), size - side) for at in middle]
    rows, columns = (slice(at, at + side) for at in first)
    return rows, columns
