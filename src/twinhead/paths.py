"""Where each product of the pipeline lies, relative to the repository's root."""

from pathlib import Path

from twinhead import errors

PARAMS = Path("params.yaml")
COMPARISON = Path("docs/comparison.md")
ADDED_BY_LABELS = Path("docs/labels")
ANSWERS = Path("data/answers.csv")
ROUND = Path("data/round.csv")
REVIEWED = Path("data/reviewed")

SAMPLE = Path("data/raw/sample")
CATALOG = Path("data/catalog.csv")
PIXELS = Path("data/pixels")
MASKS = Path("data/masks")
DECODED = Path("data/decoded.csv")
REMARKS = Path("data/remarks.csv")
LABELS = Path("data/labels.json")
SPLITS = Path("data/splits.csv")
FEATURES = Path("data/features")
EXTRACTED = Path("data/extracted.csv")

MODEL = Path("models/model.keras")
CHECKPOINT = Path("models/best_defect_auroc.keras")
TRAINING_STATE = Path("models/.training")
EDGE = Path("models/edge")

METRICS = Path("metrics")
REPORTS = Path("reports")
CROSSFIT = REPORTS / "crossfit.csv"
HISTORY = REPORTS / "history.csv"
PREDICTIONS = REPORTS / "predictions.csv"
EMBEDDING = REPORTS / "embedding.csv"
EXPLANATIONS = REPORTS / "explanations.csv"
HEAT_MAPS = REPORTS / "heat_maps.npy"
OVERLAYS = REPORTS / "heatmaps"
PLOTS = REPORTS / "plots"
CHARTS = REPORTS / "charts"
REPORT = REPORTS / "index.html"


def metrics(stage: str) -> Path:
    """The metrics file of a stage."""
    return METRICS / f"{stage}.json"


def summary(stage: str) -> Path:
    """The few of its metrics that DVC's tables show."""
    return METRICS / "summary" / f"{stage}.json"


def require(*places: Path) -> None:
    """Raise InputError naming the first of these that the pipeline has yet to make."""
    for place in places:
        if not place.exists():
            raise errors.missing(place)
