"""The operating point: each rule against all thresholds there are, and what a rate can promise."""

from itertools import pairwise

import numpy as np
import pytest
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
    defective, scores = answers(seed)
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


def test_calibration_by_hand():
    """Two bins: 0.25 and 0.25, one of them defective; and 0.75, which is. The others are empty."""
    found = metrics.calibration(np.array([0, 1, 1]), np.array([0.25, 0.25, 0.75]))
    assert found["brier"] == pytest.approx((0.25**2 + 0.75**2 + 0.25**2) / 3)
    assert found["ece"] == pytest.approx(2 / 3 * (0.5 - 0.25) + 1 / 3 * (1 - 0.75))
    sure = metrics.calibration(np.array([0, 1]), np.array([0.0, 1.0]))
    assert sure == {"brier": 0, "ece": 0}
    assert metrics.calibration(np.array([]), np.array([])) == {"brier": None, "ece": None}
