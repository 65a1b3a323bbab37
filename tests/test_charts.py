"""The tables behind DVC's charts: of test images alone, and as many as the heads allow."""

import pandas as pd
import pytest
from sklearn.metrics import auc

from twinhead import evaluation
from twinhead.evaluation import curves


@pytest.fixture(scope="module")
def decided(predictions, metrics) -> pd.DataFrame:
    return evaluation.decide(predictions, metrics)


def test_the_curve_encloses_the_area_of_the_metrics(decided, metrics):
    roc = curves.tables(decided[decided["split"] == "test"])["roc"]
    area = auc(roc["false_alarm_rate"], roc["recall"])
    assert area == pytest.approx(metrics["test"]["defect"]["auroc"])


def test_curves_run_from_left_to_right(decided):
    found = curves.tables(decided[decided["split"] == "test"])
    assert found["roc"]["false_alarm_rate"].is_monotonic_increasing
    assert found["precision_recall"]["recall"].is_monotonic_increasing


def test_confusions_have_a_row_for_each_test_image(decided, metrics, tmp_path):
    curves.write(decided, tmp_path)
    for name, score in (("category", "category"), ("defect", "defect")):
        table = pd.read_csv(tmp_path / f"{name}.csv", dtype=str, keep_default_na=False)
        right = (table["actual"] == table["predicted"]).mean()
        assert len(table) == metrics["test"]["images"]
        assert right == pytest.approx(metrics["test"][score]["accuracy"])


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        (["defect_probability", "defect_predicted"], ["category"]),
        (["category_predicted", "category_probability"], ["defect", "roc", "precision_recall"]),
    ],
)
def test_a_head_that_is_missing_has_no_tables(decided, gone, left):
    assert list(curves.tables(decided.drop(columns=gone))) == left


def test_one_kind_of_image_has_no_curves(decided):
    assert list(curves.tables(decided[decided["defective"] == 0])) == ["category", "defect"]


def test_reliability_is_how_often_images_of_a_probability_are_defective(decided, tmp_path):
    found = curves.reliability([0, 0, 1, 1, 1], [0.11, 0.13, 0.18, 0.95, 1.0])
    assert found["probability"].tolist() == pytest.approx([0.14, 0.975])
    assert found["defective"].tolist() == pytest.approx([1 / 3, 1])
    assert found["images"].tolist() == [3, 2]
    assert (found["low"] < found["defective"]).all() and (found["high"] >= found["defective"]).all()
    curves.write(decided, tmp_path)
    table = pd.read_csv(tmp_path / "reliability.csv")
    held_out = decided[decided["split"].isin(["val", "test"])]
    assert table.groupby("split")["images"].sum().equals(held_out.groupby("split").size())
