"""The plot of a comparison: each measure now, beside what is usual."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from twinhead.drift.comparison import MEASURES, Drift, shown, tested
from twinhead.plots import style

MOST = 12
"""Categories; the most drifted ones are drawn."""


def draw(
    found: Drift,
    now: pd.DataFrame,
    reference: pd.DataFrame,
    threshold_of: Callable[[str], float],
    path: Path,
) -> None:
    """Draw the cumulated share of photographs over each measure, a row for each category.

    now, reference, threshold_of: as `comparison.compare` takes them; what it tests is drawn.
    """
    lowest = found.table.groupby("category")["adjusted"].min().sort_values(kind="stable")
    names = list(lowest.index[:MOST])
    figure = Figure(figsize=(11, 1.2 + 2.1 * max(len(names), 1)), layout="constrained")
    if not names:
        figure.text(0.5, 0.5, "too few photographs", ha="center")
    grid = figure.subplots(max(len(names), 1), len(MEASURES), squeeze=False)
    by_test = found.table.set_index(["category", "measure"])
    for axes_row, name in zip(grid, names, strict=False):
        own, usual = (table[table["category"] == name] for table in (now, reference))
        (own, usual), _ = tested(own, usual, threshold_of(name))
        for axes, (measure, title) in zip(axes_row, MEASURES.items(), strict=True):
            for table, colour, label in ((usual, style.COLOURS["train"], "usual"),
                                         (own, style.COLOURS["test"], "now")):  # fmt: skip
                axes.ecdf(table[measure], color=colour, label=label)
            known = (name, measure) in by_test.index
            test = by_test.loc[(name, measure)] if known else None
            mark = "" if test is None else f", p {shown(test['adjusted'])}"
            colour = style.DEFECTIVE if test is not None and test["drifted"] else "black"
            axes.set_title(f"{title}{mark}", size=9, color=colour)
            axes.tick_params(labelsize=8)
        axes_row[0].set_ylabel(name, size=9)
    if names:
        grid[0][0].legend(fontsize=8)
    style.save(figure, path)
