"""The one colour scale of all heat maps."""

import pandas as pd

FULL_COLOUR = 0.5
"""The colour scale ends at this quantile of the defective images' peaks, for all images alike."""


def full_colour(table: pd.DataFrame) -> float:
    """The heat at which the colours end; table: `reports/explanations.csv`."""
    peaks = table["peak"][table["defective"] == 1]
    return float((peaks if len(peaks) else table["peak"]).quantile(FULL_COLOUR)) or 1.0
