"""Judge predictions: the same metrics for train, val and test, and the threshold."""

import numpy as np
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
)

from twinhead import params
from twinhead.dataset import splits
from twinhead.evaluation import operating_point
from twinhead.evaluation.operating_point import OperatingPoint

BINS = 10
"""Of probabilities, for the calibration error."""


def auroc(
    defective: np.ndarray, scores: np.ndarray, groups: np.ndarray, resamples: int, seed: int = 0
) -> dict[str, float | None]:
    """Area under the ROC curve, pooled and as the mean over the groups, with 95% intervals.

    The area is the share of (defective, good) pairs that the scores put in the right order, ties
    counting half (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747). The intervals are
    percentiles of a bootstrap that redraws defective and good images separately: all together for
    the pooled area, within each group for the mean. Groups that lack one of the two kinds don't
    count in the mean; what is not defined is None.

    Args:
        defective, scores, groups: (n,) each; resamples: how many bootstrap draws, or 0 for none.
    """
    defective, scores = np.asarray(defective, bool), np.asarray(scores, float)
    rng = np.random.default_rng(seed)
    pooled = _areas(defective, scores, resamples, rng)
    mean = _mean_areas(defective, scores, groups, resamples, rng)
    return _interval("auroc", pooled) | _interval("auroc_category_mean", mean)


def advantage(
    defective: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    groups: np.ndarray,
    resamples: int,
    seed: int = 0,
) -> dict[str, float | None]:
    """How much larger the mean area over the groups is by `scores` than by `others`.

    Returns `advantage`, with a 95% interval from a bootstrap that draws the same images for both,
    as `auroc` draws them; None where there is no such area. All arrays: (n,).
    """
    # Equal seeds draw equal rows: neither how many nor in which order depends on the scores.
    areas = [
        _mean_areas(
            np.asarray(defective, bool),
            np.asarray(given, float),
            groups,
            resamples,
            np.random.default_rng(seed),
        )
        for given in (scores, others)
    ]
    return _interval("advantage", None if areas[0] is None else areas[0] - areas[1])


def _mean_areas(
    defective: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """The mean over the groups of what `_areas` gives; None if no group has both kinds."""
    members = [groups == group for group in np.unique(groups)]
    areas = [_areas(defective[rows], scores[rows], resamples, rng) for rows in members]
    known = [values for values in areas if values is not None]
    return np.mean(known, axis=0) if known else None


def _areas(
    defective: np.ndarray, scores: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray | None:
    """The area of the sample itself, and then of each resample: (1 + resamples,)."""
    _, places = np.unique(scores, return_inverse=True)
    bad, good = places[defective], places[~defective]
    if not len(bad) or not len(good):
        return None
    areas = []
    for draw in range(1 + resamples):
        if draw:
            drawn_bad, drawn_good = rng.choice(bad, len(bad)), rng.choice(good, len(good))
        else:
            drawn_bad, drawn_good = bad, good
        times_bad, times_good = (
            np.bincount(drawn, minlength=places.max() + 1) for drawn in (drawn_bad, drawn_good)
        )
        below = np.cumsum(times_good) - times_good / 2  # ties count half
        areas.append(times_bad @ below / (len(bad) * len(good)))
    return np.array(areas)


def judge(predictions: pd.DataFrame, crossfit: pd.DataFrame, settings: params.Evaluate) -> dict:
    """Return the metrics of all splits, as `metrics/evaluate.json` holds them.

    predictions: what `inference.predict` returns. crossfit: the training images' cross-fitted
    answers, which choose the threshold together with val; a table without rows where there are
    none. A head that isn't there has no metrics, and what is not defined (an AUROC without
    defective images, say) is None.
    """
    result: dict = {}
    if "defect_probability" in predictions:
        point = _operating_point(predictions, crossfit, settings.operating_point)
        result["threshold"] = point.threshold
        on = splits.VAL if crossfit.empty else f"{splits.VAL} and cross-fitted {splits.TRAIN}"
        result["threshold_chosen_on"] = None if point.rule is None else on
        result["operating_point"] = {
            "rule": point.rule,
            "value": point.value,
            "lowest_false_alarm_rate": point.lowest_false_alarm_rate,
        }
    for name in splits.SPLITS:
        rows = predictions[predictions["split"] == name]
        result[name] = _metrics(rows, result.get("threshold"), settings.bootstrap)
    test = predictions[predictions["split"] == splits.TEST]
    result[splits.TEST]["by_category"] = {
        category: _one_category(rows, result.get("threshold"))
        for category, rows in test.groupby("category")
    }
    if "threshold" in result:
        found = _exceeds(test, result["threshold"])
        result[splits.TEST]["by_defect_type"] = {
            category: {
                kind: {"images": len(rows), "recall": float(rows.mean())}
                for kind, rows in found[test["category"] == category].groupby(test["defect_type"])
                if test["defective"][rows.index[0]]
            }
            for category in sorted(test["category"].unique())
        }
        result[splits.TEST]["unseen_types"] = _unseen_types(predictions, result["threshold"])
    if "known" in test:
        result[splits.TEST]["unknown"] = {
            name: _mean(1 - test["known"][test["defective"] == kind])
            for name, kind in (("good", 0), ("defective", 1))
        }
    return result


def judge_test(predictions: pd.DataFrame, threshold: float | None = None) -> dict:
    """Return the test metrics alone, without intervals; val chooses a missing threshold, by F1."""
    if "defect_probability" not in predictions:
        threshold = None
    elif threshold is None:
        rule = params.OperatingPoint(rule="f1", value=None)
        threshold = _operating_point(predictions, predictions.iloc[:0], rule).threshold
    return _metrics(predictions[predictions["split"] == splits.TEST], threshold, resamples=0)


def decide(predictions: pd.DataFrame, metrics: dict) -> pd.DataFrame:
    """Add `defect_predicted`, 0 or 1, at the threshold that `judge` chose."""
    if "threshold" not in metrics:
        return predictions
    decided = _exceeds(predictions, metrics["threshold"])
    return predictions.assign(defect_predicted=decided.astype(int))


def _exceeds(rows: pd.DataFrame, threshold: float) -> pd.Series:
    return rows["defect_probability"].astype(float) >= threshold


def _operating_point(
    predictions: pd.DataFrame, crossfit: pd.DataFrame, rule: params.OperatingPoint
) -> OperatingPoint:
    val = predictions[predictions["split"] == splits.VAL]
    held_out = pd.concat([val, crossfit] if len(crossfit) else [val])
    truth, scores = held_out["defective"], held_out["defect_probability"]
    return operating_point.choose(truth.to_numpy(), scores.to_numpy(), rule)


def _unseen_types(predictions: pd.DataFrame, threshold: float) -> dict:
    """Recall on the test defects of whose type train has none, and AUROC against the good ones."""
    types = predictions["category"] + "/" + predictions["defect_type"]
    seen = set(types[predictions["split"].isin([splits.TRAIN, splits.VAL])])
    test = predictions[predictions["split"] == splits.TEST]
    unseen = test[(test["defective"] == 1) & ~types[test.index].isin(seen)]
    rows = pd.concat([unseen, test[test["defective"] == 0]])
    areas = auroc(
        rows["defective"].to_numpy(),
        rows["defect_probability"].to_numpy(),
        rows["category"].to_numpy(),
        resamples=0,
    )
    recall = _mean(_exceeds(unseen, threshold))
    return {"images": len(unseen), "recall": recall} | areas


def calibration(truth: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """`brier`: the mean squared error of the probabilities; `ece`: how far they are off on average.

    Expected calibration error (Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602) over BINS equal
    bins: the mean distance between a bin's mean probability and its share of defects.
    """
    if not len(truth):
        return {"brier": None, "ece": None}
    scores = np.asarray(scores, float)
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    off = np.bincount(bins, weights=scores - truth, minlength=BINS)
    return {
        "brier": float(((scores - truth) ** 2).mean()),
        "ece": float(np.abs(off).sum() / len(truth)),
    }


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _metrics(rows: pd.DataFrame, threshold: float | None, resamples: int) -> dict:
    result: dict = {"images": len(rows)}
    if "category_predicted" in rows:
        scores = _scores(rows["category"], rows["category_predicted"], average="weighted")
        result["category"] = scores
    if threshold is not None:
        truth, scores = rows["defective"].to_numpy(), rows["defect_probability"].to_numpy()
        decided = _exceeds(rows, threshold).astype(int)
        areas = auroc(truth, scores, rows["category"].to_numpy(), resamples)
        both = 0 < truth.sum() < len(truth)
        result["defect"] = {
            "defective": int(truth.sum()),
            "prevalence": float(truth.mean()) if len(truth) else None,
            **_scores(truth, decided, average="binary"),
            **areas,
            "average_precision": float(average_precision_score(truth, scores)) if both else None,
            **calibration(truth, scores),
        }
    return result


def _one_category(rows: pd.DataFrame, threshold: float | None) -> dict:
    """The metrics that say something about the images of one category."""
    result = _metrics(rows, threshold, resamples=0)
    if "category" in result:
        result["category"] = {"accuracy": result["category"]["accuracy"]}
    if "defect" in result:
        del result["defect"]["auroc_category_mean"]
    return result


def _scores(truth: pd.Series, predicted: pd.Series, average: str) -> dict[str, float | None]:
    if not len(truth):
        return dict.fromkeys(("accuracy", "precision", "recall", "f1"))
    # As a mean over categories, one that is never predicted counts with a precision of 0.
    undefined = np.nan if average == "binary" else 0
    values = precision_recall_fscore_support(
        truth, predicted, average=average, zero_division=undefined
    )[:3]
    named = dict(zip(("precision", "recall", "f1"), values, strict=True))
    known = {name: None if np.isnan(value) else float(value) for name, value in named.items()}
    return {"accuracy": float(accuracy_score(truth, predicted))} | known


def _interval(name: str, values: np.ndarray | None) -> dict[str, float | None]:
    if values is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    result: dict[str, float | None] = {name: float(values[0])}
    if len(values) > 1:
        low, high = np.percentile(values[1:], (2.5, 97.5))
        result |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return result
