"""How the training went."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from twinhead.dataset import splits
from twinhead.plots import style


def learning_curves(history: pd.DataFrame, best_epoch: int, path: Path) -> None:
    """Losses, accuracies and AUROC over the epochs, train beside val, the chosen epoch marked."""
    panels = {
        "loss": "Loss",
        "category_accuracy": "Category accuracy",
        "defect_accuracy": "Defect accuracy",
        "defect_auroc": "Defect AUROC",
    }
    shown = [name for name in panels if f"val_{name}" in history]
    figure = Figure(figsize=(3.6 * len(shown), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for split in (splits.TRAIN, splits.VAL):
            if f"{split}_{name}" in history:
                values = history[f"{split}_{name}"]
                axes.plot(
                    history["epoch"], values, "o-", ms=3, color=style.COLOURS[split], label=split
                )
        axes.axvline(best_epoch, color="black", lw=0.8, ls=":", label=f"chosen: epoch {best_epoch}")
        axes.set(title=panels[name], xlabel="epoch")
        if name != "loss":
            axes.set_ylim(min(0.45, axes.get_ylim()[0]), 1.02)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.axes[0].legend()
    style.save(figure, path)
