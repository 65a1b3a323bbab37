"""What the report is made of: the stages' metrics, tables and images."""

from dataclasses import dataclass

import pandas as pd

from twinhead import files, params, paths
from twinhead.dataset import catalog, pixels, splits, tables
from twinhead.dataset.store import Store
from twinhead.ingest import quality
from twinhead.review import held_out, improvement

LABELS_TABLE, LABELS_CURVE = paths.ADDED_BY_LABELS / "table.md", paths.ADDED_BY_LABELS / "curve.png"
"""What `benchmarks/detector.py few --into docs/labels` writes."""
STAGES = ("index", "split", "train", "evaluate", "embed", "explain")


@dataclass(frozen=True)
class Results:
    settings: params.Params
    metrics: dict[str, dict]
    """By stage, as its metrics file has it."""
    predictions: pd.DataFrame
    """As `reports/predictions.csv`: every image; its index is the image's number."""
    embedding: pd.DataFrame
    """As `reports/embedding.csv`, by the image's number too; a large data set's is a sample."""
    explanations: pd.DataFrame
    pixels: Store
    """(images, size, size, 3), uint8."""
    remarks: pd.DataFrame
    """As `data/remarks.csv`."""
    comparison: str = ""
    """docs/comparison.md, where `make comparison` writes, of whichever images."""
    said: pd.DataFrame | None = None
    """What was said of every image as held out, with `reviewed` of the catalog; None without a
    defect head."""
    round: improvement.Improvement | None = None
    """What the last round of answers changed; None before there was one."""
    labels: str = ""
    """The table in docs/labels, where `benchmarks/detector.py few` writes, of whichever images."""

    @property
    def test(self) -> pd.DataFrame:
        return self.predictions[self.predictions["split"] == splits.TEST]

    @property
    def judged(self) -> dict:
        return self.metrics["evaluate"]


def read(settings: params.Params) -> Results:
    """Read what the stages have left in the current directory."""
    metrics = {name: files.read_json(paths.metrics(name)) for name in STAGES}
    predictions, embedding, explanations = map(
        tables.read, (paths.PREDICTIONS, paths.EMBEDDING, paths.EXPLANATIONS)
    )
    numbers = pd.Series(predictions.index, predictions["path"])
    embedding.index = numbers[embedding["path"]].to_numpy()
    compared, labels = (
        path.read_text(encoding="utf-8") if path.exists() else ""
        for path in (paths.COMPARISON, LABELS_TABLE)
    )
    stored, odd = pixels.load(paths.PIXELS), quality.read(paths.REMARKS)
    said = None
    if "defect_probability" in predictions:
        said = held_out.said(predictions, tables.read(paths.CROSSFIT))
        said["reviewed"] = catalog.read(paths.CATALOG)["reviewed"]
    return Results(
        settings,
        metrics,
        predictions,
        embedding,
        explanations,
        stored,
        odd,
        compared,
        said,
        improvement.last(),
        labels,
    )
