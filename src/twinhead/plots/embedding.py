"""The t-SNE map, by category and by defect."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinhead.dataset import splits
from twinhead.plots import style


def draw(embedding: pd.DataFrame, folder: Path) -> None:
    """The t-SNE map twice: coloured by category, and good beside defective."""
    map_by_category(embedding, folder / "map_by_category.png")
    map_by_defect(embedding, folder / "map_by_defect.png")


def map_by_category(embedding: pd.DataFrame, path: Path) -> None:
    """The t-SNE map, coloured by category, test images ringed."""
    figure, axes = _map(embedding)
    names = sorted(embedding["category"].unique())
    colours = matplotlib.colormaps["tab20"](np.arange(len(names)) % 20)
    for name, colour in zip(names, colours, strict=True):
        for rows, ring in _seen_and_held_out(embedding[embedding["category"] == name]):
            axes.scatter(rows["x"], rows["y"], 16, [colour], edgecolors=ring, linewidths=0.7)
        axes.scatter([], [], 30, [colour], label=name)
    axes.set_title("The network's features, by category")
    # Two hundred categories have no room in a legend; those names stand on the map instead.
    if len(names) <= 40:
        figure.legend(loc="outside right upper", ncols=1 + len(names) // 21, handletextpad=0.2)
    else:
        for name, rows in embedding.groupby("category"):
            axes.text(rows["x"].median(), rows["y"].median(), name, size=5, ha="center")
    style.save(figure, path)


def map_by_defect(embedding: pd.DataFrame, path: Path) -> None:
    """The t-SNE map, good beside defective, test images ringed."""
    figure, axes = _map(embedding)
    for value, name, colour in ((0, "good", style.GOOD), (1, "defective", style.DEFECTIVE)):
        for rows, ring in _seen_and_held_out(embedding[embedding["defective"] == value]):
            axes.scatter(
                rows["x"], rows["y"], 16, colour, alpha=0.75, edgecolors=ring, linewidths=0.7
            )
        axes.scatter([], [], 30, colour, label=name)
    axes.set_title("The network's features, by defect")
    figure.legend(loc="outside right upper", handletextpad=0.2)
    style.save(figure, path)


def _map(embedding: pd.DataFrame) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.6, 6.4), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    tests = int((embedding["split"] == splits.TEST).sum())
    note = f"t-SNE of {len(embedding)} images; the {tests} ringed ones are test images"
    figure.supxlabel(note, x=0.01, ha="left", size=9)
    return figure, axes


def _seen_and_held_out(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, str]]:
    held_out = rows["split"] == splits.TEST
    return [(rows[~held_out], "none"), (rows[held_out], "black")]
