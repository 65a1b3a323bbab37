"""Heat maps of the test images, scored against the masks, and the choice of those to draw."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import roc_auc_score

from twinhead.attribution.scale import full_colour

TOLERANCE = 15 / 224
"""How far beside the mask a peak may lie and still count, as a share of the image's side."""
BINS = 2**19
"""Heats are counted for the AUROC in so many bins: a thousand maps don't fit in memory."""


@dataclass(frozen=True)
class Scores:
    table: pd.DataFrame
    """One row per test image: path, outcome, peak, and for masked ones how map and mask agree."""
    metrics: dict
    scale: float
    """The heat at which the common colour scale ends."""


def with_outcomes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Add `outcome`: hit, miss, false_alarm or pass; without a defect head right or wrong."""
    if "defect_predicted" not in predictions:
        right = predictions["category"] == predictions["category_predicted"]
        return predictions.assign(outcome=right.map({True: "right", False: "wrong"}))
    names = {(1, 1): "hit", (1, 0): "miss", (0, 1): "false_alarm", (0, 0): "pass"}
    pairs = zip(predictions["defective"], predictions["defect_predicted"], strict=True)
    return predictions.assign(outcome=[names[pair] for pair in pairs])


def score(
    predictions: pd.DataFrame, heat: Iterable[np.ndarray], masks: Mapping[int, np.ndarray]
) -> Scores:
    """Compare heat maps with the masks of the defects.

    Args:
        predictions: the images to explain, as `with_outcomes` returns them; the index is the image.
        heat: their maps in that order, each (size, size), from 0 up.
        masks: by the image's number in the catalog, (size, size), bool.

    `pointing_hit`: share of masked defects whose peak lies in the mask or within 15 px of it at 224
    (Zhang et al. 2016, arXiv:1608.00507). `energy_in_mask`: share of the map's sum that lies in the
    mask; chance is `mask_area`, the mask's share of the image. `pixel_auroc`: over all pixels of
    those images together. `found` holds the same for the defects that the network found.
    `mean_activation` is over the good images, in units of the common colour scale.
    """
    rows, inside, outside = [], np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    for number, heat_map in zip(predictions.index, heat, strict=True):
        row = {"peak": float(heat_map.max()), "mean": float(heat_map.mean())}
        if (mask := masks.get(number)) is not None:
            at = np.unravel_index(heat_map.argmax(), heat_map.shape)
            total = heat_map.sum(dtype=np.float64)
            away = distance_transform_edt(~mask)[at]
            row |= {
                "pointing_hit": float(total > 0 and away <= TOLERANCE * len(mask)),
                "energy_in_mask": float(heat_map[mask].sum() / total) if total else 0.0,
                "mask_area": float(mask.mean()),
            }
            bins = _bins(heat_map)
            inside += np.bincount(bins[mask], minlength=len(inside))
            outside += np.bincount(bins[~mask], minlength=len(outside))
        rows.append(row)
    columns = ["peak", "mean", "pointing_hit", "energy_in_mask", "mask_area"]
    table = pd.DataFrame(rows, predictions.index, columns).astype(float)
    table = predictions[["path", "category", "defect_type", "defective", "outcome"]].join(table)
    scale = full_colour(table)
    good = table["mean"][table["defective"] == 0]
    masked = table.dropna(subset="pointing_hit")
    metrics = {
        **_means(masked),
        "pixel_auroc": _pixel_auroc(inside, outside),
        "found": _means(masked[masked["outcome"].isin(["hit", "right"])]),
        "mean_activation": float(good.mean() / scale) if len(good) else None,
    }
    return Scores(table, metrics, scale)


def mark(table: pd.DataFrame, drawn: list[int]) -> pd.DataFrame:
    """Add `drawn`: an image's place among those whose heat maps are kept to be drawn, or -1."""
    return table.assign(
        drawn=pd.Series(range(len(drawn)), drawn).reindex(table.index).fillna(-1).astype(int)
    )


def choose(table: pd.DataFrame, per_category: int, seed: int) -> list[int]:
    """Choose which images to draw: up to `per_category` of each, misses and false alarms included.

    Each category gives one image of each outcome in turn, drawn by seed, until it has enough.
    """
    rng = np.random.default_rng(seed)
    order = ["hit", "miss", "false_alarm", "pass", "wrong", "right"]
    chosen: list[int] = []
    for _, rows in table.groupby("category"):
        piles = [list(rng.permutation(rows.index[rows["outcome"] == name])) for name in order]
        turns = [pile[turn] for turn in range(per_category) for pile in piles if turn < len(pile)]
        chosen += turns[:per_category]
    return [int(number) for number in chosen]


def describe(row: pd.Series) -> tuple[str, str, str]:
    """Return an overlay's file name, its title and a line of what the network said."""
    names = {
        "hit": "defect found", "miss": "defect missed", "false_alarm": "false alarm",
        "pass": "rightly passed", "right": "category right", "wrong": "category wrong",
    }  # fmt: skip
    said = []
    if "category_predicted" in row:
        said.append(f"taken for {row['category_predicted']} ({row['category_probability']:.1%})")
    if "defect_probability" in row:
        said.append(f"defect probability {row['defect_probability']:.1%}")
    category = row["category"][:40]  # in UTF-8 up to 160 bytes; a file's name has 255 at most
    name = re.sub(r"[^\w-]+", "_", f"{category}_{row['outcome']}_{row.name:05d}")
    title = f"{row['category']}, {row['defect_type']}: {names[row['outcome']]}"
    return f"{name}.png", title, f"{'; '.join(said)}   ({row['path']})"


def _means(table: pd.DataFrame) -> dict:
    names = ("pointing_hit", "energy_in_mask", "mask_area")
    means = {name: float(table[name].mean()) if len(table) else None for name in names}
    return {"images": len(table)} | means


def _bins(heat: np.ndarray) -> np.ndarray:
    """Number heats from 0 up so that their order stays; those that differ by less than 1/2048 of
    their value may share a number.

    The bits of floats that aren't negative, read as integers, have the floats' order.
    """
    return np.ascontiguousarray(heat, np.float32).view(np.int32) >> 12


def _pixel_auroc(inside: np.ndarray, outside: np.ndarray) -> float | None:
    """Take the number of pixels in each bin, in the masks and outside of them."""
    if not inside.any() or not outside.any():
        return None
    bins = np.flatnonzero(inside + outside)
    truth = np.repeat([1, 0], len(bins))
    pixels = np.concatenate([inside[bins], outside[bins]])
    return float(roc_auc_score(truth, np.tile(bins, 2), sample_weight=pixels))
