"""Compare photographs with the training's good ones, category by category, measure by measure.

The reference is held out: the good training images as they were cross-fitted. What is called
defective counts on neither side, so that a day of many defects is no drift; what has drifted is
noticed below the threshold, too. Where too few are left below it, as when a lamp has failed or
another product comes, how all of them look is compared. Each measure gets a two-sample
Kolmogorov-Smirnov test, which asks the same as whether the scores' p-values by the reference are
uniform, and allows for the reference's own size. The share of unknown ones gets Fisher's exact
test. All p-values together are held to one false-alarm rate (Holm 1979,
www.jstor.org/stable/4615733).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact, ks_2samp

from twinhead.drift import FALSE_ALARMS
from twinhead.export.reference import LOOKS

LEAST = 8
"""Photographs of a category, at least; of fewer nothing is said."""
UNKNOWN = "share unknown"
MEASURES = {
    "score": "defect probability",
    "unusual": "features' distance",
    "brightness": "brightness",
    "sharpness": "sharpness",
}
"""Columns of the tables, and what they are called."""
TITLES = MEASURES | {UNKNOWN: UNKNOWN}
ODDER = ("score", "unusual")
"""Measures that drift upwards alone: photographs that are more usual than usual are no trouble."""
ADVICE = {
    "brightness": "check the lamps and the exposure",
    "sharpness": "check the focus and the lens",
    UNKNOWN: "check that the camera shows known products, and its white balance",
    "unusual": "check the camera's place and white balance, the background, and the lot",
    "score": "see whether the products have changed",
}
"""By measure, the most telling first."""
MOSTLY_UNKNOWN = 0.5
"""Above this share of unknown photographs the advice begins with what the camera shows."""


@dataclass(frozen=True)
class Drift:
    table: pd.DataFrame
    """A row for each category and measure: `category`, `measure`, `usual`, `now` (medians, or
    shares), `p`, `adjusted` for all tests together, and `drifted`."""
    few: dict[str, int]
    """Categories of which there are too few, here or in training, to say anything; those here."""
    alarms: float
    """The share of photographs that were called defective."""
    unknown: float
    """The share that looks like nothing that was trained on, whatever it was called."""
    photographs: int

    @property
    def drifted(self) -> bool:
        return bool(self.table["drifted"].any())


def compare(
    now: pd.DataFrame,
    reference: pd.DataFrame,
    threshold_of: Callable[[str], float],
    unusual: float,
    false_alarms: float = FALSE_ALARMS,
) -> Drift:
    """Test every measure of every category.

    Args:
        now, reference: `category` and the columns of MEASURES; `score` is the defect probability.
        threshold_of: by category, from which score on a photograph is called defective, and counts
            on neither side.
        unusual: above which a photograph is unknown.
    """
    rows, few = [], {}
    for category, own in now.groupby("category"):
        usual = reference[reference["category"] == category]
        limit = threshold_of(str(category))
        sides, whole = tested(own, usual, limit)
        if len(own) < LEAST or len(usual[usual["score"] < limit]) < LEAST:
            few[str(category)] = len(own)
            continue
        for name in MEASURES:
            if whole and name not in LOOKS:
                continue
            one, other = (side[name].to_numpy() for side in sides)
            rows.append((category, name, np.median(other), np.median(one), _test(one, other, name)))
        strange, before = (side["unusual"] > unusual for side in sides)
        table = [[strange.sum(), (~strange).sum()], [before.sum(), (~before).sum()]]
        p = float(fisher_exact(table, alternative="greater").pvalue)
        rows.append((category, UNKNOWN, before.mean(), strange.mean(), p))
    found = pd.DataFrame(rows, columns=["category", "measure", "usual", "now", "p"])
    found["adjusted"] = holm(found["p"].to_numpy(float))
    found["drifted"] = found["adjusted"] <= false_alarms
    alarms = now["score"] >= now["category"].map(threshold_of).astype(float)
    unknown = now["unusual"] > unusual
    return Drift(found, few, float(alarms.mean()), float(unknown.mean()), len(now))


def tested(
    own: pd.DataFrame, usual: pd.DataFrame, limit: float
) -> tuple[tuple[pd.DataFrame, pd.DataFrame], bool]:
    """What of a category is compared, now and usually; and whether that is all of it.

    What is called defective counts on neither side; unless nearly all is: how does all of it look?
    """
    passed = own[own["score"] < limit]
    if len(passed) < LEAST:
        return (own, usual), True
    return (passed, usual[usual["score"] < limit]), False


def holm(p: np.ndarray) -> np.ndarray:
    """P-values adjusted for there being so many, by Holm's step-down rule: (n,)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def advice(found: Drift, folder: str) -> str:
    """One line of what to do."""
    if not found.drifted:
        return "nothing to do"
    drifted = set(found.table["measure"][found.table["drifted"]])
    causes = [name for name in ADVICE if name in drifted]
    first = ADVICE[causes[0]]
    if UNKNOWN in causes[1:] and found.unknown > MOSTLY_UNKNOWN:
        first = f"{ADVICE[UNKNOWN]}; then {first}"
    return f"{first}; if it is meant to be so, `twinhead review {folder}` and `dvc repro`"


def shown(p: float) -> str:
    """A p-value to read: 0 would say more than a test can."""
    return f"{p:.2g}" if p >= 1e-16 else "<1e-16"


def nothing(found: Drift) -> str:
    """Why there is no test of any category."""
    few = max(found.few.values()) < LEAST
    of = "photographs of every category" if few else "good photographs of training to compare with"
    return f"too few {of} ({LEAST} needed)"


def lines(found: Drift) -> Iterator[str]:
    """The tests as a table to read: what has drifted first."""
    width = max([len("category"), *map(len, found.table["category"])])
    yield f"{'category':{width}}  {'measure':18}  {'usual':>8}  {'now':>8}  {'p':>8}"
    for row in found.table.sort_values("adjusted", kind="stable").itertuples():
        mark = "  DRIFT" if row.drifted else ""
        yield (
            f"{row.category:{width}}  {TITLES[row.measure]:18}  {row.usual:8.3g}  {row.now:8.3g}"
            f"  {shown(row.adjusted):>8}{mark}"
        )
    for name, count in found.few.items():
        yield f"{name:{width}}  too few photographs, here ({count}) or in training, to say anything"


def numbers(found: Drift) -> dict[str, float]:
    """What MLflow gets: the smallest adjusted p-value of each measure, and the shares."""
    lowest = found.table.groupby("measure")["adjusted"].min()
    return {
        "drifted": float(found.drifted),
        "photographs": float(found.photographs),
        "alarms": found.alarms,
        "unknown": found.unknown,
        **{f"p_{name.replace(' ', '_')}": float(p) for name, p in lowest.items()},
    }


def _test(one: np.ndarray, other: np.ndarray, name: str) -> float:
    if np.ptp(one) == np.ptp(other) == 0 and one[0] == other[0]:
        return 1.0
    side = "less" if name in ODDER else "two-sided"  # SciPy's word for: its function lies below
    # The exact distribution takes ten times as long; this one is on the safe side of it.
    return float(ks_2samp(one, other, alternative=side, method="asymp").pvalue)
