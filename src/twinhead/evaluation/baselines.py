"""What simple guesses reach on the same split: the numbers that a network has to beat."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from twinhead.dataset import splits
from twinhead.evaluation import metrics
from twinhead.evaluation.operating_point import DEFAULT_THRESHOLD

MOST = 20_000
"""Training images that the regression learns from; of more, these many are drawn."""
TOGETHER = 4096
"""Images whose features are in memory at a time."""


def judge(predictions: pd.DataFrame, read: Callable[[np.ndarray], np.ndarray]) -> dict:
    """Return the test metrics of three guesses, for the heads that the predictions have.

    `always_good` calls every image good and of the commonest category. `category_prevalence` takes
    for score the share of defective training images in the image's category. `logistic_regression`
    is scikit-learn's with its defaults, on standardised features, of at most MOST training images.
    Thresholds are chosen on val; nothing is tuned. A guess with nothing to learn from is left out.

    Args:
        predictions: what `inference.predict` returns.
        read: takes rows of predictions, (n,), and gives what the frozen ImageNet backbone says of
            these images, (n, features), float32.
    """
    train = predictions["split"] == splits.TRAIN
    rows = np.flatnonzero(train)
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    facts = predictions[["split", "category", "defect_type", "defective"]]
    always, prevalence, logistic = facts.copy(), facts.copy(), facts.copy()
    if "category_predicted" in predictions:
        always["category_predicted"] = facts["category"][train].mode()[0]
        if facts["category"].iloc[rows].nunique() > 1:
            fitted = logistic_regression().fit(read(rows), facts["category"].iloc[rows])
            logistic["category_predicted"] = _in_parts(fitted.predict, read, len(facts))
    if "defect_probability" in predictions:
        always["defect_probability"] = 0.0
        shares = facts[train].groupby("category")["defective"].mean()
        prevalence["defect_probability"] = facts["category"].map(shares).fillna(0.0)
        if facts["defective"].iloc[rows].nunique() > 1:
            fitted = logistic_regression().fit(read(rows), facts["defective"].iloc[rows])
            scores = _in_parts(fitted.predict_proba, read, len(facts))
            logistic["defect_probability"] = scores[:, 1]
    guesses = {
        "always_good": metrics.judge_test(always, DEFAULT_THRESHOLD),
        "category_prevalence": metrics.judge_test(prevalence),
        "logistic_regression": metrics.judge_test(logistic),
    }
    return {name: judged for name, judged in guesses.items() if len(judged) > 1}


def _in_parts(
    answer: Callable[[np.ndarray], np.ndarray],
    read: Callable[[np.ndarray], np.ndarray],
    images: int,
) -> np.ndarray:
    starts = range(0, images, TOGETHER)
    parts = [np.arange(start, min(start + TOGETHER, images)) for start in starts]
    return np.concatenate([answer(read(part)) for part in parts])


def logistic_regression() -> Pipeline:
    """The guess: scikit-learn's with its defaults, on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
