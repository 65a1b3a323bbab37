"""Metrics: checked by hand and against scikit-learn, and never a number where none is defined."""

import numpy as np
import pandas as pd
import pytest
from conftest import judge
from sklearn import metrics as sklearn_metrics

from twinhead import evaluation
from twinhead.evaluation import intervals, operating_point

LETTERS = np.array(["a", "b"])


def answers(
    defective: list[int], scores: list[float], split: str | list[str] = "test", **columns: object
) -> pd.DataFrame:
    """Predictions of the defect head alone, all of one category unless told otherwise."""
    base = {"category": "a", "defect_type": [("good", "cut")[d] for d in defective], "split": split}
    given = {"defective": defective, "defect_probability": scores}
    return pd.DataFrame(given | base | columns, index=range(len(defective)))


def judged(predictions: pd.DataFrame, resamples: int = 100) -> dict:
    """The metrics of test, where val (a clear case) sets the threshold to 0.5."""
    val = answers([0, 1] * operating_point.FEWEST, [0.25, 0.75] * operating_point.FEWEST, "val")
    return judge(pd.concat([val, predictions], ignore_index=True), resamples)["test"]


@pytest.mark.parametrize(
    ("defective", "scores", "area"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0),
        ([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], 0.5),
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),  # 3 of 4 pairs in the right order
        ([0, 1, 1], [0.5, 0.5, 0.9], 0.75),  # a tie counts half
    ],
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(defective, scores, area):
    assert judged(answers(defective, scores))["defect"]["auroc"] == area


@pytest.fixture
def noisy() -> pd.DataFrame:
    """400 answers, better than chance, with many ties."""
    rng = np.random.default_rng(3)
    defective = rng.random(400) < 0.3
    scores = (0.25 * defective + rng.normal(0.4, 0.2, 400)).clip(0, 1).round(2)
    kinds = LETTERS[rng.integers(0, 2, 400)]
    return answers(defective.astype(int), scores, category=kinds)


def test_defect_metrics_are_scikit_learn_s(noisy):
    truth, scores = noisy["defective"], noisy["defect_probability"]
    found, decided = judged(noisy)["defect"], scores >= 0.5
    expected = {
        "auroc": sklearn_metrics.roc_auc_score(truth, scores),
        "average_precision": sklearn_metrics.average_precision_score(truth, scores),
        "accuracy": sklearn_metrics.accuracy_score(truth, decided),
        "precision": sklearn_metrics.precision_score(truth, decided),
        "recall": sklearn_metrics.recall_score(truth, decided),
        "f1": sklearn_metrics.f1_score(truth, decided),
        "prevalence": truth.mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_category_metrics_are_scikit_learn_s():
    truth, predicted = list("aaabbbcc"), list("aabbbaaa")  # c is never predicted
    rows = pd.DataFrame({"category": truth, "category_predicted": predicted, "split": "test"})
    expected = sklearn_metrics.precision_recall_fscore_support(
        truth, predicted, average="weighted", zero_division=0
    )
    found = judge(rows, 100)["test"]["category"]
    named = zip(("precision", "recall", "f1"), expected[:3], strict=True)
    assert found == pytest.approx({"accuracy": 0.5, **dict(named)})


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 60 data sets whose AUROC is known, 95% of the intervals, 57 or so, should hold it."""
    rng, held = np.random.default_rng(0), 0
    known = 0.7602  # P(N(1, 1) > N(0, 1))
    for _ in range(60):
        scores = np.concatenate([rng.normal(0, 1, 60), rng.normal(1, 1, 40)])
        area = evaluation.auroc(np.arange(100) >= 60, scores, np.full(100, "a"), 300)
        held += area["auroc_low"] <= known <= area["auroc_high"]
    assert 52 <= held <= 60


def test_intervals_surround_the_value_and_shrink_with_more_images(noisy):
    few, many = (judged(part)["defect"] for part in (noisy[:80], pd.concat([noisy] * 4)))
    for name in ("auroc", "auroc_category_mean"):
        for found in (few, many):
            assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
        width = [found[f"{name}_high"] - found[f"{name}_low"] for found in (few, many)]
        assert width[1] < width[0] / 2


def test_intervals_repeat(noisy):
    assert judged(noisy) == judged(noisy)


def test_guessing_a_category_s_base_rate_is_seen_through():
    """Category a is mostly defective, b mostly good, and the score says the category alone."""
    defective = [1] * 9 + [0] + [1] + [0] * 9
    categories, scores = np.repeat(LETTERS, 10), np.repeat([0.9, 0.1], 10)
    found = judged(answers(defective, scores, category=categories))["defect"]
    assert found["auroc"] == pytest.approx(0.9)
    assert found["auroc_category_mean"] == 0.5


def test_the_mean_leaves_out_categories_that_have_no_area():
    rows = answers([0, 1, 0, 0], [0.6, 0.4, 0.1, 0.9], category=["a", "a", "b", "b"])
    assert judged(rows)["defect"]["auroc_category_mean"] == 0


@pytest.mark.parametrize(
    ("defective", "scores", "threshold"),
    [
        ([0, 1], [0.2, 0.8], 0.5),
        ([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.8], 0.25),  # odds 1:3, between 1:9 and 1:1; F1 0.8
        ([0, 1], [0.5, 1.0], 0.75),
        ([0, 1], [0.0, 0.5], 0.25),
        ([0, 1, 1], [0.5, 0.5, 0.9], 0.5),  # the best is to call all defective
        ([1, 0], [0.3, 0.7], 0.3),
    ],
)
def test_the_threshold_lies_half_way_in_log_odds_below_the_best_f1(defective, scores, threshold):
    chosen = operating_point.best_f1(np.array(defective), np.array(scores))
    assert chosen == pytest.approx(threshold)


def test_the_threshold_parts_scores_that_float32_can_hardly_tell_apart():
    close = np.float32([1 - 2**-23, 1 - 2**-24])  # nothing lies between them
    rows = answers([0, 1] * 2, np.tile(close, 2), ["val", "val", "test", "test"])
    found = judge(rows, 100)
    assert found["test"]["defect"]["accuracy"] == 1
    assert evaluation.decide(rows, found)["defect_predicted"].tolist() == [0, 1, 0, 1]


def test_val_alone_chooses_the_threshold(noisy):
    parts = np.repeat(["train", "val", "test"], [100, 100, 200])
    before = judge(noisy.assign(split=parts), 100)
    scores = np.where(parts == "val", noisy["defect_probability"], 1 - noisy["defect_probability"])
    after = judge(noisy.assign(split=parts, defect_probability=scores), 100)
    assert before["threshold"] == after["threshold"] and before["threshold_chosen_on"] == "val"
    assert before["val"] == after["val"] and before["test"] != after["test"]


def test_images_are_decided_at_the_threshold_of_the_category_that_they_are_taken_for():
    rows = answers([0, 1, 1], [0.3, 0.3, 0.3], category_predicted=["a", "b", "c"])
    decided = evaluation.decide(rows, {"threshold": 0.2, "thresholds": {"a": 0.4, "b": 0.1}})
    assert decided["defect_predicted"].tolist() == [0, 1, 1]


def test_what_a_middle_band_gives_is_counted_on_test():
    rows = answers(
        [0, 0, 1, 1] * 2, [0.1, 0.6, 0.4, 0.9] + [0.1, 0.5, 0.5, 0.2],
        ["val"] * 4 + ["test"] * 4,
    )  # fmt: skip
    found = judge(rows, 100, rule="cost", value=4, review=0.3)
    assert found["review"]["low"] <= 0.4 < 0.6 < found["review"]["high"]
    assert found["test"]["review"] == {
        "images": 2, "share": 0.5, "missed": 1, "false_alarms": 0,
        "cost": pytest.approx((4 + 2 * 0.3) / 4), "cost_without": pytest.approx((4 + 1) / 4),
    }  # fmt: skip


def test_without_good_images_the_threshold_stays_at_a_half_and_says_so():
    rows = answers([1, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], ["val", "val", "test", "test"])
    found = judge(rows, 100)
    assert (found["threshold"], found["threshold_chosen_on"]) == (0.5, None)
    assert set(found["operating_point"].values()) == {None}


def test_without_defects_a_false_alarm_rate_chooses_the_threshold_and_is_said():
    rows = answers([0, 0, 0, 1], [0.1, 0.4, 0.2, 0.8], ["val", "val", "test", "test"])
    found = judge(rows, 100)
    assert 0.4 < found["threshold"] < 0.401 and found["threshold_chosen_on"] == "val"
    # Of two good images, a third will lie above both in one case of three.
    assert found["operating_point"] == {
        "rule": "false_alarm_rate",
        "value": pytest.approx(1 / 3),
        "lowest_false_alarm_rate": pytest.approx(1 / 3),
    }


def test_cross_fitted_training_images_choose_the_threshold_together_with_val():
    rows = answers([0, 1, 0, 1], [0.2, 0.4, 0.2, 0.8], ["val", "val", "test", "test"])
    crossfit = answers([0, 1], [0.6, 0.9], "train")
    found = judge(rows, crossfit=crossfit, rule="recall", value=0.5)
    assert 0.6 < found["threshold"] < 0.9
    assert found["threshold_chosen_on"] == "val and cross-fitted train"
    assert judge(rows, rule="recall", value=0.5)["threshold"] < 0.4


def test_without_defective_images_nothing_is_claimed_of_defects():
    found = judged(answers([0, 0, 0], [0.1, 0.2, 0.3]))["defect"]
    assert (found.pop("accuracy"), found.pop("prevalence"), found.pop("defective")) == (1, 0, 0)
    assert found.pop("ece") == pytest.approx(0.2)
    assert found.pop("brier") == pytest.approx((0.01 + 0.04 + 0.09) / 3)
    known = {name: value for name, value in found.items() if value is not None}
    assert known.pop("false_alarm_rate") == known.pop("false_alarm_rate_low") == 0
    assert known.pop("false_alarm_rate_high") > 0.5 and not known  # of three images


def test_false_alarms_alone_have_a_precision_of_0_and_no_recall():
    found = judged(answers([0, 0], [0.1, 0.9]))["defect"]
    assert (found["accuracy"], found["precision"], found["recall"]) == (0.5, 0, None)


def test_without_good_images_there_is_recall_but_no_area():
    found = judged(answers([1, 1], [0.1, 0.9]))["defect"]
    assert (found["recall"], found["precision"]) == (0.5, 1)
    assert found["auroc"] is found["auroc_category_mean"] is found["average_precision"] is None


def test_without_alarms_precision_is_not_defined():
    found = judged(answers([0, 1], [0.1, 0.2]))["defect"]
    assert (found["precision"], found["recall"], found["f1"]) == (None, 0, 0)


def test_a_split_without_images_has_no_metrics():
    found = judge(answers([0, 1], [0.1, 0.9], "test"), 100)["train"]
    assert found.pop("images") == 0 and found["defect"].pop("defective") == 0
    assert set(found["defect"].values()) == {None}


def test_defects_are_counted_by_their_type():
    rows = answers(
        [0, 1, 1, 1, 1], [0.9, 0.9, 0.1, 0.8, 0.7],
        category=["a", "a", "a", "a", "b"], defect_type=["good", "cut", "cut", "hole", "cut"],
    )  # fmt: skip
    assert judged(rows)["by_defect_type"] == {
        "a": {"cut": {"images": 2, "recall": 0.5}, "hole": {"images": 1, "recall": 1}},
        "b": {"cut": {"images": 1, "recall": 1}},
    }


def test_each_category_of_the_test_images_is_judged_alone(predictions, metrics):
    test = predictions[predictions["split"] == "test"]
    assert metrics["test"]["images"] == len(test)
    for name, rows in test.groupby("category"):
        found, right = metrics["test"]["by_category"][name], rows["category_predicted"] == name
        assert found["images"] == len(rows) and found["category"]["accuracy"] == right.mean()
        assert found["defect"]["defective"] == rows["defective"].sum()
    assert metrics["test"]["by_category"]["plain"]["defect"]["auroc"] is None


def test_a_network_without_defect_head_is_judged_by_categories(predictions, metrics):
    rows = predictions.drop(columns="defect_probability")
    found = judge(rows, 100)
    assert "threshold" not in found and "by_defect_type" not in found["test"]
    for name in ("train", "val", "test"):
        assert "defect" not in found[name] and found[name]["category"] == metrics[name]["category"]
    assert evaluation.decide(rows, found) is rows


def test_a_network_without_category_head_is_judged_by_defects(predictions, metrics):
    rows = predictions.drop(columns=["category_predicted", "category_probability"])
    found = judge(rows, 100)
    assert found["thresholds"] == {}  # one for all: no image is taken for a category
    for name in ("train", "val", "test"):
        assert "category" not in found[name]
        for area in ("auroc", "auroc_low", "auroc_high", "average_precision"):
            assert found[name]["defect"][area] == metrics[name]["defect"][area]


def test_decisions_and_metrics_agree(predictions, metrics):
    rows = evaluation.decide(predictions, metrics)
    test = rows[rows["split"] == "test"]
    right = (test["defect_predicted"] == test["defective"]).mean()
    assert metrics["test"]["defect"]["accuracy"] == right


def test_shuffled_labels_have_an_area_near_a_half():
    rng = np.random.default_rng(5)
    rows = answers(rng.permutation([0, 1] * 1000), rng.random(2000))
    found = judged(rows)["defect"]
    assert found["auroc"] == pytest.approx(0.5, abs=0.04)
    assert found["auroc_low"] < 0.5 < found["auroc_high"]


def test_an_advantage_is_the_difference_of_the_mean_areas_on_the_same_images():
    rng = np.random.default_rng(0)
    defective, groups = np.tile([0, 1], 40), np.repeat(LETTERS, 40)
    blind, seeing = rng.random(80), defective + rng.normal(0, 0.5, 80)
    found = evaluation.advantage(defective, seeing, blind, groups)
    areas = [
        evaluation.auroc(defective, scores, groups, resamples=0)["auroc_category_mean"]
        for scores in (seeing, blind)
    ]
    assert found["advantage"] == pytest.approx(areas[0] - areas[1])
    assert 0 < found["advantage_low"] < found["advantage"] < found["advantage_high"]
    same = evaluation.advantage(defective, seeing, seeing * 2, groups)
    assert set(same.values()) == {0.0}  # unpaired ones would give an interval
    surer = evaluation.advantage(defective, seeing, blind, groups, confidence=0.999)
    assert surer["advantage_low"] < found["advantage_low"]


def test_an_advantage_that_rests_on_one_or_two_images_is_not_sure():
    defective, scores = np.repeat([0, 1], [6, 4]), np.linspace(0, 1, 10)
    for swapped in (1, 2):
        worse = scores.copy()
        worse[-swapped:] = -1  # these defects stand below all good images
        found = evaluation.advantage(defective, scores, worse, np.repeat("a", 10))
        assert found["advantage"] == swapped / 4 and found["advantage_low"] < 0


def test_copies_of_one_group_make_no_interval_narrower():
    rng = np.random.default_rng(1)
    defective = np.tile([0, 1], 15)
    scores, others = defective + rng.normal(0, 0.8, (2, 30))
    five = [np.tile(part, 5) for part in (defective, scores, others, np.repeat("a", 30))]
    group = np.tile(np.arange(30), 5)

    def width(found: dict, name: str) -> float:
        return found[f"{name}_high"] - found[f"{name}_low"]

    once = evaluation.auroc(defective, scores, np.repeat("a", 30), 500)
    copied = evaluation.auroc(five[0], five[1], five[3], 500, group)
    alone = evaluation.auroc(five[0], five[1], five[3], 500)
    assert width(copied, "auroc") == pytest.approx(width(once, "auroc"), rel=0.1)
    assert width(alone, "auroc") < 0.6 * width(copied, "auroc")
    paired = evaluation.advantage(five[0], five[1], five[2], five[3], group)
    expected = evaluation.advantage(defective, scores, others, np.repeat("a", 30))
    assert width(paired, "advantage") >= 0.9 * width(expected, "advantage")


@pytest.mark.parametrize(("images", "lowest"), [(3, 0.6), (40, 0.95)])
def test_a_perfect_category_is_as_sure_as_it_has_images(images, lowest):
    defective = np.repeat([0, 1], images)
    found = evaluation.auroc(defective, defective.astype(float), np.repeat("a", 2 * images), 100)
    assert found["auroc"] == found["auroc_high"] == 1
    assert lowest - 0.2 < found["auroc_low"] < 1
    assert (found["auroc_low"] > lowest - 0.05) == (images == 40)


def test_shares_have_the_interval_of_clopper_and_pearson():
    found = intervals.share(np.arange(10) < 4)  # by R's binom.test(4, 10)
    assert found == pytest.approx((0.4, 0.1215523, 0.7376219))
    assert intervals.share(np.ones(10, bool))[1:] == (pytest.approx(0.6915029), 1)
    in_pairs = intervals.share(np.repeat(np.arange(5) < 2, 2), np.repeat(np.arange(5), 2))
    assert in_pairs == pytest.approx(intervals.share(np.arange(5) < 2))
    assert intervals.share(np.ones(0, bool)) == (None, None, None)


def test_no_advantage_is_defined_without_both_kinds_in_a_category():
    ones, scores = np.ones(4, int), np.linspace(0, 1, 4)
    found = evaluation.advantage(ones, scores, scores, np.repeat(LETTERS, 2))
    assert found["advantage"] is None
