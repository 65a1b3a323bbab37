"""One page, without outside resources, for a person who will never open MLflow."""

from twinhead.report import (
    comparison,
    embedding_map,
    heatmaps,
    learning,
    loop,
    metrics,
    mistakes,
    provenance,
    rendering,
    threshold,
)
from twinhead.report.metrics import summary
from twinhead.report.results import Results, read

__all__ = ["Results", "page", "read", "summary"]

SECTIONS = {
    "good": ("How good it is", metrics.headline),
    "threshold": ("What the threshold costs", threshold.section),
    "mistakes": ("Every mistake", mistakes.section),
    "categories": ("Per category", metrics.by_category),
    "defects": ("Per kind of defect", metrics.by_defect_type),
    "confusion": ("What was taken for what", metrics.confusion),
    "curves": ("At every threshold", metrics.curves),
    "heat": ("Where it looks", heatmaps.section),
    "map": ("What its features tell apart", embedding_map.section),
    "loop": ("What people answered", loop.section),
    "learning": ("How it learned", learning.section),
    "labels": ("What labelled defects add", comparison.labels),
    "comparison": ("One network or two", comparison.section),
    "origin": ("What it was made from", provenance.section),
}
"""By anchor: the title, and the function that gives the data for templates/sections/<anchor>.html,
or nothing if the section doesn't apply."""


def page(results: Results) -> str:
    """Return the report as HTML: the same bytes for the same results.

    All text that comes from the data is escaped. Pictures are embedded, small: some 12 MB at most.
    """
    sections = [
        {"anchor": anchor, "title": title, "body": rendering.html(f"sections/{anchor}", data)}
        for anchor, (title, section) in SECTIONS.items()
        if (data := section(results)) is not None
    ]
    opening = rendering.html("opening", metrics.opening(results))
    return rendering.page("Twinhead report", opening, sections)
