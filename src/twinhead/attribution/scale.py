"""The one colour scale of all heat maps."""

import pandas as pd

FULL_COLOUR = 0.25
"""The colour scale ends at this quantile of the defective images' peaks, for all images alike."""


def full_colour(table: pd.DataFrame) -> float:
    """The heat at which the colours end, above 0; table: `reports/explanations.csv`."""
    defective = table["peak"][table["defective"] == 1]
    heat = defective.quantile(FULL_COLOUR) if len(defective) else table["peak"].max()
    return float(heat) if heat > 0 else 1.0
