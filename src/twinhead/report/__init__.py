"""One page, without outside resources, for a person who will never open MLflow."""

from importlib.resources import files

from twinhead.ingest import decoding, quality
from twinhead.report import (
    comparison,
    heat,
    judgement,
    learning,
    mistakes,
    origin,
    points,
    threshold,
)  # fmt: skip
from twinhead.report.markup import Html, code, count
from twinhead.report.results import Results, read

__all__ = ["Results", "page", "read"]

SECTIONS = {
    "good": ("How good it is", judgement.headline),
    "threshold": ("What the threshold costs", threshold.section),
    "mistakes": ("Every mistake", mistakes.section),
    "categories": ("Per category", judgement.by_category),
    "defects": ("Per kind of defect", judgement.by_defect_type),
    "confusion": ("What was taken for what", judgement.confusion),
    "curves": ("At every threshold", judgement.curves),
    "heat": ("Where it looks", heat.section),
    "map": ("What its features tell apart", points.section),
    "learning": ("How it learned", learning.section),
    "comparison": ("One network or two", comparison.section),
    "origin": ("What it was made from", origin.section),
}
"""By anchor: the title, and the function that gives the section, or nothing if it doesn't apply."""


def page(results: Results) -> str:
    """Return the report as HTML: the same bytes for the same results.

    All text that comes from the data is escaped. Pictures are embedded, small: some 12 MB at most.
    """
    found = {anchor: (title, show(results)) for anchor, (title, show) in SECTIONS.items()}
    kept = {anchor: part for anchor, part in found.items() if part[1]}
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, (title, _) in kept.items())
    sections = "\n".join(
        f'<section id="{anchor}"><h2>{title}</h2>\n{body}</section>'
        for anchor, (title, body) in kept.items()
    )
    own = files(__name__)
    style, script = (own.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Twinhead report</title>\n<style>\n{style}</style></head><body>\n"
        f"<header>{_opening(results)}<nav>{links}</nav></header>\n<main>\n{sections}\n</main>\n"
        f"<script>\n{script}</script>\n</body></html>\n"
    )


def _opening(results: Results) -> Html:
    index, train = results.metrics["index"], results.metrics["train"]
    skipped = int((results.remarks["kind"] == quality.SKIPPED[decoding.IMAGE]).sum())
    left_out = f" {count(skipped, 'image')} could not be read." if skipped else ""
    root = results.settings.data.root
    name = root.rstrip("/").rpartition("/")[2] or root
    return Html(
        f"<h1>Inspection of {code(name, tag='span')}</h1>"
        f"<p>{index['images']:,} images of {len(index['by_category'])} categories,"
        f" {index['defective']:,} of them defective, from {code(root)}.{left_out}"
        f" The network has {train['parameters']:,} parameters and was trained for {train['epochs']}"
        f" epochs; epoch {train['best_epoch']} is kept.</p>{judgement.cards(results)}"
    )
