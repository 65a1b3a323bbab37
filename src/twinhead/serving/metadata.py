"""What an answer needs beside the network: the categories' names, the threshold, the heat map."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from twinhead import files, params, paths
from twinhead.attribution.scale import full_colour
from twinhead.errors import InputError
from twinhead.export.decisions import Rules

FILE = "metadata.json"
"""What an MLflow model calls its copy."""


@dataclass(frozen=True)
class Metadata:
    categories: list[str]
    threshold: float | None
    """The defect probability that makes a product defective; None without that head."""
    head: str
    method: str
    """What the heat map explains, and how: `explain` in params.yaml."""
    scale: float | None
    """The heat at which the colours end; None where the heat maps haven't been made yet."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """Of categories that have one of their own."""
    review: dict | None = None
    """From which probability, `low`, to which, `high`, a person should look; and `by_category`."""

    def rules(self, unusual: float) -> Rules:
        """What makes decisions of the network's numbers; what is more unusual is unknown."""
        return Rules(self.threshold, self.thresholds, self.review, unusual)


def collect(root: Path = Path()) -> Metadata:
    """Gather the metadata from the files that the pipeline has left below `root`.

    Raises InputError naming a file that is missing.
    """
    settings = params.load(root / paths.PARAMS).explain
    explained = root / paths.EXPLANATIONS
    judged = files.read_json(root / paths.metrics("evaluate"))
    return Metadata(
        categories=files.read_json(root / paths.LABELS)["categories"],
        threshold=judged.get("threshold"),
        head=settings.head,
        method=settings.method,
        scale=full_colour(pd.read_csv(explained)) if explained.exists() else None,
        thresholds=judged.get("thresholds", {}),
        review=judged.get("review"),
    )


def write(metadata: Metadata, path: Path) -> None:
    path.write_text(json.dumps(asdict(metadata), indent=2, ensure_ascii=False), encoding="utf-8")


def read(path: Path) -> Metadata:
    """Raises InputError naming the file if it is missing or holds something else."""
    found = files.read_json(path)
    try:
        return Metadata(**found)
    except TypeError:
        raise InputError(f"{path}: not the metadata of a twinhead model") from None
