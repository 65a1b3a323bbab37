"""The names that a stage's numbers have in MLflow."""

from twinhead.tracking import metrics


def of_categories(*names: str) -> dict[str, float]:
    judged = {"images": 8, "defect": {"auroc": 0.9, "recall": None, "defective": 3}}
    measured = {
        "threshold": 0.5,
        "thresholds": dict.fromkeys(names, 0.4),
        "test": {"images": 16, "by_category": dict.fromkeys(names, judged)},
        "baselines": {"always_good": {"defect": {"auroc": 0.5}}},
    }
    return {point.key: point.value for point in metrics.of_stage("evaluate", measured)}


def test_each_category_and_each_simple_guess_reaches_the_run():
    found = of_categories("bolt", "größe 2")
    assert found["by_category_auroc/bolt"] == found["by_category_auroc/größe 2"] == 0.9
    assert found["by_category_defective/bolt"] == 3 and "by_category_recall/bolt" not in found
    assert found["baselines/always_good_defect_auroc"] == 0.5
    assert found["test/images"] == 16 and found["evaluate/threshold"] == 0.5


def test_names_that_mlflow_refuses_are_changed_and_stay_apart():
    found = of_categories("$5", "€5", "a" * 255, ".")
    own = [name for name in found if name.startswith("by_category_auroc/")]
    assert own[:2] == ["by_category_auroc/_5", "by_category_auroc/_5 2"]
    assert len(own) == 4 and max(map(len, found)) < 250
