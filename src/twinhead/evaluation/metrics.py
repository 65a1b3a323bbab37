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
from twinhead.evaluation import curves, intervals, operating_point
from twinhead.evaluation.intervals import auroc
from twinhead.evaluation.operating_point import OperatingPoint

GIVEN = "params.yaml"
"""Where a threshold comes from that no image has chosen."""


def judge(predictions: pd.DataFrame, crossfit: pd.DataFrame, settings: params.Evaluate) -> dict:
    """Return the metrics of all splits, as `metrics/evaluate.json` holds them.

    predictions: what `inference.predict` returns. crossfit: the training images' cross-fitted
    answers, which choose the threshold together with val; a table without rows where there are
    none. A head that isn't there has no metrics, and what is not defined (an AUROC without
    defective images, say) is None.
    """
    result: dict = {}
    point = None
    if "defect_probability" in predictions:
        point = _operating_point(predictions, crossfit, settings.operating_point)
        result |= _described(point, crossfit)
    for name in splits.SPLITS:
        rows = predictions[predictions["split"] == name]
        result[name] = _metrics(rows, point, settings.bootstrap)
    test = predictions[predictions["split"] == splits.TEST]
    result[splits.TEST]["by_category"] = {
        category: _one_category(rows, point, settings.bootstrap)
        for category, rows in test.groupby("category")
    }
    if point is not None:
        found = _alarms(test, point)
        result[splits.TEST]["by_defect_type"] = {
            category: {
                kind: {"images": len(rows), "recall": float(rows.mean())}
                for kind, rows in found[test["category"] == category].groupby(test["defect_type"])
                if test["defective"][rows.index[0]]
            }
            for category in sorted(test["category"].unique())
        }
        result[splits.TEST]["unseen_types"] = _unseen_types(predictions, point)
        if point.review:
            result[splits.TEST]["review"] = _reviewed(test, point, settings.operating_point)
    if "known" in test:
        result[splits.TEST]["unknown"] = {
            name: _mean(1 - test["known"][test["defective"] == kind])
            for name, kind in (("good", 0), ("defective", 1))
        }
    return result


def _described(point: OperatingPoint, crossfit: pd.DataFrame) -> dict:
    on: str | None = splits.VAL
    if point.rule in (None, "threshold"):
        on = None if point.rule is None else GIVEN
    elif len(crossfit):
        on = f"{splits.VAL} and cross-fitted {splits.TRAIN}"
    found: dict = {
        "threshold": point.threshold,
        "threshold_chosen_on": on,
        "thresholds": point.by_category,
        "operating_point": {
            "rule": point.rule,
            "value": point.value,
            "lowest_false_alarm_rate": point.lowest_false_alarm_rate,
        },
    }
    if point.good_only:
        found["operating_point"]["good_only"] = {
            "value": point.good_only.value,
            "lowest_false_alarm_rate": point.good_only.lowest_false_alarm_rate,
        }
    if point.review:
        by_category = {name: point.band(own) for name, own in point.by_category.items()}
        found["review"] = point.band(point.threshold) | {"by_category": by_category}
    return found


def judge_test(predictions: pd.DataFrame, threshold: float | None = None) -> dict:
    """Return the test metrics alone, without intervals; val chooses a missing threshold, by F1."""
    point = None
    if "defect_probability" in predictions:
        point = OperatingPoint(threshold or 0.0, None, None, None)
        if threshold is None:
            rule = params.OperatingPoint(rule="f1", value=None)
            val = predictions[predictions["split"] == splits.VAL]
            truth, scores = val["defective"].to_numpy(), val["defect_probability"].to_numpy()
            chosen_by = operating_point.by_rule if truth.any() else operating_point.choose
            point = chosen_by(truth, scores, rule)
    return _metrics(predictions[predictions["split"] == splits.TEST], point, resamples=0)


def decide(predictions: pd.DataFrame, metrics: dict) -> pd.DataFrame:
    """Add `defect_predicted`, 0 or 1, at the thresholds that `judge` chose."""
    if "threshold" not in metrics:
        return predictions
    by_category = metrics.get("thresholds", {})
    point = OperatingPoint(metrics["threshold"], None, None, None, by_category)
    return predictions.assign(defect_predicted=_alarms(predictions, point).astype(int))


def _alarms(rows: pd.DataFrame, point: OperatingPoint) -> pd.Series:
    """Which images reach the threshold of the category that they are taken for."""
    return rows["defect_probability"].astype(float) >= _thresholds(rows, point)


def _thresholds(rows: pd.DataFrame, point: OperatingPoint) -> pd.Series:
    return point.thresholds(rows.get("category_predicted"), rows.index)


def _operating_point(
    predictions: pd.DataFrame, crossfit: pd.DataFrame, rule: params.OperatingPoint
) -> OperatingPoint:
    val = predictions[predictions["split"] == splits.VAL]
    if len(crossfit) and "group" in val:
        group = predictions.set_index("path")["group"]
        crossfit = crossfit.assign(group=crossfit["path"].map(group))
    held_out = pd.concat([val, crossfit] if len(crossfit) else [val], ignore_index=True)
    if "category_predicted" not in predictions:  # no image would be taken for a category
        truth, scores = held_out["defective"], held_out["defect_probability"]
        return operating_point.choose(truth.to_numpy(), scores.to_numpy(), rule)
    train = predictions[predictions["split"] == splits.TRAIN]
    taught = set(train["category"][train["defective"] == 1])
    return operating_point.choose_each(held_out, rule, taught)


def _reviewed(test: pd.DataFrame, point: OperatingPoint, rule: params.OperatingPoint) -> dict:
    """What the middle band takes from the network, what is still wrong outside it, and the cost.

    Costs are in false alarms per image, with the band and without.
    """
    assert point.review and rule.value and rule.review
    bands = _thresholds(test, point).map(point.band)
    scores, bad = test["defect_probability"].astype(float), test["defective"] == 1
    looked = (scores >= bands.str["low"]) & (scores < bands.str["high"])
    alarm = _alarms(test, point)
    wrong = rule.value * (bad & ~alarm) + (~bad & alarm)
    return {
        "images": int(looked.sum()),
        "share": _mean(looked),
        "missed": int((bad & ~alarm & ~looked).sum()),
        "false_alarms": int((~bad & alarm & ~looked).sum()),
        "cost": _mean(wrong.where(~looked, rule.review)),
        "cost_without": _mean(wrong),
    }


def _unseen_types(predictions: pd.DataFrame, point: OperatingPoint) -> dict:
    """Recall on the test defects of whose type train and val have none; AUROC against good ones."""
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
    recall = _mean(_alarms(unseen, point))
    return {"images": len(unseen), "recall": recall} | areas


def calibration(truth: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """`brier`: the mean squared error of the probabilities; `ece`: how far they are off on average.

    Expected calibration error (Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602) over equal
    bins: the mean distance between a bin's mean probability and its share of defects.
    """
    if not len(truth):
        return {"brier": None, "ece": None}
    scores = np.asarray(scores, float)
    table = curves.reliability(truth, scores)
    off = (table["images"] * (table["probability"] - table["defective"]).abs()).sum()
    return {
        "brier": float(((scores - truth) ** 2).mean()),
        "ece": float(off / len(truth)),
    }


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _metrics(rows: pd.DataFrame, point: OperatingPoint | None, resamples: int) -> dict:
    result: dict = {"images": len(rows)}
    if "category_predicted" in rows:
        scores = _scores(rows["category"], rows["category_predicted"], average="weighted")
        result["category"] = scores
    if point is not None:
        truth, scores = rows["defective"].to_numpy(), rows["defect_probability"].to_numpy()
        group = rows["group"].to_numpy() if "group" in rows else np.arange(len(rows))
        decided = _alarms(rows, point).to_numpy()
        areas = auroc(truth, scores, rows["category"].to_numpy(), resamples, group)
        both = 0 < truth.sum() < len(truth)
        result["defect"] = {
            "defective": int(truth.sum()),
            "prevalence": float(truth.mean()) if len(truth) else None,
            **_scores(truth, decided.astype(int), average="binary"),
            **_shares(truth, decided, group, with_interval=resamples > 0),
            **areas,
            "average_precision": float(average_precision_score(truth, scores)) if both else None,
            **calibration(truth, scores),
        }
    return result


def _shares(truth: np.ndarray, decided: np.ndarray, group: np.ndarray, with_interval: bool) -> dict:
    """The false-alarm rate, and the intervals of it and of recall."""
    found: dict[str, float | None] = {}
    for name, kind in (("recall", 1), ("false_alarm_rate", 0)):
        value, low, high = intervals.share(decided[truth == kind], group[truth == kind])
        if kind == 0:
            found[name] = value
        if with_interval:
            found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def _one_category(rows: pd.DataFrame, point: OperatingPoint | None, resamples: int) -> dict:
    """The metrics that say something about the images of one category."""
    result = _metrics(rows, point, resamples)
    if "category" in result:
        result["category"] = {"accuracy": result["category"]["accuracy"]}
    if "defect" in result:
        for name in [key for key in result["defect"] if key.startswith("auroc_category_mean")]:
            del result["defect"][name]
        if point is not None and rows["category"].iloc[0] in point.by_category:
            result["defect"]["threshold"] = point.by_category[rows["category"].iloc[0]]
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
