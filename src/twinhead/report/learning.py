"""How the training went."""

from twinhead import paths
from twinhead.report import thumbnails
from twinhead.report.results import Results


def section(results: Results) -> dict | None:
    files = sorted((paths.PLOTS / "train").glob("*.png"))
    if not files:
        return None
    charts = [(thumbnails.chart(file), file.stem.replace("_", " ")) for file in files]
    detects = "known" in results.predictions
    return {"train": results.metrics["train"], "charts": charts, "detects": detects}
