"""How good the predictions are: confusion matrices, ROC and precision-recall curves."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinhead.dataset import splits
from twinhead.evaluation import curves
from twinhead.evaluation.metrics import GIVEN
from twinhead.plots import style

WIDEST = 26
"""Inches that the cells of a confusion matrix take at most, however many categories there are."""


def draw(predictions: pd.DataFrame, metrics: dict, categories: list[str], folder: Path) -> None:
    """The confusion matrices and curves of the heads that there are."""
    if "category_predicted" in predictions:
        category_confusion(predictions, categories, folder / "confusion_category.png")
    if "defect_predicted" in predictions:
        defect_confusion(predictions, metrics, folder / "confusion_defect.png")
        roc(predictions, metrics, folder / "roc.png")
        precision_recall(predictions, metrics, folder / "precision_recall.png")
        reliability(predictions, metrics, folder / "reliability.png")


def category_confusion(predictions: pd.DataFrame, categories: list[str], path: Path) -> None:
    """Which category the test images were taken for."""
    rows = predictions[predictions["split"] == splits.TEST]
    cell = min(0.42, WIDEST / len(categories))
    side = 1.8 + cell * len(categories) + 0.08 * max(map(len, categories))
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    _matrix(axes, rows["category"], rows["category_predicted"], categories)
    right = (rows["category"] == rows["category_predicted"]).mean()
    axes.set(xlabel="predicted category", ylabel="true category")
    figure.suptitle(f"Category of {len(rows)} test images\n({right:.1%} right)", x=0.01, ha="left")
    axes.tick_params("x", rotation=90)
    style.save(figure, path)


def defect_confusion(predictions: pd.DataFrame, metrics: dict, path: Path) -> None:
    """Good and defective against the decision, train, val and test side by side."""
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    names = np.array(["good", "defective"])
    for axes, split in zip(figure.subplots(1, 3), splits.SPLITS, strict=True):
        rows = predictions[predictions["split"] == split]
        truth, decided = names[rows["defective"]], names[rows["defect_predicted"]]
        _matrix(axes, truth, decided, list(names))
        axes.set(title=f"{split}: {len(rows)} images", xlabel="predicted", ylabel="true")
    figure.suptitle(decision(metrics), x=0.01, ha="left")
    style.save(figure, path)


def decision(metrics: dict) -> str:
    """By which threshold, and where it comes from."""
    on = metrics["threshold_chosen_on"]
    origin = f"chosen on {on}" if on else "no image could choose one"
    if on == GIVEN:
        origin = f"set in {GIVEN}"
    own = " and by category" if metrics.get("thresholds") else ""
    return f"Defect decision at threshold {metrics['threshold']:.3f}{own} ({origin})"


def roc(predictions: pd.DataFrame, metrics: dict, path: Path) -> None:
    """ROC curves of all splits, with the area and its interval."""
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#cccccc", lw=1, label="chance: 0.500")
    for split, rows in _judged(predictions):
        area = metrics[split]["defect"]
        text = f"{split}: {area['auroc']:.3f} ({area['auroc_low']:.3f}–{area['auroc_high']:.3f})"
        curve = curves.roc(rows["defective"], rows["defect_probability"])
        axes.plot(
            curve["false_alarm_rate"], curve["recall"], color=style.COLOURS[split], label=text
        )
    axes.set(title="Defects: ROC", xlabel="false alarm rate", ylabel="defects found (recall)")
    axes.legend(loc="lower right", title="AUROC, pooled (95%)")
    style.save(figure, path)


def precision_recall(predictions: pd.DataFrame, metrics: dict, path: Path) -> None:
    """Precision-recall curves of all splits, with the average precision."""
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axes = figure.subplots()
    for split, rows in _judged(predictions):
        text = f"{split}: {metrics[split]['defect']['average_precision']:.3f}"
        curve = curves.precision_recall(rows["defective"], rows["defect_probability"])
        axes.plot(curve["recall"], curve["precision"], color=style.COLOURS[split], label=text)
    share = metrics[splits.TEST]["defect"]["prevalence"]
    axes.axhline(share, color="#cccccc", lw=1, label=f"chance (test): {share:.3f}")
    axes.set(title="Defects: precision and recall", xlabel="defects found (recall)", ylim=(0, 1.03))
    axes.set_ylabel("alarms that are right (precision)")
    axes.legend(loc="lower left", title="average precision")
    style.save(figure, path)


def reliability(predictions: pd.DataFrame, metrics: dict, path: Path) -> None:
    """How often images of a probability are defective, on val and test, and how many there are."""
    figure = Figure(figsize=(5.2, 5.4), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color="#cccccc", lw=1, label="calibrated")
    width = 0.4 / curves.BINS
    for split, side in ((splits.VAL, -1), (splits.TEST, 1)):
        rows = predictions[predictions["split"] == split]
        table = curves.reliability(rows["defective"], rows["defect_probability"])
        if table.empty:
            continue
        found = metrics[split]["defect"]
        axes.errorbar(
            table["probability"], table["defective"],
            yerr=[table["defective"] - table["low"], table["high"] - table["defective"]],
            fmt="o", ms=4, elinewidth=0.7, color=style.COLOURS[split],
            label=f"{split}: ECE {found['ece']:.3f}, Brier {found['brier']:.3f}",
        )  # fmt: skip
        middle = np.minimum(table["probability"] * curves.BINS // 1, curves.BINS - 1) + 0.5
        counts.bar(middle / curves.BINS + side * width / 2, table["images"], width,
                   color=style.COLOURS[split])  # fmt: skip
    axes.set(title="Defects: reliability", ylabel="share that is defective", ylim=(-0.03, 1.03))
    figure.legend(loc="outside lower center")
    counts.set(xlabel="defect probability", ylabel="images", yscale="log")
    counts.yaxis.set_major_formatter("{x:.0f}")
    style.save(figure, path)


def _judged(predictions: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The splits that have both good and defective images: only those have curves."""
    rows = [(split, predictions[predictions["split"] == split]) for split in splits.SPLITS]
    return [(split, part) for split, part in rows if part["defective"].nunique() == 2]


def _matrix(axes: Axes, truth: pd.Series, predicted: pd.Series, names: list[str]) -> None:
    pairs = pd.crosstab(np.asarray(truth), np.asarray(predicted))
    counts = pairs.reindex(index=names, columns=names, fill_value=0).to_numpy(int)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = 9 if len(names) < 25 else 5
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", color=colour, size=size)
    axes.set_xticks(range(len(names)), names, size=size)
    axes.set_yticks(range(len(names)), names, size=size)
    axes.spines[:].set_visible(False)
