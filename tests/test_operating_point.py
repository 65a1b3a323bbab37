"""The operating point: each rule against all thresholds there are, and what a rate can promise."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from conftest import judge
from sklearn import metrics as sklearn_metrics

from twinhead import params
from twinhead.evaluation import metrics, operating_point

SEEDS = pytest.mark.parametrize("seed", range(12))


def answers(seed: int, images: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Defective or not, and scores with ties, some of them 0 or 1."""
    rng = np.random.default_rng(seed)
    defective = rng.random(images) < rng.uniform(0.1, 0.9)
    defective[:2] = False, True
    scores = (0.3 * defective + rng.normal(0.4, 0.3, images)).clip(0, 1).round(int(seed % 3) + 1)
    return defective.astype(int), scores


def choose(defective, scores, rule: str, value: float | None = None):
    return operating_point.choose(defective, scores, params.OperatingPoint(rule=rule, value=value))


def thresholds(scores: np.ndarray) -> list[float]:
    """One for each way in which the scores can be parted."""
    known = np.unique(scores)
    return [known[0] - 0.1, *((a + b) / 2 for a, b in pairwise(known)), known[-1] + 0.1]


@SEEDS
def test_no_threshold_has_a_higher_f1(seed):
    defective, scores = answers(seed, 120)
    best = max(
        sklearn_metrics.f1_score(defective, scores >= t, zero_division=0)
        for t in thresholds(scores)
    )
    found = choose(defective, scores, "f1")
    decided = scores >= found.threshold
    assert sklearn_metrics.f1_score(defective, decided) == pytest.approx(best)
    assert found.rule == "f1" and found.value is None


@SEEDS
@pytest.mark.parametrize("recall", [0.5, 0.9, 1.0])
def test_the_highest_threshold_that_finds_the_share_is_taken(seed, recall):
    defective, scores = answers(seed)
    bad, good = scores[defective == 1], scores[defective == 0]
    able = [t for t in thresholds(scores) if (bad >= t).mean() >= recall - 1e-12]
    found = choose(defective, scores, "recall", recall).threshold
    assert (bad >= found).mean() >= recall - 1e-12
    assert (good >= found).sum() == (good >= max(able)).sum()


@SEEDS
@pytest.mark.parametrize("miss", [0.3, 1.0, 10.0, 1000.0])
def test_no_threshold_costs_less(seed, miss):
    defective, scores = answers(seed)
    bad, good = scores[defective == 1], scores[defective == 0]

    def cost(threshold: float) -> float:
        return (good >= threshold).sum() + miss * (bad < threshold).sum()

    found = choose(defective, scores, "cost", miss).threshold
    assert cost(found) == pytest.approx(min(map(cost, thresholds(scores))))


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.25])
def test_a_further_good_image_exceeds_the_threshold_as_rarely_as_promised(rate):
    """Of equally likely orders of n + 1 scores: the last one lies above with at most that rate."""
    images = 60
    scores = np.linspace(0.1, 0.9, images + 1)
    above = 0
    for last in range(images + 1):
        found = choose(np.zeros(images, int), np.delete(scores, last), "false_alarm_rate", rate)
        above += scores[last] >= found.threshold
    assert above / (images + 1) <= max(rate, 1 / (images + 1)) + 1e-12
    assert above / (images + 1) > max(rate, 1 / (images + 1)) - 1 / (images + 1) - 1e-12


@pytest.mark.parametrize("images", [1, 5, 9, 200])
def test_no_rate_below_one_of_the_images_and_one_more_is_claimed(images):
    scores = np.linspace(0.1, 0.9, images)
    found = choose(np.zeros(images, int), scores, "false_alarm_rate", 0.001)
    assert found.lowest_false_alarm_rate == found.value == 1 / (images + 1)
    assert not (scores >= found.threshold).any()
    kept = choose(np.zeros(images, int), scores, "false_alarm_rate", 0.5)
    assert kept.value == 0.5


@pytest.mark.parametrize(("rule", "value"), [("f1", None), ("recall", 0.9), ("cost", 5.0)])
def test_without_defects_every_rule_becomes_the_stated_false_alarm_rate(rule, value):
    scores = np.linspace(0, 1, 200)
    found = choose(np.zeros(200, int), scores, rule, value)
    assert (found.rule, found.value) == ("false_alarm_rate", operating_point.FALSE_ALARMS)
    assert 0 < (scores >= found.threshold).sum() <= 4


def test_so_few_defects_choose_no_f1():
    rng = np.random.default_rng(0)
    for defects, rule in (
        (operating_point.FEWEST - 1, "false_alarm_rate"),
        (operating_point.FEWEST, "f1"),
    ):
        defective = np.arange(200) < defects
        scores = rng.random(200)
        assert choose(defective, scores, "f1").rule == rule
        # What was asked for by number stays.
        assert choose(defective, scores, "recall", 0.5).rule == "recall"
    few = choose(np.arange(200) < 3, scores, "f1")
    assert few == choose(np.zeros(197), scores[3:], "f1")  # good ones alone decide


def held_out(shifts: dict[str, float], images: int, seed: int = 0) -> pd.DataFrame:
    """Categories whose best thresholds lie so far apart, in log-odds."""
    rng, parts = np.random.default_rng(seed), []
    for name, shift in shifts.items():
        defective = np.tile([0, 1], images // 2)
        odds = shift + np.where(defective, 2, -2) + rng.normal(0, 1, images)
        columns = {"category": name, "defective": defective, "odds": odds}
        parts.append(pd.DataFrame(columns))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(defect_probability=1 / (1 + np.exp(-table["odds"])))


def each(
    table: pd.DataFrame,
    rule: str = "f1",
    value: float | None = None,
    taught: set[str] | None = None,
):
    """taught: by default the categories with defects."""
    known = set(table["category"][table["defective"] == 1]) if taught is None else taught
    return operating_point.choose_each(table, params.OperatingPoint(rule=rule, value=value), known)


def odds(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def test_a_category_with_many_images_has_nearly_its_own_threshold():
    found = each(held_out({"low": -3, "middle": 0, "high": 3}, 200))
    places = [odds(found.by_category[name]) for name in ("low", "middle", "high")]
    assert places == pytest.approx([-3, 0, 3], abs=1)


def test_a_category_s_threshold_is_drawn_to_the_common_one_the_more_the_fewer_images_it_has():
    many = held_out({"low": -3, "middle": 0, "high": 3}, 200)
    few = held_out({"few": 5}, 2 * operating_point.FEWEST)
    found = each(pd.concat([many, few], ignore_index=True))
    own = odds(operating_point.best_f1(few["defective"], few["defect_probability"].to_numpy()))
    assert odds(found.threshold) < odds(found.by_category["few"]) < own


def test_a_category_with_few_defects_has_the_common_threshold_by_f1():
    """Of a handful the best F1 lies anywhere between the highest good and the lowest defect."""
    many = held_out({"low": -3, "middle": 0, "high": 3}, 200)
    for defects, own in ((operating_point.FEWEST - 1, False), (operating_point.FEWEST, True)):
        few = held_out({"few": 5}, 2 * defects)
        found = each(pd.concat([many, few], ignore_index=True))
        assert ("few" in found.by_category) == own
        assert {"low", "high"} <= found.by_category.keys()
    rate = each(pd.concat([many, held_out({"few": 5}, 8)], ignore_index=True), "recall", 0.9)
    assert "few" in rate.by_category  # the user's own rule


def test_without_a_predicted_category_there_is_the_common_threshold_alone():
    table = held_out({"low": -3, "high": 3}, 40).assign(split="val", defect_type="any")
    assert judge(table.assign(category_predicted=table["category"]))["thresholds"]
    found = judge(table)
    assert found["thresholds"] == {} and found["threshold"] == each(table).threshold


def test_categories_that_are_alike_share_one_threshold():
    found = each(held_out({"a": 0, "b": 0, "c": 0}, 60))
    apart = [abs(odds(own) - odds(found.threshold)) for own in found.by_category.values()]
    assert max(apart, default=0) < 0.5


@pytest.mark.parametrize(
    ("rule", "value"), [("recall", 0.9), ("cost", 5), ("false_alarm_rate", 0.1)]
)
def test_each_rule_chooses_by_category(rule, value):
    found = each(held_out({"low": -3, "high": 3}, 100), rule, value)
    low, high = (found.by_category.get(name, found.threshold) for name in ("low", "high"))
    assert low <= found.threshold <= high and low < high


def test_good_images_alone_choose_by_category_too():
    table = held_out({"low": -3, "high": 3}, 100)
    found = each(table[table["defective"] == 0].reset_index(drop=True), "false_alarm_rate", 0.1)
    assert found.by_category["low"] < found.by_category["high"]


def test_a_category_without_defects_beside_others_has_the_threshold_of_good_images_alone():
    table = held_out({"low": -3, "high": 3, "good": -9, "new": -12}, 200)
    lacks = table["category"].isin(["good", "new"])
    taught, rest = table[~lacks], table[lacks & (table["defective"] == 0)]
    found, alone = each(pd.concat([taught, rest], ignore_index=True)), each(rest)
    assert alone.rule == "false_alarm_rate" and alone.by_category
    of_taught = each(taught)
    by_category = of_taught.by_category | alone.by_category
    assert found == replace(of_taught, by_category=by_category, good_only=alone)
    for name in ("good", "new"):
        own = rest["defect_probability"][rest["category"] == name]
        assert (own >= found.by_category[name]).mean() < 0.05


def test_a_label_that_train_lacks_teaches_nothing():
    """Of a category whose only defects are in val: its scores are those of good images alone."""
    table = held_out({"low": -3, "high": 3, "val alone": -9}, 200)
    known = {"low", "high"}
    good = table[table["category"].isin(known) | (table["defective"] == 0)]
    assert each(table, taught=known) == each(good, taught=known)


def test_defects_without_good_ones_are_not_parted_from_the_others():
    table = held_out({"bad": 0, "good": 0}, 200)
    table = table[table["defective"] == (table["category"] == "bad")].reset_index(drop=True)
    found = each(table)
    assert found.rule == "f1" and found.good_only is None


def test_under_a_false_alarm_rate_defects_decide_nothing():
    for seed in range(5):
        table = held_out({"low": -3, "high": 3, "middle": 0}, 60, seed)
        good = table[table["defective"] == 0].reset_index(drop=True)
        found, alone = (each(rows, "false_alarm_rate", 0.05) for rows in (table, good))
        assert found.by_category == alone.by_category


def test_a_category_of_one_lot_has_the_common_threshold():
    table = held_out({"low": -3, "high": 3, "lot": 9}, 40)
    group = np.where(table["category"] == "lot", -1, table.index)
    assert "lot" not in each(table.assign(group=group)).by_category


def test_a_threshold_of_the_user_s_is_taken_as_it_is():
    found = each(held_out({"low": -3, "high": 3}, 40), "threshold", 0.37)
    assert (found.threshold, found.rule, found.by_category) == (0.37, "threshold", {})


@SEEDS
@pytest.mark.parametrize("look", [0.05, 0.3, 0.9])
def test_no_middle_band_costs_less(seed, look):
    defective, scores = answers(seed)
    miss = 3.0
    rule = params.OperatingPoint(rule="cost", value=miss, review=look)
    found = operating_point.choose(defective, scores, rule)

    def cost(low: float, high: float) -> float:
        looked = (scores >= low) & (scores < high)
        false = (defective == 0) & (scores >= high)
        return false.sum() + miss * ((defective == 1) & (scores < low)).sum() + look * looked.sum()

    tried = thresholds(scores)
    least = min(cost(low, high) for low in tried for high in tried if low <= high)
    band = found.review or (found.threshold, found.threshold)
    assert cost(*band) == pytest.approx(least)
    assert band[0] <= found.threshold <= band[1]


def test_calibration_by_hand():
    """Two bins: 0.25 and 0.25, one of them defective; and 0.75, which is. The others are empty."""
    found = metrics.calibration(np.array([0, 1, 1]), np.array([0.25, 0.25, 0.75]))
    assert found["brier"] == pytest.approx((0.25**2 + 0.75**2 + 0.25**2) / 3)
    assert found["ece"] == pytest.approx(2 / 3 * (0.5 - 0.25) + 1 / 3 * (1 - 0.75))
    sure = metrics.calibration(np.array([0, 1]), np.array([0.0, 1.0]))
    assert sure == {"brier": 0, "ece": 0}
    assert metrics.calibration(np.array([]), np.array([])) == {"brier": None, "ece": None}
