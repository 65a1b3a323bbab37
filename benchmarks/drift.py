"""Does `twinhead drift` keep its promise, and does it see a drift in time?

Real photographs: the network is trained as the pipeline does it, on good images and defects. Then

undisturbed  each of 1,000 simulated days shows DAY good photographs, drawn from those that no
             network had learned from (cross-fitted train); the others are the reference. It prints
             how many days raise an alarm. Of the days of good test photographs, drawn with
             replacement and compared with all of the reference, it prints that, too: a lasting
             difference between train and test would count every day.
slow         good test photographs get darker, softer or shift sideways a little more each day. It
             prints the day on which `drift` says so, and the day on which twice as many good
             photographs as at first are called defective or unknown.

    python benchmarks/drift.py FOLDER [FOLDER ...] --work FOLDER [--categories …] [--seed 0]
"""

from collections.abc import Callable
from pathlib import Path

import detector
import detector_data
import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from twinhead import engine, params
from twinhead.dataset import catalog, splits, tables
from twinhead.drift import command, comparison
from twinhead.export import reference
from twinhead.export.decisions import Rules
from twinhead.model import detector as network

DAYS = 1000
DAY = 40
"""Photographs a day."""
STEPS = 20
"""Days of a slow drift."""
SLOW: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "dimming, 2% a day": lambda image, day: image.point(lambda value: value * (1 - 0.02 * day)),
    "blur, 0.15 pixels a day": lambda image, day: image.filter(
        ImageFilter.GaussianBlur(0.15 * day)
    ),
    "shift, 0.5% of a side a day": lambda image, day: image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, 0.005 * day * image.width, 0, 1, 0)
    ),
}


def main(folders: list[Path], work: Path, categories: list[str] | None, seed: int,
         memory: int) -> None:  # fmt: skip
    settings = detector.seeded(params.load(detector.REPOSITORY / "params.yaml"), seed)
    smaller = settings.model.model_copy(update={"memory": memory})
    settings = settings.model_copy(update={"model": smaller})
    given = detector_data.prepare(folders, work, settings, categories)
    split, group = given.split(settings.split)
    fitted = detector.fit(given, split, group, settings)
    kept = given.kept / detector.network_name(given.frame, split, settings)
    crossfit = tables.read(kept / "crossfit.csv")
    names = catalog.categories(given.frame)
    rules = Rules(fitted.metrics["threshold"], fitted.metrics.get("thresholds", {}))
    usual = reference.collect(crossfit, given.frame, given.source.pixels)
    assert usual is not None  # the pipeline's network is cross-fitted
    good = np.flatnonzero((split == splits.TEST) & (given.frame["defective"] == 0))
    look, images = engine.fastest(fitted.model), given.source.pixels[good]
    now = command.said(look(images), names, images)
    rng = np.random.default_rng(seed)
    print(f"{len(usual)} good photographs of train, {len(good)} of test; {', '.join(names)}\n")
    print("| days without a disturbance | alarms of 1,000 | promised |\n|---|---|---|")
    promised = f"{DAYS * comparison.FALSE_ALARMS:.0f}"
    print(f"| of cross-fitted train | {_days(usual, None, rules, rng)} | {promised} |")
    print(f"| of test | {_days(usual, now, rules, rng)} | {promised} |\n", flush=True)
    print("| | drift is said on day | false alarms have doubled on day |\n|---|---|---|")
    for name, change in SLOW.items():
        print(f"| {name} | {_slow(look, images, names, usual, rules, change)} |",
              flush=True)  # fmt: skip


def _days(
    usual: pd.DataFrame, now: pd.DataFrame | None, rules: Rules, rng: np.random.Generator
) -> int:
    alarms = 0
    for _ in range(DAYS):
        if now is None:
            chosen = rng.choice(len(usual), DAY, replace=False)
            day, others = usual.iloc[chosen], usual.drop(usual.index[chosen])
        else:
            day, others = now.iloc[rng.choice(len(now), DAY)], usual
        alarms += comparison.compare(day, others, rules.threshold_of, network.UNUSUAL).drifted
    return alarms


def _slow(
    look: engine.Engine,
    good: np.ndarray,
    names: list[str],
    usual: pd.DataFrame,
    rules: Rules,
    change: Callable[[Image.Image, int], Image.Image],
) -> str:
    """The two days, or "–" for one that didn't come. All good test photographs are shown."""
    said = doubled = None
    first = 0.0
    for day in range(STEPS + 1):
        images = np.stack([np.asarray(change(Image.fromarray(image), day)) for image in good])
        now = command.said(look(images), names, images)
        limits = now["category"].map(rules.threshold_of).astype(float)
        called = ((now["score"] >= limits) | (now["unusual"] > network.UNUSUAL)).mean()
        if not day:
            first = max(called, 1 / len(good))
        elif called >= 2 * first and doubled is None:
            doubled = day
        if said is None:
            compared = comparison.compare(now, usual, rules.threshold_of, network.UNUSUAL)
            said = day if compared.drifted else None
        if said is not None and doubled is not None:
            break
    return " | ".join("–" if day is None else str(day) for day in (said, doubled))


if __name__ == "__main__":
    parser = detector_data.parser(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=500, help="patches of each category")
    chosen = parser.parse_intermixed_args()
    main(chosen.folders, chosen.work, chosen.categories, chosen.seed, chosen.memory)
