"""The order in which photographs are shown: those first whose answer would help most.

An answer helps where the network contradicts the label that a photograph has; one without a label
counts as good until someone says otherwise. And it helps where the network is in doubt. The two
take turns. `python benchmarks/review.py` compares this order with chance and with others.
"""

import numpy as np
import pandas as pd
from scipy.special import logit

CONTRADICTION = "answered in two ways"
UNKNOWN = "unlike all that was trained on"
MISTAKE = "contradicts its label"
SUSPICIOUS = "looks defective"
NEAR = "near the threshold"
DISAGREEMENT = "memory and learned patches disagree"
SURE = "looks as it should"
MARGIN = 1.0
"""In log-odds from the threshold: nearer is near."""
APART = 2.0
"""In spreads of good photographs: readings that differ by more disagree."""
LIMIT = 1e-7
"""Probabilities count as at least so far from 0 and 1."""


def order(table: pd.DataFrame, threshold: float | pd.Series) -> pd.DataFrame:
    """Sort photographs by how much an answer would help, and say why: adds `reason`.

    Args:
        table: `category`, and `defect_probability`, as held out; where there are such, `known`,
            0 or 1; `defective`, the label, 1, 0 or NaN for none; `disagreement`, in spreads of good
            photographs; `contradicted`, whether answers differ.
        threshold: the probability from which on a photograph is called defective.
    """
    found = margins(table, threshold)
    label = table.get("defective", pd.Series(np.nan, table.index)).astype(float)
    against = found.where(label != 1, -found)
    apart = table.get("disagreement", pd.Series(0.0, table.index)).abs()
    unknown = table.get("known", pd.Series(1, table.index)) == 0
    # Refused already: as suspicious as what is called defective.
    against = against.mask(unknown & (label != 1), against.clip(lower=MARGIN))
    contradicted = table.get("contradicted", pd.Series(False, table.index)).astype(bool)
    reason = pd.Series(SURE, table.index)
    reason[apart > APART] = DISAGREEMENT
    reason[found.abs() <= MARGIN] = NEAR
    reason[(against > MARGIN) & label.isna()] = SUSPICIOUS
    reason[(against > MARGIN) & label.notna()] = MISTAKE
    reason[unknown & (label != 1)] = UNKNOWN
    reason[contradicted] = CONTRADICTION
    rank = pd.DataFrame({
        "first": ~contradicted,
        "turn": _turns(against, found.abs() - apart.clip(upper=APART), table["category"]),
    })  # fmt: skip
    places = rank.sort_values(["first", "turn"], kind="stable").index
    return table.assign(reason=reason).loc[places]


def _turns(against: pd.Series, doubt: pd.Series, category: pd.Series) -> pd.Series:
    """Each photograph's place: by `against`, the highest first, and by `doubt`, in turn.

    Categories take turns, too, so that none waits for another's.
    """
    place = pd.Series(np.inf, against.index)
    for _, rows in against.groupby(category, sort=True):
        sure = rows.sort_values(ascending=False, kind="stable").index
        unsure = doubt[rows.index].sort_values(kind="stable").index
        sources, taken = (iter(sure), iter(unsure)), set()
        for number in range(len(rows)):
            chosen = next(row for row in sources[number % 2] if row not in taken)
            taken.add(chosen)
            place[chosen] = number
    return place


def margins(table: pd.DataFrame, threshold: float | pd.Series) -> pd.Series:
    """How far above the threshold each probability is, in log-odds."""
    values = table["defect_probability"].astype(float).clip(LIMIT, 1 - LIMIT)
    return pd.Series(logit(values), table.index) - logit(np.clip(threshold, LIMIT, 1 - LIMIT))
