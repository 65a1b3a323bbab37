"""How good the network is: in a few words, in full, by category, by defect, and by confusion."""

import pandas as pd
from scipy.stats import fisher_exact

from twinhead import paths
from twinhead.dataset import splits
from twinhead.evaluation import likeness
from twinhead.ingest import decoding, quality
from twinhead.report import thumbnails
from twinhead.report.rendering import counted, number, share, with_interval
from twinhead.report.results import Results

ORDER = (splits.VAL, splits.TEST, splits.TRAIN)
"""Val has chosen; test, beside it, judges."""
ROWS = {
    ("category", "accuracy"): "Category right",
    ("category", "f1"): "Category F1 (weighted)",
    ("defect", "auroc"): "Defect AUROC, pooled",
    ("defect", "auroc_category_mean"): "Defect AUROC, mean over categories",
    ("defect", "accuracy"): "Defect decision right",
    ("defect", "precision"): "Alarms that are right (precision)",
    ("defect", "recall"): "Defects found (recall)",
    ("defect", "false_alarm_rate"): "False alarms",
    ("defect", "f1"): "Defect F1",
    ("defect", "ece"): "Probabilities are off by (ECE)",
    ("defect", "brier"): "Their mean squared error (Brier)",
}
"""Of the table of all splits."""
MOST_CATEGORIES = 40
"""A larger confusion matrix is a list of confusions."""
MOST_CONFUSIONS = 100
DOUBT = 0.05
"""The chance that some category is called below the others by accident."""


def opening(results: Results) -> dict:
    """The answer in four numbers: of held-out images, and of those that it learned from."""
    root = results.settings.data.root
    defect = {name: results.judged[name].get("defect") for name in (splits.TEST, splits.TRAIN)}
    return {
        "root": root,
        "name": root.rstrip("/").rpartition("/")[2] or root,
        "index": results.metrics["index"],
        "train": results.metrics["train"],
        "skipped": int((results.remarks["kind"] == quality.SKIPPED[decoding.IMAGE]).sum()),
        "held_out": _counts(results.predictions, splits.TEST),
        "learned": _counts(results.predictions, splits.TRAIN),
        "defect": defect if defect[splits.TEST] else None,
        "below": below(results),
        "weakest": _weakest(results),
    }


def summary(results: Results) -> str:
    """The answer in a line, for the terminal."""
    test = results.judged[splits.TEST]
    told = []
    if "category" in test:
        told.append(f"category accuracy {number(test['category']['accuracy'])}")
    if defect := test.get("defect"):
        area = with_interval(defect, "auroc_category_mean")
        found, alarms = share(defect["recall"]), share(defect["false_alarm_rate"])
        told.append(f"defect AUROC {area} as the mean over categories")
        told.append(f"{found} of the defects found with {alarms} false alarms")
    return f"{counted(test['images'], 'test image')}: {', '.join(told)}"


def below(results: Results) -> list[dict]:
    """The categories that are surely below the others: in defects found, or in false alarms.

    Fisher's exact test of a category's test images against all others', one-sided, at DOUBT over
    the number of tests.
    """
    test, found = results.test, []
    if "defect_predicted" not in test:
        return []
    names = sorted(test["category"].unique())
    for what, kind, alarm in (("found", 1, 0), ("alarms", 0, 1)):
        rows = test[test["defective"] == kind]
        # Bad is a defect that raises no alarm, and a good image that does.
        bad = rows["defect_predicted"] == alarm
        for name in names:
            own = rows["category"] == name
            counts = [[int((bad & part).sum()), int((~bad & part).sum())] for part in (own, ~own)]
            if min(map(sum, counts)) == 0:
                continue
            if fisher_exact(counts, alternative="greater").pvalue > DOUBT / (2 * len(names)):
                continue
            shown = [pair[::-1] if kind else pair for pair in counts]
            (own_count, own_total), (count, total) = ((pair[0], sum(pair)) for pair in shown)
            found.append({"category": name, "what": what, "count": own_count, "total": own_total,
                          "others": count, "others_total": total})  # fmt: skip
    return found


def _weakest(results: Results) -> dict | None:
    """The category of the lowest AUROC, of those that have one, with what that rests on."""
    judged = results.judged[splits.TEST]["by_category"]
    areas = {
        name: values["defect"]["auroc"]
        for name, values in judged.items()
        if values.get("defect", {}).get("auroc") is not None
    }
    if len(areas) < 2:
        return None
    name = min(areas, key=lambda name: areas[name])
    defect = judged[name]["defect"]
    good = judged[name]["images"] - defect["defective"]
    return {"category": name, "good": good, "defect": defect}


def _counts(predictions: pd.DataFrame, split: str) -> dict[str, tuple[int, int]]:
    """How many of how many: defective images that raise an alarm, good ones that do, and all
    images whose category is right."""
    rows, found = predictions[predictions["split"] == split], {}
    if "defect_predicted" in rows:
        for name, value in (("defective", 1), ("good", 0)):
            alarms = rows["defect_predicted"][rows["defective"] == value]
            found[name] = int(alarms.sum()), len(alarms)
    if "category_predicted" in rows:
        right = rows["category"] == rows["category_predicted"]
        found["named"] = int(right.sum()), len(right)
    return found


def rule(point: dict) -> str:
    """The rule that chose the threshold, in words."""
    value = point.get("value")
    match point.get("rule"):
        case "f1":
            return "the best F1"
        case "recall":
            return f"a recall of {value:.1%}"
        case "false_alarm_rate":
            lowest = point["lowest_false_alarm_rate"]
            return f"a false-alarm rate of {value:.1%}; lowest possible {lowest:.1%}"
        case "cost":
            return f"a miss costing {value:g} false alarms"
        case "threshold":
            return "hand"
        case _:
            return "nothing"


def _good_only(point: dict | None) -> str | None:
    return None if point is None else rule(point | {"rule": "false_alarm_rate"})


def headline(results: Results) -> dict:
    """The metrics of all splits, and what simple guesses reach."""
    judged = results.judged
    guesses, rows = judged["baselines"], []
    for (head, name), label in ROWS.items():
        if head in judged[splits.TEST]:
            measured = [with_interval(judged[split][head], name) for split in ORDER]
            guessed = [guess.get(head) for guess in guesses.values()]
            others = ["–" if guess is None else number(guess[name]) for guess in guessed]
            rows.append([label, *measured, *others])
    return {
        "head": ["", *ORDER, *(name.replace("_", " ") for name in guesses)],
        "rows": rows,
        "threshold": judged.get("threshold"),
        "chosen_on": judged.get("threshold_chosen_on"),
        "by_hand": judged.get("operating_point", {}).get("rule") == "threshold",
        "rule": rule(judged.get("operating_point", {})),
        "good_only": _good_only(judged.get("operating_point", {}).get("good_only")),
        "unknown": judged[splits.TEST].get("unknown"),
        "twins": judged[splits.TEST].get("twins"),
        "far": likeness.FAR,
        "regression": "logistic_regression" in guesses,
    }


def by_category(results: Results) -> dict:
    return {"test": results.judged[splits.TEST]}


def by_defect_type(results: Results) -> dict | None:
    kinds = results.judged[splits.TEST].get("by_defect_type")
    if kinds is None:
        return None
    judged = [
        {"category": category, "kind": kind, **values}
        for category, found in kinds.items()
        for kind, values in found.items()
    ]
    hard = [row for row in judged if row["recall"] < 1]
    return {
        "hard": sorted(hard, key=lambda row: row["recall"]),
        "easy": [row for row in judged if row["recall"] == 1],
    }


def confusion(results: Results) -> dict:
    test, decisions = results.test, []
    if "defect_predicted" in test:
        names = ["good", "defective"]
        for split in ORDER:
            rows = results.predictions[results.predictions["split"] == split]
            truth, said = (
                rows[column].map(dict(enumerate(names)))
                for column in ("defective", "defect_predicted")
            )
            matrix = _matrix(truth, said, names)
            decisions.append({"split": split, "images": len(rows), "matrix": matrix})
    categories = _categories(test) if "category_predicted" in test else None
    return {"decisions": decisions, "categories": categories}


def _categories(test: pd.DataFrame) -> dict:
    names = sorted(set(test["category"]) | set(test["category_predicted"]))
    wrong = test[test["category"] != test["category_predicted"]]
    times = wrong.groupby(["category", "category_predicted"]).size()
    pairs = times.sort_values(ascending=False, kind="stable").head(MOST_CONFUSIONS)
    small = len(names) <= MOST_CATEGORIES
    return {
        "images": len(test),
        "wrong": len(wrong),
        "pairs": [(true, said, int(times)) for (true, said), times in pairs.items()],
        "matrix": _matrix(test["category"], test["category_predicted"], names) if small else None,
    }


def _matrix(truth: pd.Series, said: pd.Series, names: list[str]) -> dict[str, list[int]]:
    """By true name: how often each name was predicted, in the names' order."""
    pairs = pd.crosstab(truth, said).reindex(index=names, columns=names, fill_value=0)
    return {name: [int(images) for images in counts] for name, counts in pairs.iterrows()}


def curves(results: Results) -> dict | None:
    drawn = paths.PLOTS / "evaluate"
    about = {
        "roc": "ROC curves",
        "precision_recall": "Precision and recall",
        "reliability": "Reliability of the probabilities",
    }
    charts = [
        (thumbnails.chart(file), text)
        for name, text in about.items()
        if (file := drawn / f"{name}.png").is_file()
    ]
    return {"charts": charts} if charts else None
