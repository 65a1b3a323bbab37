"""Did the last round of answers help? The network that asked, compared with the one after it.

On the test images that both have seen, and on the photographs that were answered: what the first
said of them before anyone had answered, and what the second says of them as held out (train as it
was cross-fitted). Both are judged by today's labels.
"""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from twinhead import evaluation, files, paths
from twinhead.dataset import catalog, splits
from twinhead.errors import InputError
from twinhead.ingest import answers
from twinhead.review import held_out

RESAMPLES = 1000
ON = {"test": "test, the images of both", "reviewed": "the answered photographs, held out"}


@dataclass(frozen=True)
class Improvement:
    model: str
    """The network that asked: the first digits of its digest."""
    labels: dict[str, int]
    """How often which label was answered."""
    judged: dict[str, dict]
    """By ON's keys: `images`, and before, after and the difference of each number."""
    new_test: int
    gone_test: int
    """Test images that only one of the two networks has seen."""


def improved(options: Namespace) -> int:
    """Say whether the last round helped. Raises InputError where there is nothing to compare."""
    found = read()
    if found is None:
        raise InputError("there was no round of answers yet; `twinhead review` begins one")
    if found.model == _digest():
        raise InputError("nothing was trained since the last answers; run `dvc repro` first")
    for line in lines(found):
        print(line)
    return 0


def read() -> Improvement | None:
    """Compare what the workspace holds; None if there was no round."""
    paths.require(paths.CATALOG, paths.PREDICTIONS, paths.CROSSFIT, paths.metrics("evaluate"))
    metrics = files.read_json(paths.metrics("evaluate"))
    if "threshold" not in metrics or not paths.ROUND.exists():
        return None
    frame = catalog.read(paths.CATALOG)
    said = held_out.of_catalog(frame)
    said["sha256"] = frame["sha256"]
    given = answers.load(paths.ANSWERS).standing.reset_index()
    named = said.get("category_predicted", said["category"])  # decided as `evaluate` does it
    said["threshold"] = held_out.thresholds(metrics, named)
    return compare(said, given, held_out.of_round(paths.ROUND))


def last() -> Improvement | None:
    """What the last round changed; None where there was none, or nothing was trained since."""
    found = read()
    return None if found is None or found.model == _digest() else found


def compare(said: pd.DataFrame, given: pd.DataFrame, before: pd.DataFrame) -> Improvement | None:
    """Compare two networks; None where no answers are of the first one.

    Args:
        said: what the second says, held out: `sha256`, `split`, `category`, `defective`,
            `defect_probability`, `threshold`, `group`; without groups each image is its own.
        given: the answers that hold.
        before: what the first said of the test images, as `held_out.of_round` gives it.
    """
    if given.empty:
        return None
    last = given.sort_values("when", kind="stable")["model"].iloc[-1]
    given, before = given[given["model"] == last], before[before["model"] == last]
    known = said[said["defect_probability"].notna()].drop_duplicates("sha256").set_index("sha256")
    test = known[known["split"] == splits.TEST]
    before = before.drop_duplicates("sha256").set_index("sha256")
    usable = given[given["defect_probability"] != ""].set_index("sha256")
    judged = {}
    for name, now, then in (("test", test, before), ("reviewed", known, usable)):
        both = now.index.intersection(then.index, sort=True)
        judged[name] = _judged(now.loc[both], then.loc[both])
    return Improvement(
        last,
        {name: int((given["label"] == name).sum()) for name in answers.LABELS},
        judged,
        len(test.index.difference(before.index)),
        len(before.index.difference(test.index)),
    )


def lines(found: Improvement) -> Iterator[str]:
    """What changed, a line each."""
    labels = ", ".join(f"{count} {name}" for name, count in found.labels.items() if count)
    count = sum(found.labels.values())
    yield f"the last round: {count} answer{'' if count == 1 else 's'} ({labels})"
    for name, title in ON.items():
        judged = found.judged[name]
        yield ""
        yield f"{title}: {judged['images']:,}"
        if name == "test" and (found.new_test or found.gone_test):
            yield f"  (not compared: {found.new_test} new ones, {found.gone_test} that are gone)"
        if judged["auroc"]["before"] is not None:
            yield f"  {'AUROC, mean over categories':28} {_change(judged['auroc'], '.3f')}"
        for key in ("misses", "false alarms"):
            label = f"{key}, of {judged[key]['of']:,}"
            yield f"  {label:28} {_change(judged[key], 'd')}"
    yield ""
    yield verdict(found)


def verdict(found: Improvement) -> str:
    """One line: whether it is sure that the round helped on test."""
    area = found.judged["test"]["auroc"]
    if not found.judged["test"]["images"]:
        return "no test image was seen by both networks: nothing can be said"
    if area["low"] is None:
        return "test has no category with good and with defective images: nothing sure can be said"
    if area["low"] > 0:
        return "it helped: the interval of the difference on test lies above 0"
    if area["high"] < 0:
        return "it did harm: the interval of the difference on test lies below 0"
    return "no sure difference on test: the interval holds 0"


def numbers(found: Improvement | None) -> dict:
    """What MLflow gets."""
    if found is None:
        return {}
    return {
        "answers": sum(found.labels.values()),
        **{
            f"{name}_{key.replace(' ', '_')}_{when}": judged[key][when]
            for name, judged in found.judged.items()
            for key in ("auroc", "misses", "false alarms")
            for when in ("before", "after")
            if judged[key][when] is not None
        },
    }


def _judged(now: pd.DataFrame, then: pd.DataFrame) -> dict:
    truth = now["defective"].to_numpy(bool)
    after, before = (x["defect_probability"].to_numpy(float) for x in (now, then))
    categories = now["category"].to_numpy()
    groups = now["group"].to_numpy() if "group" in now else np.arange(len(now))
    areas = [
        evaluation.auroc(truth, scores, categories, resamples=0)["auroc_category_mean"]
        for scores in (before, after)
    ]
    ahead = evaluation.advantage(truth, after, before, categories, groups)
    alarm_before = before >= then["threshold"].to_numpy(float)
    alarm_after = after >= now["threshold"].to_numpy(float)
    return {
        "images": len(now),
        "auroc": {
            "before": areas[0],
            "after": areas[1],
            "difference": ahead["advantage"],
            "low": ahead.get("advantage_low"),
            "high": ahead.get("advantage_high"),
        },
        "misses": _counted(~alarm_before[truth], ~alarm_after[truth], groups[truth]),
        "false alarms": _counted(alarm_before[~truth], alarm_after[~truth], groups[~truth]),
    }


def _counted(before: np.ndarray, after: np.ndarray, groups: np.ndarray) -> dict:
    """Mistakes before and after, and the 95% interval of their difference.

    A bootstrap over the groups, each with what both said of its images.
    """
    change = after.astype(int) - before.astype(int)
    low = high = None
    if len(change):
        group = np.unique(groups, return_inverse=True)[1]
        of_group = np.bincount(group, weights=change)
        values, counts = np.unique(of_group, return_counts=True)
        drawn = np.random.default_rng(0).multinomial(
            len(of_group), counts / len(of_group), RESAMPLES
        )
        low, high = (float(x) for x in np.percentile(drawn @ values, (2.5, 97.5)))
    return {
        "before": int(before.sum()),
        "after": int(after.sum()),
        "difference": int(change.sum()),
        "low": low,
        "high": high,
        "of": len(change),
    }


def _change(found: dict, kind: str) -> str:
    sign = "+.3f" if kind == ".3f" else "+.0f"
    text = f"{found['before']:{kind}} → {found['after']:{kind}}"
    if found["low"] is None:
        return text
    span = f"{found['low']:{sign}} to {found['high']:{sign}}"
    if kind == ".3f" and found["high"] - found["low"] >= 2:  # all that there is between two areas
        few = "too few photographs changed places to say more"
        return f"{text}   {found['difference']:{sign}} ({few})"
    return f"{text}   {found['difference']:{sign}} (95% interval {span})"


def _digest() -> str:
    return held_out.digest(paths.MODEL) if paths.MODEL.exists() else ""
