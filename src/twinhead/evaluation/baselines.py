"""What simple guesses reach on the same split: the numbers that a network has to beat."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from twinhead.dataset import splits
from twinhead.evaluation import metrics


def judge(predictions: pd.DataFrame, features: np.ndarray) -> dict:
    """Return the test metrics of three guesses, for the heads that the predictions have.

    `always_good` calls every image good and of the commonest category. `category_prevalence` takes
    for score the share of defective training images in the image's category. `logistic_regression`
    is scikit-learn's with its defaults, on standardised features. Thresholds are chosen on val;
    nothing is tuned. A guess that has nothing to learn from is left out.

    Args:
        predictions: what `inference.predict` returns.
        features: what the frozen ImageNet backbone says of each image, (images, features), float32.
    """
    train = predictions["split"] == splits.TRAIN
    facts = predictions[["split", "category", "defect_type", "defective"]]
    always, prevalence, logistic = facts.copy(), facts.copy(), facts.copy()
    if "category_predicted" in predictions:
        always["category_predicted"] = facts["category"][train].mode()[0]
        if facts["category"][train].nunique() > 1:
            fitted = _logistic_regression().fit(features[train], facts["category"][train])
            logistic["category_predicted"] = fitted.predict(features)
    if "defect_probability" in predictions:
        always["defect_probability"] = 0.0
        shares = facts[train].groupby("category")["defective"].mean()
        prevalence["defect_probability"] = facts["category"].map(shares).fillna(0.0)
        fitted = _logistic_regression().fit(features[train], facts["defective"][train])
        logistic["defect_probability"] = fitted.predict_proba(features)[:, 1]
    guesses = {
        "always_good": metrics.judge_test(always, metrics.DEFAULT_THRESHOLD),
        "category_prevalence": metrics.judge_test(prevalence),
        "logistic_regression": metrics.judge_test(logistic),
    }
    return {name: judged for name, judged in guesses.items() if len(judged) > 1}


def _logistic_regression() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
