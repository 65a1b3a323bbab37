"""Figures: each is drawn for any data set, and the same data gives the same bytes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import judge
from PIL import Image

from twinhead import evaluation
from twinhead.evaluation import metrics
from twinhead.plots import embedding as embedding_plots
from twinhead.plots import evaluation as evaluation_plots
from twinhead.plots import overlays
from twinhead.plots import training as training_plots

pytestmark = pytest.mark.filterwarnings("error")
NAMES = ["$5", "größe 2", "a_b^c", "<b>", "%d {x} \\alpha"]


def answers(categories: list[str], images: int = 12) -> pd.DataFrame:
    """Made-up predictions and map for that many images of each category."""
    rng, rows = np.random.default_rng(0), len(categories) * images
    named = np.repeat(categories, images)
    return pd.DataFrame({
        "category": named, "category_predicted": np.where(rng.random(rows) < 0.1, named[0], named),
        "defective": np.arange(rows) % 2, "defect_type": "any",
        "defect_probability": rng.random(rows),
        "split": np.tile(["train", "train", "val", "val", "test", "test"], rows // 6),
        "x": rng.normal(size=rows), "y": rng.normal(size=rows),
    })  # fmt: skip


def draw_all(predictions: pd.DataFrame, folder: Path) -> dict[str, bytes]:
    """Draw every figure of the pipeline; return the files by name."""
    metrics = judge(predictions)
    decided = evaluation.decide(predictions, metrics)
    categories = sorted(set(predictions["category"]))
    evaluation_plots.draw(decided, metrics, categories, folder)
    embedding_plots.draw(predictions, folder)
    training_plots.learning_curves(history(), 2, folder / "learning_curves.png")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 24, 3), np.uint8)
    for name, mask in (("masked", np.eye(24, dtype=bool)), ("unmasked", None)):
        texts = categories[0], categories[-1], folder / f"{name}.png"
        overlays.overlay(image, mask, rng.random((24, 24), np.float32), 0.8, *texts)
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def history() -> pd.DataFrame:
    columns = ["train_loss", "val_loss", "train_defect_accuracy", "val_defect_accuracy"]
    return pd.DataFrame({"epoch": [1, 2, 3]} | {name: [0.9, 0.7, 0.8] for name in columns})


FIGURES = [
    "confusion_category.png", "confusion_defect.png", "learning_curves.png", "map_by_category.png",
    "map_by_defect.png", "masked.png", "precision_recall.png", "reliability.png", "roc.png",
    "unmasked.png",
]  # fmt: skip


def test_the_same_data_gives_the_same_bytes(tmp_path):
    first, second = (draw_all(answers(NAMES), tmp_path / name) for name in ("first", "second"))
    assert list(first) == FIGURES and first == second


@pytest.mark.parametrize(
    "categories",
    [
        ["only"],
        pytest.param([f"category {i:02}" for i in range(60)], marks=pytest.mark.long),
        ["a" * 60, "b"],
    ],
    ids=["one category", "60 categories", "a long name"],
)
def test_every_figure_is_a_readable_png_for(categories, tmp_path):
    drawn = draw_all(answers(categories), tmp_path)
    assert list(drawn) == FIGURES
    for name in drawn:
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG" and min(picture.size) > 200
            assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 9  # not blank


def test_a_split_with_one_kind_of_image_has_no_curves_and_stops_no_figure(tmp_path):
    rows = answers(["a", "b"]).assign(defective=0)
    assert list(draw_all(rows, tmp_path)) == FIGURES


def test_without_defect_head_there_are_no_defect_figures(tmp_path):
    drawn = draw_all(answers(["a", "b"]).drop(columns="defect_probability"), tmp_path)
    gone = {"confusion_defect.png", "roc.png", "precision_recall.png", "reliability.png"}
    assert set(drawn) == set(FIGURES) - gone


def test_the_title_says_where_the_thresholds_come_from():
    found = {"threshold": 0.749, "threshold_chosen_on": "val", "thresholds": {"a": 0.5}}
    said = "Defect decision at threshold 0.749"
    assert evaluation_plots.decision(found) == f"{said} and by category (chosen on val)"
    given = found | {"threshold_chosen_on": metrics.GIVEN, "thresholds": {}}
    assert evaluation_plots.decision(given) == f"{said} (set in params.yaml)"
    nowhere = found | {"threshold_chosen_on": None, "thresholds": {}}
    assert evaluation_plots.decision(nowhere) == f"{said} (no image could choose one)"


def test_without_category_head_there_is_no_category_figure(tmp_path):
    drawn = draw_all(answers(["a", "b"]).drop(columns="category_predicted"), tmp_path)
    assert set(drawn) == set(FIGURES) - {"confusion_category.png"}


@pytest.mark.parametrize("name", ["loss", "category_accuracy", "defect_auroc"])
def test_learning_curves_show_what_the_history_has(name, tmp_path):
    rows = {"epoch": [1], "train_loss": [1.0], "val_loss": [1.0], f"val_{name}": [0.5]}
    training_plots.learning_curves(pd.DataFrame(rows), 1, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width == pytest.approx(396 * (1 if name == "loss" else 2), abs=2)


def test_a_brighter_map_is_drawn_brighter(tmp_path):
    image, sums = np.full((24, 24, 3), 90, np.uint8), []
    for heat in (0, 0.5, 1):
        path = tmp_path / "overlay.png"
        overlays.overlay(image, None, np.full((24, 24), heat, np.float32), 1, "", "", path)
        with Image.open(path) as picture:
            sums.append(np.asarray(picture.convert("L"), int).sum())
    assert sums[0] < sums[1] < sums[2]


@pytest.mark.parametrize(
    ("peak", "rows", "columns"),
    [((0, 0), (0, 20), (0, 20)), ((5, 2), (34, 54), (10, 30)), ((9, 9), (60, 80), (60, 80))],
)
def test_the_place_of_the_peak_is_enlarged_whole(peak, rows, columns):
    heat = np.zeros((10, 10), np.float32)
    heat[peak] = 1
    found = overlays.around_peak(heat, 80)
    assert [(place.start, place.stop) for place in found] == [rows, columns]


def test_a_map_without_a_peak_enlarges_nothing(tmp_path):
    image, seen = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8), []
    for place in ((3, 3), None):
        heat = np.zeros((12, 12), np.float32)
        if place:
            heat[place] = 1
        overlays.overlay(image, None, heat, 1, "", "", tmp_path / "overlay.png")
        with Image.open(tmp_path / "overlay.png") as picture:
            pixels = np.asarray(picture.convert("RGB"), int)
        middle = pixels[100:300, int(0.4 * pixels.shape[1]) : int(0.55 * pixels.shape[1])]
        seen.append(middle.std())
    assert seen[0] > 10 and seen[1] == 0
