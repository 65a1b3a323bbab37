"""Heat maps of the test images, scored against the masks, and the choice of those to draw."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt, label

from twinhead.attribution.resize import enlarged
from twinhead.attribution.scale import full_colour

TOLERANCE = 15 / 224
"""How far beside the mask a peak may lie and still count, as a share of the image's side."""
BINS = 2**19
"""Of heats: all floats, by their sign, exponent and ten bits."""
FALSE_POSITIVES = 0.3
"""As far as AUPRO is integrated."""


@dataclass(frozen=True)
class Scores:
    table: pd.DataFrame
    """One row per test image: path, outcome, peak, and for masked ones how map and mask agree."""
    metrics: dict
    scale: float
    """The heat at which the common colour scale ends."""
    kept: np.ndarray
    """The maps that were to be kept, in their order: (kept, height, width), float32."""


def with_outcomes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Add `outcome`: hit, miss, false_alarm or pass; without a defect head right or wrong."""
    if "defect_predicted" not in predictions:
        right = predictions["category"] == predictions["category_predicted"]
        return predictions.assign(outcome=right.map({True: "right", False: "wrong"}))
    names = {(1, 1): "hit", (1, 0): "miss", (0, 1): "false_alarm", (0, 0): "pass"}
    pairs = zip(predictions["defective"], predictions["defect_predicted"], strict=True)
    return predictions.assign(outcome=[names[pair] for pair in pairs])


def score(
    predictions: pd.DataFrame,
    heat: Iterable[np.ndarray],
    masks: Mapping[int, np.ndarray],
    size: int,
    keep: Sequence[int] = (),
) -> Scores:
    """Compare heat maps with the masks of the defects.

    Args:
        predictions: the images to explain, as `with_outcomes` returns them; the index is the image.
        heat: their maps in that order, each (height, width), the higher the odder.
        masks: by the image's number in the catalog, (size, size), bool.
        size: pixels a side; the maps are judged so large, enlarged bilinearly.
        keep: the images whose maps are kept, as they are given.

    `pixel_auroc`: over all pixels of the good images and of the defective ones that have a mask;
    `aupro`: over the same, the mean share of each connected defect that is found, integrated over
    the false-positive rate up to 0.3 and divided by it (Bergmann et al. 2021,
    doi:10.1007/s11263-020-01400-4). `pointing_hit`: share of masked defects whose peak lies in the
    mask or within 15 px of it at 224 (Zhang et al. 2016, arXiv:1608.00507). `energy_in_mask`: share
    of the map's sum, of what is above 0, that lies in the mask; chance is `mask_area`, the mask's
    share of the image. `found` holds the last three for the defects that the network found.
    `mean_activation`: over the good images, in units of the common colour scale.
    """
    rows, counts = [], _Counts()
    wanted: dict[int, np.ndarray | None] = dict.fromkeys(keep)
    for number, small in zip(predictions.index, heat, strict=True):
        if number in wanted:
            wanted[number] = np.array(small, np.float32)  # a view would hold its whole batch
        heat_map = enlarged(small, size)
        lit = np.maximum(heat_map, 0)
        row = {"peak": float(heat_map.max()), "mean": float(lit.mean())}
        if number in masks:
            mask = masks[number]
            at = np.unravel_index(heat_map.argmax(), heat_map.shape)
            total = lit.sum(dtype=np.float64)
            away = distance_transform_edt(~mask)[at]
            row |= {
                "pointing_hit": float(heat_map.max() > heat_map.min() and away <= TOLERANCE * size),
                "energy_in_mask": float(lit[mask].sum() / total) if total else 0.0,
                "mask_area": float(mask.mean()),
            }
            counts.add(heat_map, mask)
        elif not predictions.at[number, "defective"]:
            counts.add(heat_map, np.zeros_like(heat_map, bool))
        rows.append(row)
    columns = ["peak", "mean", "pointing_hit", "energy_in_mask", "mask_area"]
    table = pd.DataFrame(rows, predictions.index, columns).astype(float)
    table = predictions[["path", "category", "defect_type", "defective", "outcome"]].join(table)
    scale = full_colour(table)
    good = table["mean"][table["defective"] == 0]
    masked = table.dropna(subset="pointing_hit")
    metrics = {
        **_means(masked),
        **counts.areas(),
        "found": _means(masked[masked["outcome"].isin(["hit", "right"])]),
        "mean_activation": float(good.mean() / scale) if len(good) else None,
    }
    kept = np.array([wanted[number] for number in keep], np.float32)
    return Scores(table, metrics, scale, kept)


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
    """Return an overlay's file name, its title and a line with the network's answers."""
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


class _Counts:
    """How many pixels have which heat, so that a thousand maps need not be held.

    Heats that differ by less than 1/1024 of their value may share a bin.
    """

    def __init__(self) -> None:
        self.inside, self.outside, self.regions = np.zeros((3, BINS))
        """Pixels in masks; other pixels; and those in masks, each region's adding up to 1."""
        self.number = 0

    def add(self, heat: np.ndarray, mask: np.ndarray) -> None:
        bins = _bins(heat)
        self.outside += np.bincount(bins[~mask], minlength=BINS)
        if not mask.any():
            return
        region, number = label(mask, np.ones((3, 3)))
        sizes = np.bincount(region.ravel(), minlength=number + 1)
        own = region[mask]
        self.inside += np.bincount(bins[mask], minlength=BINS)
        self.regions += np.bincount(bins[mask], weights=1 / sizes[own], minlength=BINS)
        self.number += number

    def areas(self) -> dict[str, float | None]:
        """`pixel_auroc` and `aupro`; None without masks or without other pixels."""
        if not self.number or not self.outside.any():
            return {"pixel_auroc": None, "aupro": None}
        used = np.flatnonzero(self.inside + self.outside)[::-1]  # the hottest first
        false, true, overlap = (
            np.concatenate([[0], np.cumsum(counts[used]) / total])
            for counts, total in (
                (self.outside, self.outside.sum()),
                (self.inside, self.inside.sum()),
                (self.regions, self.number),
            )
        )
        kept = false <= FALSE_POSITIVES
        at_limit = np.interp(FALSE_POSITIVES, false, overlap)
        false_kept = np.append(false[kept], FALSE_POSITIVES)
        overlap_kept = np.append(overlap[kept], at_limit)
        return {
            "pixel_auroc": float(np.trapezoid(true, false)),
            "aupro": float(np.trapezoid(overlap_kept, false_kept) / FALSE_POSITIVES),
        }


def _bins(heat: np.ndarray) -> np.ndarray:
    """Number heats so that their order stays: the bits of floats, read as integers, have it.

    Those of negative ones have it backwards.
    """
    # Plus 0: else -0.0 would lie below 0.0.
    bits = (np.ascontiguousarray(heat, np.float32) + np.float32(0)).view(np.int32)
    ordered = np.where(bits < 0, np.int32(-(2**31)) - bits - 1, bits)
    return (ordered >> 13) + BINS // 2
