"""How good is the detector? The command behind every figure in docs/results.md.

Indexes the folders and runs the backbone over their photographs once, into --work; then each mode
splits, trains the heads, and answers, by the stages' own functions and params.yaml. It prints
Markdown and keeps its rows as CSV in --work/results: what has its rows isn't measured again, as
long as neither the code that decides them nor the params change.

quality   random split: both answers, calibration and heat maps, against logistic regression
official  MVTec AD's own folders: trained on good images alone
few       at most k labelled defects a category, k = 0, 1, 2, 5, 10, all; leaves a table and a
          curve in --into; the report shows those of its own photographs in docs/labels
unseen    each defect type left out of training in turn
odd       frames without a product, other products, out of focus, half covered; and good ones as
          another day's camera may give them, which shouldn't be refused
painted   squares, smears and scratches painted on good photographs

    python benchmarks/detector.py FOLDER [FOLDER ...] --work FOLDER MODE [--seeds 0 1 2]

Other params than the shipped ones come by --params FILE; another data.image_size wants a --work of
its own, or all is decoded anew.
"""

import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import detector_data
import detector_photographs as made
import keras
import numpy as np
import pandas as pd
import stress
from detector_data import Photographs
from matplotlib.figure import Figure

from twinhead import evaluation, files, params
from twinhead.attribution import localisation, maps
from twinhead.dataset import catalog, splits, tables
from twinhead.ingest import layout
from twinhead.model import detector, inference, network, nuisance, stacking, training
from twinhead.model.batches import at_a_time
from twinhead.model.inference import Source
from twinhead.model.readings import COARSE, FINE, LEARNED, READINGS
from twinhead.plots import style
from twinhead.report import comparison, results

REPOSITORY = Path(__file__).resolve().parents[1]
DECIDING = ("attribution", "backbones", "dataset", "evaluation", "ingest", "model", "partition")
"""Folders of src/twinhead whose code decides the figures."""
BESIDE = ("detector_data.py", "detector_photographs.py", "stress.py")
"""So does that of these, in benchmarks/; a changed mode wants its rows taken out of --work."""
LABELLED = (0, 1, 2, 5, 10, None)
ORDER = ["all" if k is None else str(k) for k in LABELLED]
FEW_READINGS = {
    "combination": "all readings together",
    "memory": "memory of good patches alone",
    LEARNED: "learned per patch alone",
}
HELD_OUT = 10
"""Good test photographs a category that are shown spoilt, changed or painted."""
CHANGED = {
    "10% darker": stress.brighter(-0.1),
    "10% brighter": stress.brighter(0.1),
    "2% warmer": stress.warmer(0.02),
    "JPEG quality 80": nuisance.jpeg(80),
    "noise 2 of 255": nuisance.noise(2),
    "grey noise 2 of 255": nuisance.noise(2, grey=True),
}
"""What another day's camera may do to a good photograph; no amount is one that is learned."""


@dataclass(frozen=True)
class Fitted:
    model: keras.Model
    predictions: pd.DataFrame
    """Of every photograph, decided at the chosen threshold."""
    metrics: dict
    """As metrics/evaluate.json."""
    seconds: float
    """Of the memory, the patch networks and the calibration together."""

    @property
    def test(self) -> pd.DataFrame:
        return self.predictions[self.predictions["split"] == splits.TEST]


@dataclass(frozen=True)
class Mode:
    """cases: what is measured one by one, in so many words; measure: the rows of one case."""

    cases: Callable[[Photographs], list[dict]]
    measure: Callable[[Photographs, params.Params, dict], Iterator[dict]]
    table: Callable[[pd.DataFrame], str]
    seeds: tuple[int, ...] = (0,)


def main(
    folders: list[Path],
    work: Path,
    name: str,
    seeds: list[int],
    categories: list[str] | None,
    into: Path | None,
    params_file: Path,
) -> None:
    settings, mode = params.load(params_file), MODES[name]
    given = detector_data.prepare(folders, work, settings, categories)
    names, file = catalog.categories(given.frame), work / f"results/{name}.csv"
    file.parent.mkdir(exist_ok=True)
    digest = sha256(given.frame["sha256"].str.cat().encode()).hexdigest()[:8]
    key = {"version": code_version(settings), "photographs": digest}
    for seed in seeds or mode.seeds:
        for case in mode.cases(given):
            wanted = {k: str(v) for k, v in (key | {"seed": seed} | case).items()}
            if is_measured(detector_data.read(file), wanted):
                continue
            started = time.perf_counter()
            rows = [wanted | row for row in mode.measure(given, seeded(settings, seed), case)]
            detector_data.append(rows, file)
            print(f"{name} {seed} {case}: {time.perf_counter() - started:.0f} s", flush=True)
    rows = detector_data.read(file)
    rows = rows[(rows[list(key)] == pd.Series(key)).all(axis=1)]
    rows = rows[rows["seed"].isin([str(seed) for seed in seeds or mode.seeds])]
    print(f"\n{len(given.frame):,} photographs, {len(names)} categories: {', '.join(names)}\n")
    rows = rows.apply(as_numbers)
    print(mode.table(rows))
    if name == "few":
        write_few(rows, given.frame, settings, into or work / "results")


def fit(given: Photographs, split: pd.Series, group: pd.Series, settings: params.Params) -> Fitted:
    """Train the heads and the readings as the stage `train` does; answer and judge.

    What the modes have in common is trained once, and kept beside the pixels.
    """
    source, frame = given.source, given.frame
    kept = given.kept / network_name(frame, split, settings)
    if not kept.exists():
        train(given, split, group, settings, kept)
    model, crossfit = network.load(kept / "model.keras"), tables.read(kept / "crossfit.csv")
    answers = inference.predict(model, source, frame, split, catalog.categories(frame))
    metrics = evaluation.judge(answers, crossfit, settings.evaluate)
    seconds = json.loads((kept / "seconds.json").read_text())
    return Fitted(model, evaluation.decide(answers, metrics), metrics, seconds)


def train(
    given: Photographs, split: pd.Series, group: pd.Series, settings: params.Params, kept: Path
) -> None:
    """Train as `fit` says; leave model.keras, crossfit.csv and seconds.json in `kept`."""
    source, frame = given.source, given.frame
    with tempfile.TemporaryDirectory() as state:
        size = source.pixels.shape[1]
        result = training.train(
            source.inputs, size, frame, split, settings.model, settings.train, Path(state)
        )
    started = time.perf_counter()
    crossfit = training.add_readings(result, source, given.masks, frame, split, group, settings)
    seconds = time.perf_counter() - started
    with files.whole(kept) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        network.save(result.best(), folder / "model.keras")
        files.write_table(crossfit, folder / "crossfit.csv")
        files.write_json(seconds, folder / "seconds.json")


def network_name(frame: pd.DataFrame, split: pd.Series, settings: params.Params) -> str:
    """Name what decides a network: photographs, labels, their splits, code and params."""
    seen = sha256(code_version(settings).encode())
    seen.update(frame.assign(split=split).to_csv().encode())
    seen.update(f"{settings.model_dump_json(include={'model', 'train'})}".encode())
    return seen.hexdigest()[:16]


def heat(given: Photographs, fitted: Fitted) -> dict[str, dict]:
    """Pixel AUROC, AUPRO and pointing of the test images, by category and of "all"."""
    test = localisation.with_outcomes(fitted.test)
    found = list(maps.maps(fitted.model, given.source, list(test.index), "defect", "best"))
    size, result = given.source.pixels.shape[1], {}
    for name in ["all", *catalog.categories(given.frame)]:
        own = ((test["category"] == name) | (name == "all")).to_numpy()
        shown = (found[place] for place in np.flatnonzero(own))
        scores = localisation.score(test[own], shown, given.masks, size).metrics
        result[name] = {key: scores[key] for key in ("pixel_auroc", "aupro", "pointing_hit")}
    return result


def alone(given: Photographs, fitted: Fitted, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What single readings say of some photographs, in spreads of good ones: (rows,) each.

    `memory` is the fine and the coarse distance, weighed as without labelled defects.
    """
    model, part = fitted.model, network.trunk(fitted.model).output
    tops = {name: model.get_layer(f"{name}_top").output for name in (FINE, COARSE, LEARNED)}
    reader, found = keras.Model(list(part.values()), tops), {name: [] for name in tops}
    size = at_a_time(given.source.pixels.shape[1])
    for start in range(0, len(rows), size):
        read = given.source.read(rows[start : start + size])
        answer = reader([read[name] for name in part], training=False)
        for name in tops:
            found[name].append(np.asarray(answer[name])[:, 0])
    codes = given.frame["category"].astype("category").cat.codes.to_numpy()[rows]
    result, memory = {}, 0.0
    for name, parts in found.items():
        values, level = np.concatenate(parts), model.get_layer(f"{name}_reading")
        values = values if name == LEARNED else np.log(values)
        mean, scale = np.asarray(level.mean)[codes, 0], np.asarray(level.scale)[codes, 0]
        result[name] = (values - mean) / scale
        memory += stacking.PRIOR[READINGS.index(name)] * result[name]
    return {"memory": memory, LEARNED: result[LEARNED]}


def quality(given: Photographs, settings: params.Params, case: dict) -> Iterator[dict]:
    split, group = given.split(settings.split)
    fitted = fit(given, split, group, settings)
    pooled = given.source.inputs
    baseline = evaluation.judge_baselines(fitted.predictions, lambda rows: pooled[rows, 0])
    logistic = baseline["logistic_regression"]["defect"]
    test, names = fitted.metrics["test"], catalog.categories(given.frame)
    areas = {name: test["by_category"][name]["defect"]["auroc"] for name in names}
    areas = {name: area for name, area in areas.items() if area is not None}
    heated = heat(given, fitted)
    yield {
        "category": "all",
        "auroc_mean": test["defect"]["auroc_category_mean"],
        "auroc_mean_low": test["defect"]["auroc_category_mean_low"],
        "auroc_mean_high": test["defect"]["auroc_category_mean_high"],
        "auroc_worst": min(areas.values()),
        "auroc": test["defect"]["auroc"],
        "auroc_low": test["defect"]["auroc_low"],
        "auroc_high": test["defect"]["auroc_high"],
        "category_accuracy": test["category"]["accuracy"],
        "logistic_mean": logistic["auroc_category_mean"],
        "logistic": logistic["auroc"],
        "logistic_f1": logistic["f1"],
        **_shared(test),
        **heated["all"],
    }
    for name in names:
        own = test["by_category"][name]
        rows = test | own | {"unknown": _unknown(fitted.test[fitted.test["category"] == name])}
        yield {"category": name, "auroc": own["defect"]["auroc"], **_shared(rows), **heated[name]}


def _shared(test: dict) -> dict:
    defect = {name: test["defect"][name] for name in ("accuracy", "f1", "recall", "brier", "ece")}
    counted = {"images": test["images"], "defective": test["defect"]["defective"]}
    return counted | defect | {"refused": test["unknown"]["good"]}


def _unknown(test: pd.DataFrame) -> dict:
    return {"good": float(1 - test["known"][test["defective"] == 0].mean())}


QUALITY = {
    "auroc_mean": "defect AUROC, mean over categories", "auroc_worst": "worst category",
    "auroc": "pooled", "category_accuracy": "category accuracy",
    "f1": "F1 at the chosen threshold", "recall": "recall there", "accuracy": "accuracy there",
    "ece": "ECE", "brier": "Brier", "refused": "good photographs called unknown",
    "pixel_auroc": "heat maps: pixel AUROC", "aupro": "heat maps: AUPRO",
    "pointing_hit": "heat maps: peak in the mask",
    "logistic_mean": "logistic regression: mean over categories", "logistic": "pooled",
    "logistic_f1": "F1",
}  # fmt: skip


def quality_table(rows: pd.DataFrame) -> str:
    of_all, first = rows[rows["category"] == "all"], rows["seed"].min()
    lines = ["| | mean (lowest–highest) over seeds | 95% interval, first seed |", "|---|---|---|"]
    for name, text in QUALITY.items():
        row, low = of_all[of_all["seed"] == first].iloc[0], f"{name}_low"
        known = f"{row[low]:.3f}–{row[f'{name}_high']:.3f}" if low in row else ""
        lines.append(f"| {text} | {span(of_all[name])} | {known} |")
    columns = ("auroc", "f1", "recall", "pixel_auroc", "aupro", "pointing_hit", "refused")
    return "\n".join([*lines, "", _by_category(rows, columns)])


def official(given: Photographs, settings: params.Params, case: dict) -> Iterator[dict]:
    chosen = settings.split.model_copy(update={"protocol": "official"})
    split, group = given.split(chosen)
    fitted = fit(given, split, group, settings)
    names, test = catalog.categories(given.frame), fitted.metrics["test"]
    train, heated = int((split == splits.TRAIN).sum()), heat(given, fitted)
    for name in ["all", *names]:
        own = fitted.test[(fitted.test["category"] == name) | (name == "all")]
        told = own["defect_predicted"].groupby(own["defective"]).mean()
        area = test["defect"]["auroc_category_mean"]
        yield {
            "category": name,
            "train": train if name == "all" else None,
            "seconds": fitted.seconds if name == "all" else None,
            "images": len(own),
            "auroc": area if name == "all" else test["by_category"][name]["defect"]["auroc"],
            "false_alarms": told.get(0),
            "recall": told.get(1),
            "refused": _unknown(own)["good"],
            **heated[name],
        }


def official_table(rows: pd.DataFrame) -> str:
    of_all = rows[rows["category"] == "all"]
    columns = ("auroc", "pixel_auroc", "aupro", "pointing_hit", "false_alarms", "recall", "refused")
    return (
        f"{_by_category(rows, columns, with_all=True)}\n\nFitted to {of_all['train'].iloc[0]:.0f}"
        f" good photographs in {span(of_all['seconds'], 1)} s, three folds and all of them."
    )


def few(given: Photographs, settings: params.Params, case: dict) -> Iterator[dict]:
    labelled = case["labelled"] if case["labelled"] != "all" else None
    chosen = settings.split.model_copy(update={"train_defects": labelled})
    split, group = given.split(chosen)
    fitted = fit(given, split, group, settings)
    test = fitted.test
    single = alone(given, fitted, test.index.to_numpy())
    scores = {"combination": test["defect_probability"].to_numpy()} | single
    truth, names = test["defective"].to_numpy(), test["category"].to_numpy()
    told = {"f1": fitted.metrics["test"]["defect"]["f1"],
            "ece": fitted.metrics["test"]["defect"]["ece"]}  # fmt: skip
    for reading, values in scores.items():
        for name in ["all", *sorted(set(names))]:
            own = (names == name) | (name == "all")
            areas = evaluation.auroc(truth[own], values[own], names[own], resamples=0)
            row = {"reading": reading, "category": name, "auroc": areas["auroc_category_mean"]}
            yield row | (told if reading == "combination" and name == "all" else {})


def few_table(rows: pd.DataFrame) -> str:
    lines = areas_table(rows)
    together = rows[(rows["category"] == "all") & (rows["reading"] == "combination")]
    for measure in ("f1", "ece"):
        lines.append(_by_number(measure.upper(), together, measure))
    return "\n".join(lines)


def areas_table(rows: pd.DataFrame) -> list[str]:
    """AUROC on test against labelled defects, of each reading and category: lines of Markdown."""
    of_all = rows[rows["category"] == "all"]
    lines = [
        f"| labelled defects a category | {' | '.join(ORDER)} |",
        f"|---|{'---|' * len(ORDER)}",
    ]
    for reading, text in FEW_READINGS.items():
        lines.append(_by_number(f"{text}, mean", of_all[of_all["reading"] == reading], "auroc"))
    together = rows[rows["reading"] == "combination"]
    for name in sorted(set(rows["category"]) - {"all"}):
        lines.append(_by_number(name, together[together["category"] == name], "auroc"))
    return lines


def _by_number(text: str, rows: pd.DataFrame, measure: str) -> str:
    found = rows.groupby(rows["labelled"].astype(str))[measure]
    cells = [
        "–" if _no_labels(rows["reading"].iat[0], k) else span(found.get_group(k)) for k in ORDER
    ]
    return f"| {text} | {' | '.join(cells)} |"


def write_few(
    rows: pd.DataFrame, frame: pd.DataFrame, settings: params.Params, folder: Path
) -> None:
    """Write the curve and the table, as the report reads them."""
    seeds = ", ".join(map(str, sorted(rows["seed"].unique())))
    told = f"Data: {len(frame):,} photographs; seeds of split and training: {seeds}"
    known = dict(params.flat(params.relevant(settings)))
    made_of = comparison.made_of(layout.digest(frame), known, comparison.BY_LABELS)
    draw_few(rows, folder / results.LABELS_CURVE.name)
    with files.whole(folder / results.LABELS_TABLE.name) as part:
        lines = [told, "", made_of, "", *areas_table(rows), ""]
        part.write_text("\n".join(lines), encoding="utf-8")


def draw_few(rows: pd.DataFrame, path: Path) -> None:
    """The curve of held-out AUROC against labelled defects; bars from lowest to highest seed."""
    rows = rows[rows["category"] == "all"].assign(labelled=rows["labelled"].astype(str))
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    looks = (
        (style.COLOURS[splits.TEST], "o-"),
        (style.GOOD, "s--"),
        (style.COLOURS[splits.VAL], "^--"),
    )
    readings = zip(FEW_READINGS.items(), looks, strict=True)
    for place, ((reading, text), (colour, line)) in enumerate(readings):
        known = [k for k in ORDER if not _no_labels(reading, k)]
        own = rows[rows["reading"] == reading].groupby("labelled")["auroc"]
        mean, low, high = (getattr(own, name)()[known] for name in ("mean", "min", "max"))
        x = np.array([ORDER.index(k) for k in known]) + 0.06 * (place - 1)
        bars = np.array([mean - low, high - mean])
        axes.errorbar(x, mean, bars, fmt=line, color=colour, label=text, capsize=3, markersize=5)
    axes.set_xticks(range(len(ORDER)), ORDER)
    axes.set_xlabel("labelled defects a category, at most")
    axes.set_ylabel("AUROC on test, mean over categories")
    axes.set_ylim(min(rows["auroc"][rows["labelled"] != "0"].min() - 0.02, 0.9), 1.005)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(FEW_READINGS), fontsize="small")
    style.save(figure, path)


def _no_labels(reading: str, labelled: str) -> bool:
    return reading == LEARNED and labelled == "0"


def left_out(given: Photographs) -> list[dict]:
    """Rounds: the n-th leaves out the n-th defect type of each category that has so many."""
    frame = given.frame[given.frame["defective"] == 1]
    types = frame.groupby("category")["defect_type"].nunique()
    return [{"round": number} for number in range(types.max())]


def unseen(given: Photographs, settings: params.Params, case: dict) -> Iterator[dict]:
    split, group = given.split(settings.split)
    frame, out = given.frame, []
    for name, own in frame[frame["defective"] == 1].groupby("category"):
        types = sorted(own["defect_type"].unique())
        if case["round"] < len(types):
            out.append((name, types[case["round"]], len(types)))
    for name, kind, _ in out:
        of_kind = (frame["category"] == name) & (frame["defect_type"] == kind)
        split[of_kind & split.isin([splits.TRAIN, splits.VAL])] = splits.UNUSED
    fitted = fit(given, split, group, settings)
    test = fitted.test
    single = alone(given, fitted, test.index.to_numpy())
    for name, kind, types in out:
        unseen_here = (test["category"] == name) & (test["defect_type"] == kind)
        rows = unseen_here | ((test["category"] == name) & (test["defective"] == 0))
        if not unseen_here.any():
            continue
        truth, names = test["defective"][rows].to_numpy(), test["category"][rows].to_numpy()
        found = {
            reading: evaluation.auroc(truth, values, names, resamples=0)["auroc"]
            for reading, values in (
                ("combination", test["defect_probability"][rows].to_numpy()),
                ("memory", single["memory"][rows.to_numpy()]),
            )
        }
        yield {
            "category": name,
            "defect_type": kind,
            "other_types": types - 1,
            "images": int(unseen_here.sum()),
            "recall": float(test["defect_predicted"][unseen_here].mean()),
            **found,
        }


def unseen_table(rows: pd.DataFrame) -> str:
    lines = [
        "| category | type left out | other types known | test images (all seeds) | recall"
        " | AUROC | of the memory alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, kind), own in rows.groupby(["category", "defect_type"]):
        cells = [span(own[column]) for column in ("recall", "combination", "memory")]
        known = f"{own['other_types'].iloc[0]:.0f} | {own['images'].sum():.0f}"
        lines.append(f"| {name} | {kind} | {known} | {' | '.join(cells)} |")
    recall = np.average(rows["recall"], weights=rows["images"])
    areas = [f"{rows[column].mean():.3f}" for column in ("combination", "memory")]
    total = f"{rows['images'].sum():.0f} | {recall:.3f} | {' | '.join(areas)}"
    return "\n".join([*lines, f"| **all** | | | {total} |"])


def shown(given: Photographs) -> list[dict]:
    """A network for each category alone, and two that each know every other category."""
    return [{"trained": name} for name in [*catalog.categories(given.frame), *HALVES]]


HALVES = ("half 0", "half 1")


def odd(given: Photographs, settings: params.Params, case: dict) -> Iterator[dict]:
    names = catalog.categories(given.frame)
    if case["trained"] in HALVES:
        trained = names[HALVES.index(case["trained"]) :: 2]
        if len(trained) == len(names):
            return
    else:
        trained = [case["trained"]]
    known = given.of(trained)
    split, group = known.split(settings.split)
    fitted = fit(known, split, group, settings)
    rng = np.random.default_rng(settings.split.seed)
    size, pixels = known.source.pixels.shape[1], known.source.pixels
    own = _held_out(fitted.test, rng)
    images, kinds = [], []
    for kind in made.BLANK:
        drawn = HELD_OUT if "noise" in kind else 1
        images += [made.blank(kind, size, rng) for _ in range(drawn)]
        kinds += [kind] * drawn
    for kind in made.SPOILT:
        images += [made.spoilt(kind, pixels[row], rng) for row in own]
        kinds += [kind] * len(own)
    for kind, alter in CHANGED.items():
        images += [alter(pixels[row], rng) for row in own]
        kinds += [kind] * len(own)
    frame = given.frame[(given.frame["defective"] == 0) & ~given.frame["category"].isin(trained)]
    for _, rows in frame.groupby("category"):
        others = rng.permutation(rows.index)[:HELD_OUT]
        images += list(given.source.pixels[others])
        kinds += ["another product"] * len(others)
    told = _ask(fitted, np.stack(images)).groupby(kinds)
    for kind, rows in told:
        yield {
            "kind": kind,
            "images": len(rows),
            "stopped": float((rows["unknown"] | rows["defective"]).mean()),
            "unknown": float(rows["unknown"].mean()),
        }
    good = fitted.test[fitted.test["defective"] == 0]
    yield {
        "kind": "good",
        "images": len(good),
        "stopped": float(((good["known"] == 0) | (good["defect_predicted"] == 1)).mean()),
        "unknown": _unknown(fitted.test)["good"],
    }


def odd_table(rows: pd.DataFrame) -> str:
    """Shares of photographs: stopped is unknown or defective, refused is unknown."""
    kinds = [*made.BLANK, "another product", *made.SPOILT]
    refused = [f"good, {kind}: refused" for kind in CHANGED]
    lines = [
        f"| trained on | {' | '.join(kinds)} | good: refused | good: refused or defective |"
        f" {' | '.join(refused)} |",
        f"|---|{'---|' * (len(kinds) + 2 + len(refused))}",
    ]

    def cells(own: pd.DataFrame) -> str:
        found = []
        for kind, column in [*((k, "stopped") for k in kinds), ("good", "unknown"),
                             ("good", "stopped"), *((k, "unknown") for k in CHANGED)]:  # fmt: skip
            some = own[own["kind"] == kind]
            share = np.average(some[column], weights=some["images"]) if len(some) else np.nan
            found.append("–" if np.isnan(share) else f"{share:.3f}" if kind == "good"
                         else f"{share:.0%}")  # fmt: skip
        return " | ".join(found)

    for name, own in rows.groupby("trained"):
        lines.append(f"| {name} | {cells(own)} |")
    of_one = ~rows["trained"].isin(HALVES)
    lines.append(f"| **each category alone, all** | {cells(rows[of_one])} |")
    if not of_one.all():
        lines.append(f"| **halves, both** | {cells(rows[~of_one])} |")
    return "\n".join(lines)


def paint(given: Photographs, settings: params.Params, case: dict) -> Iterator[dict]:
    split, group = given.split(settings.split)
    fitted = fit(given, split, group, settings)
    rng = np.random.default_rng(settings.split.seed)
    own = _held_out(fitted.test, rng)
    names, pixels = given.frame["category"].to_numpy(), given.source.pixels
    cases = pd.DataFrame(
        [
            (form, share, contrast, row)
            for form, sizes in made.PAINTED.items()
            for share, contrast, row in itertools.product(sizes, made.CONTRASTS, own)
        ],
        columns=["form", "share", "contrast", "row"],
    )

    def image(number: int) -> np.ndarray:
        form, share, contrast, row = cases.iloc[number]
        chance = np.random.default_rng((settings.split.seed, number))
        return made.painted(form, share, contrast, pixels[row], chance)

    told = _ask(fitted, _Made(image, len(cases)))
    cases["category"], cases["found"] = names[cases["row"]], told["defective"] | told["unknown"]
    for key, found in cases.groupby(["form", "share", "contrast", "category"])["found"]:
        described = dict(zip(("form", "share", "contrast", "category"), key, strict=True))
        yield described | {"images": len(found), "found": float(found.mean())}
    before = fitted.predictions.loc[own, "defect_predicted"]
    for name, rows in before.groupby(names[own]):
        nothing = {"form": "nothing", "share": 0.0, "contrast": 0.0, "category": name}
        yield nothing | {"images": len(rows), "found": float(rows.mean())}


def painted_table(rows: pd.DataFrame) -> str:
    lines = [
        f"| painted | length | {' | '.join(f'contrast {c:g}' for c in made.CONTRASTS)} |",
        f"|---|---|{'---|' * len(made.CONTRASTS)}",
    ]
    for (form, share), own in rows.groupby(["form", "share"]):
        if form == "nothing":
            alarms = np.average(own["found"], weights=own["images"])
            lines.append(
                f"| nothing, called defective | | {f'{alarms:.0%} | ' * len(made.CONTRASTS)}"
            )
            continue
        found = own.groupby("contrast").apply(
            lambda some: np.average(some["found"], weights=some["images"]), include_groups=False
        )
        cells = [f"{found[contrast]:.0%}" for contrast in made.CONTRASTS]
        lines.append(f"| {form} | {share:.0%} | {' | '.join(cells)} |")
    squares = rows[(rows["form"] == "square") & (rows["share"] >= 0.03)]
    lines += ["", "Squares from 3% of a side on:", ""]
    lines += [f"| category | {' | '.join(f'contrast {c:g}' for c in made.CONTRASTS)} |"]
    lines += [f"|---|{'---|' * len(made.CONTRASTS)}"]
    found = squares.groupby(["category", "contrast"])["found"].mean().unstack()
    lines += [
        f"| {name} | {' | '.join(f'{value:.0%}' for value in row)} |"
        for name, row in found.iterrows()
    ]
    return "\n".join(lines)


def _held_out(test: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """HELD_OUT good test photographs of each category, by row."""
    good = test[test["defective"] == 0]
    return np.concatenate(
        [rng.permutation(rows.index)[:HELD_OUT] for _, rows in good.groupby("category")]
    )


class _Made:
    """Photographs that are made when they are asked for: all at once would fill the memory."""

    def __init__(self, image: Callable[[int], np.ndarray], count: int) -> None:
        self.image, self.count = image, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self.image(int(row)) for row in rows])


def _ask(fitted: Fitted, images: np.ndarray | _Made) -> pd.DataFrame:
    """Whether the network calls each photograph `defective`, and whether `unknown`."""
    answers = list(inference.answers(fitted.model, Source(images), range(len(images))))
    defect, unusual = (
        np.concatenate([answer[name][:, 0] for answer in answers]) for name in ("defect", "unusual")
    )
    reached = defect.astype(float) >= fitted.metrics["threshold"]
    return pd.DataFrame({"defective": reached, "unknown": unusual > detector.UNUSUAL})


def _by_category(rows: pd.DataFrame, columns: tuple[str, ...], with_all: bool = False) -> str:
    texts = {"auroc": "AUROC", "f1": "F1", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO",
             "pointing_hit": "peak in the mask", "refused": "good: unknown",
             "false_alarms": "false alarms"}  # fmt: skip
    lines = [
        f"| category | {' | '.join(texts.get(name, name) for name in columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    names = sorted(set(rows["category"]) - {"all"})
    for name in names + ["all"] * with_all:
        own = rows[rows["category"] == name]
        cells = " | ".join(span(own[column]) for column in columns)
        lines.append(f"| {f'**{name}**' if name == 'all' else name} | {cells} |")
    return "\n".join(lines)


def span(values: pd.Series, digits: int = 3) -> str:
    """Mean, and the lowest and highest where there are several that differ."""
    known = pd.to_numeric(values, errors="coerce").dropna()
    if not len(known):
        return "–"
    mean, low, high = (f"{x:.{digits}f}" for x in (known.mean(), known.min(), known.max()))
    return mean if low == high else f"{mean} ({low}–{high})"


def seeded(settings: params.Params, seed: int) -> params.Params:
    """The params with this seed for the split and for the training."""
    changed = {
        name: getattr(settings, name).model_copy(update={"seed": seed})
        for name in ("split", "train")
    }
    return settings.model_copy(update=changed)


def is_measured(rows: pd.DataFrame, wanted: dict[str, str]) -> bool:
    """Whether the results have a row with all that is wanted, by column."""
    if not set(wanted) <= set(rows):
        return False
    return bool((rows[list(wanted)] == pd.Series(wanted)).all(axis=1).any())


def code_version(settings: params.Params) -> str:
    """Name the code and the params that decide the figures."""
    seen = sha256(settings.model_dump_json(exclude={"sample", "tracking"}).encode())
    package = REPOSITORY / "src/twinhead"
    deciding = [file for folder in DECIDING for file in sorted((package / folder).rglob("*.py"))]
    deciding += [package / name for name in ("engine.py", "processor.py")]
    deciding += [REPOSITORY / "benchmarks" / name for name in BESIDE]
    for file in deciding:
        seen.update(file.read_bytes())
    return seen.hexdigest()[:8]


def as_numbers(column: pd.Series) -> pd.Series:
    """The column as numbers where all that it has are; empty cells are NaN."""
    found = pd.to_numeric(column, errors="coerce")
    return found if (found.isna() == (column == "")).all() else column


def _once(given: Photographs) -> list[dict]:
    return [{}]


def _by_labels(given: Photographs) -> list[dict]:
    return [{"labelled": "all" if k is None else k} for k in LABELLED]


MODES = {
    "quality": Mode(_once, quality, quality_table, (0, 1, 2)),
    "official": Mode(_once, official, official_table, (0, 1, 2)),
    "few": Mode(_by_labels, few, few_table, (0, 1, 2)),
    "unseen": Mode(left_out, unseen, unseen_table),
    "odd": Mode(shown, odd, odd_table),
    "painted": Mode(_once, paint, painted_table),
}


if __name__ == "__main__":
    parser = detector_data.parser(__doc__)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[])
    parser.add_argument(
        "--into", type=Path, metavar="FOLDER", help="of mode few; else results in --work"
    )
    parser.add_argument("--params", type=Path, default=REPOSITORY / "params.yaml", metavar="FILE")
    chosen = parser.parse_intermixed_args()
    if chosen.into and chosen.mode != "few":
        parser.error("--into is of mode few alone")
    main(
        chosen.folders,
        chosen.work,
        chosen.mode,
        chosen.seeds,
        chosen.categories,
        chosen.into,
        chosen.params,
    )
