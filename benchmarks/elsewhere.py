"""How far do results differ on another processor?

Runs features, train and evaluate again on the finished workspace's pixels and splits, as processors
without AVX-512 would (oneDNN told so) and without oneDNN's kernels at all, and compares with what
the workspace has: the test metrics, each image's defect probability, and the decisions.

    python benchmarks/elsewhere.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import workspaces

from twinhead import paths
from twinhead.dataset import splits, tables

PROCESSORS = {
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
}
STAGES = ("features", "train", "evaluate")
GIVEN = (
    *(paths.PARAMS, paths.CATALOG, paths.PIXELS, paths.MASKS, paths.LABELS, paths.SPLITS),
    *(paths.metrics("index"), paths.metrics("split")),
)
METRICS = ("auroc_category_mean", "auroc", "f1")


def main() -> None:
    here = tables.read(paths.PREDICTIONS)
    ours = json.loads(paths.metrics("evaluate").read_text(encoding="utf-8"))
    for name, variables in PROCESSORS.items():
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder), variables)
            there = tables.read(Path(folder) / paths.PREDICTIONS)
            file = Path(folder) / paths.metrics("evaluate")
            theirs = json.loads(file.read_text(encoding="utf-8"))
        apart = np.abs(here["defect_probability"] - there["defect_probability"])
        test = here["split"] == splits.TEST
        other = (here["defect_predicted"] != there["defect_predicted"])[test].sum()
        print(
            f"{name}: defect probabilities differ by {apart.max():.1e} at most, {apart.mean():.1e}"
        )
        print(f"  on average; {other} of {test.sum()} test images are decided differently")
        for metric in METRICS:
            values = [found["test"]["defect"][metric] for found in (ours, theirs)]
            print(f"  test {metric}: {values[0]:.4f} here, {values[1]:.4f} there")


def run(
    folder: Path,
    variables: dict[str, str],
    given: tuple[Path, ...] = GIVEN,
    stages: tuple[str, ...] = STAGES,
) -> None:
    """Run stages in an empty folder on files of the workspace."""
    workspaces.run(folder, stages, workspaces.link(folder, given) | variables)


if __name__ == "__main__":
    main()
