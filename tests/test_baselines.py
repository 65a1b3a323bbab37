"""The guesses that a network has to beat, on cases whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from twinhead.evaluation import baselines


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Categories a (a quarter defective) and b (half of them), the same in every split."""
    rows = [("a", 0), ("a", 0), ("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    table = pd.DataFrame(rows * 12, columns=["category", "defective"])
    table["split"] = np.repeat(["train", "val", "test"], 24)
    table["defect_type"] = np.where(table["defective"], "cut", "good")
    return table.assign(category_predicted="a", defect_probability=0.5)


def test_always_good_is_right_as_often_as_images_are_good(predictions: pd.DataFrame) -> None:
    judged = baselines.judge(predictions, np.zeros((len(predictions), 2)).__getitem__)[
        "always_good"
    ]
    assert judged["defect"]["accuracy"] == pytest.approx(4 / 6)
    assert judged["defect"]["recall"] == 0
    assert judged["defect"]["auroc"] == 0.5
    assert judged["category"]["accuracy"] == pytest.approx(4 / 6)


def test_prevalence_gains_pooled_and_nothing_within_a_category(predictions: pd.DataFrame) -> None:
    judged = baselines.judge(predictions, np.zeros((len(predictions), 2)).__getitem__)[
        "category_prevalence"
    ]
    # Of the pairs of a defective and a good image: 1/8 in the right order, 3/8 the wrong way round
    # or tied: (1 b-bad over 3 a-good = 3) + ties (1·3 + 1·1) / 2 = 2, of 8 pairs.
    assert judged["defect"]["auroc"] == pytest.approx(5 / 8)
    assert judged["defect"]["auroc_category_mean"] == 0.5


def test_logistic_regression_reads_the_features(predictions: pd.DataFrame) -> None:
    telling = predictions[["defective"]].assign(b=predictions["category"] == "b").to_numpy(float)
    judged = baselines.judge(predictions, telling.__getitem__)["logistic_regression"]
    assert judged["defect"]["auroc"] == 1 and judged["defect"]["accuracy"] == 1
    assert judged["category"]["accuracy"] == 1


def test_only_the_heads_that_there_are_have_baselines(predictions: pd.DataFrame) -> None:
    features = predictions[["defective"]].to_numpy(float)
    alone = baselines.judge(predictions.drop(columns="defect_probability"), features.__getitem__)
    assert "category_prevalence" not in alone and "defect" not in alone["always_good"]
    alone = baselines.judge(predictions.drop(columns="category_predicted"), features.__getitem__)
    assert "category" not in alone["logistic_regression"]


def test_one_category_needs_no_regression(predictions: pd.DataFrame) -> None:
    single = predictions.assign(category="a").drop(columns="defect_probability")
    assert "logistic_regression" not in baselines.judge(
        single, np.zeros((len(single), 1)).__getitem__
    )
