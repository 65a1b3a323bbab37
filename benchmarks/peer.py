"""Twinhead, of good images alone, beside anomalib's PatchCore and PaDiM, in one run.

    python benchmarks/peer.py FOLDER [FOLDER ...] --work FOLDER [--categories bottle ...]

MVTec AD's protocol: fitted to train/good, judged on test. It makes the peer's environment from
benchmarks/peer.lock, in --work. Each way fits a category in a process of its own and answers in
another one, from photographs that are decoded already, with the same backbone weights: anomalib at
its default of 256², Twinhead at params.yaml's size. All are judged by twinhead.evaluation and
twinhead.attribution, at Twinhead's size. Each seed is a turn of all ways; what has been measured
isn't measured again.
"""

import json
import os
import re
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import process_memory

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK = REPOSITORY / "benchmarks/peer.lock"
WORKER = REPOSITORY / "benchmarks/peer_anomalib.py"
PEER = "patchcore-10%", "patchcore-1%", "padim"
OURS = "float", "int8"
SIZE = 256
"""Pixels a side of the peer's default."""
COLUMNS = {
    "auroc": ("image AUROC", 3), "pixel_auroc": ("pixel AUROC", 3), "aupro": ("AUPRO", 3),
    "fit": ("s to fit", 1), "fit_core": ("of a core", 1), "export": ("s to export", 1),
    "single": ("images/s, one at a time", 1), "batches": ("in batches", 1),
    "core": ("ms of a core an image", 1), "openvino": ("one at a time by OpenVINO", 1),
    "memory": ("MB, answering", 0), "fit_memory": ("MB, fitting", 0), "files": ("MB, files", 1),
}  # fmt: skip
"""What a row has: its heading and digits."""


def main(options) -> None:
    import detector
    import detector_data

    from twinhead import params

    settings = params.load(REPOSITORY / "params.yaml")
    work = options.work.resolve()
    given = detector_data.prepare(options.folders, work, settings, options.categories)
    python, table = environment(work / "peer"), work / "results/peer.csv"
    table.parent.mkdir(exist_ok=True)
    version = {"version": detector.code_version(settings)}
    names = sorted(set(given.frame["category"]))
    for seed in options.seeds:
        for name in names:
            own = shown(given.of([name]), options.few)
            digest = sha256(own.frame["sha256"].str.cat().encode()).hexdigest()[:8]
            folder = work / f"peer/{name}-{digest}"
            write(own, work / "root", folder)
            for way in (*options.ways, "twinhead"):
                key = version | {
                    "category": name, "seed": str(seed), "way": way, "few": str(options.few),
                    "photographs": digest,
                }  # fmt: skip
                if has(detector_data.read(table), key):
                    continue
                started = time.perf_counter()
                rows = twinhead(options, name, seed, folder) if way == "twinhead" else [
                    {"row": way} | peer(python, way, folder, seed)
                ]  # fmt: skip
                rows = [row | judged(own, folder / f"{row['row']}.npz") for row in rows]
                detector_data.append([key | row for row in rows], table)
                print(f"{name} {seed} {way}: {time.perf_counter() - started:.0f} s", flush=True)
    rows = detector_data.read(table)
    print(described(rows[rows["version"] == version["version"]], options, names))


def environment(folder: Path) -> Path:
    """The Python of an environment that has what the lock lists; made anew where that changed."""
    python, stamp = folder / "env/bin/python", folder / "env/lock"
    digest = sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder / "env")], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(LOCK)]
        subprocess.run(pip, check=True)
        stamp.write_text(digest)
    return python


def shown(given, few: int | None):
    """All photographs; or `few` for training, and as many good and as many defective to judge."""
    if not few:
        return given
    kinds = given.frame["official"] + given.frame["defective"].astype(str)
    return given.only(np.flatnonzero(given.frame.groupby(kinds).cumcount() < few))


def write(given, root: Path, folder: Path) -> None:
    """Write pixels, the backbone's weights and what it gives for four photographs."""
    if (folder / "parity.npz").exists():
        return
    import keras

    from twinhead.backbones import efficientnet_lite0, weights
    from twinhead.ingest import images

    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        frame = given.frame[given.frame["official"] == split]
        pixels = np.stack([images.read(root / path, SIZE) for path in frame["path"]])
        np.save(folder / f"{split}.npy", pixels)
        np.save(folder / f"{split}-own.npy", given.source.pixels[frame.index.to_numpy()])
    np.savez(folder / "backbone.npz", **timm_names(weights.load()))
    image = keras.Input((SIZE, SIZE, 3))
    stages = efficientnet_lite0.build(image)
    model = keras.Model(image, {name: stages[name] for name in ("stage2", "stage3", "stage5")})
    found = model.predict_on_batch(pixels[:4].astype(np.float32))
    np.savez(folder / "parity.npz", pixels=pixels[:4], **found)


def timm_names(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights' tensors by timm's names for the same layers; its classifier is left out."""
    from twinhead.backbones.efficientnet_lite0 import STAGES

    places = [
        (stage, repeat) for stage, (repeats, *_) in enumerate(STAGES) for repeat in range(repeats)
    ]
    plain = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    others = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    found = {}
    for name, values in tensors.items():
        if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            stage, repeat = places[int(block[1])]
            layer = (others if stage else first)[block[2]]
            found[f"blocks.{stage}.{repeat}.{layer}.{block[3]}"] = values
        elif (layer := name.partition(".")[0]) in plain:
            found[f"{plain[layer]}.{name.partition('.')[2]}"] = values
    return found


def peer(python: Path, way: str, folder: Path, seed: int) -> dict:
    found = {}
    for task in ("fit", "answer"):
        found |= run([str(python), "-W", "ignore", str(WORKER), task, way, str(folder), str(seed)])
    return found


def twinhead(options, name: str, seed: int, folder: Path) -> list[dict]:
    """The rows of both precisions; of float alone where int8 wasn't kept."""
    own = [sys.executable, str(Path(__file__).resolve()), *map(str, options.folders)]
    own += ["--work", str(options.work), "--categories", name, "--seeds", str(seed)]
    own += ["--few", str(options.few)] if options.few else []
    fitted = run([*own, "--task", "fit"])
    print(f"{name}: {fitted.pop('said')}", flush=True)
    kept = [one for one in OURS if (folder / f"edge/{one}.xml").exists()]
    answers = {one: run([*own, "--task", one, "--answer", str(folder)]) for one in kept}
    return [{"row": one} | fitted | found for one, found in answers.items()]


def run(command: list[str]) -> dict:
    kept = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "TQDM_DISABLE": "1"}
    kept |= {"OMP_WAIT_POLICY": "PASSIVE"}  # torch's threads: else they spin on a busy machine
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=kept)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return json.loads(done.stdout.splitlines()[-1])


def fit(options) -> dict:
    """Fit Twinhead to one category from its pixels, export it, and say how long both took."""
    import detector
    import detector_data

    from twinhead import engine, evaluation, params
    from twinhead.backbones import extraction
    from twinhead.dataset import catalog, splits, tables
    from twinhead.export import package
    from twinhead.export.decisions import Rules
    from twinhead.model import detector as network_parts
    from twinhead.model import inference, network
    from twinhead.model.inference import Source

    (seed,), (name,) = options.seeds, options.categories
    settings = detector.seeded(params.load(REPOSITORY / "params.yaml"), seed)
    work = options.work.resolve()
    given = detector_data.prepare(options.folders, work, settings, options.categories)
    given = shown(given, options.few)
    folder = work / (f"peer/{name}-{options.few}" if options.few else f"peer/{name}")
    chosen = settings.split.model_copy(update={"protocol": "official"})
    split, group = given.split(chosen)
    trunk = extraction.trunk(given.source.pixels.shape[1])
    describe = engine.fastest(trunk)
    # test's features are known already; those of the others are computed anew, within the time.
    rows = np.flatnonzero(split != splits.TEST)
    started, core = time.perf_counter(), time.process_time()
    features = {key: np.array(values) for key, values in given.source.features.items()}
    for start in range(0, len(rows), extraction.BATCH):
        some = np.resize(rows[start : start + extraction.BATCH], extraction.BATCH)
        found = describe(given.source.pixels[some].astype(np.float32))
        for key, values in found.items():
            features[key][some] = values[:, None] if features[key].ndim == 3 else values
    given = detector_data.Photographs(
        given.frame, Source(given.source.pixels, features), given.masks, given.kept
    )
    kept = folder / f"network-{seed}-{time.time_ns()}"
    detector.train(given, split, group, settings, kept)
    model, crossfit = network.load(kept / "model.keras"), tables.read(kept / "crossfit.csv")
    took = {"fit": time.perf_counter() - started, "fit_core": time.process_time() - core}
    took["fit_memory"] = process_memory.peak() / 1e6
    categories = catalog.categories(given.frame)
    answers = inference.predict(model, given.source, given.frame, split, categories)
    metrics = evaluation.judge(answers, crossfit, settings.evaluate)
    rules = Rules(metrics["threshold"], metrics.get("thresholds", {}), None, network_parts.UNUSUAL)
    judged = evaluation.decide(answers, metrics)
    known = package.Judged(given.frame, split, judged, rules, 1.0, settings.data.tiles, "")
    place, said = folder / "edge", []
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    started = time.perf_counter()
    pixels, masks = given.source.pixels, given.masks
    package.write(model, pixels, masks, known, True, place, said.append)
    return took | {"export": time.perf_counter() - started, "said": "; ".join(said)}


def answer(precision: str, folder: Path) -> dict[str, float]:
    """Answer for the test photographs by the exported network; keep scores and maps."""
    from twinhead import edge

    model = edge.load(folder / "edge", precision)
    pixels = np.load(folder / "test-own.npy")
    model.look(pixels[:1])
    singles, single_core = [], time.process_time()
    for image in pixels:
        before = time.perf_counter()
        model.look(image[None])
        singles.append(time.perf_counter() - before)
    single_core = (time.process_time() - single_core) / len(pixels)
    model.look(pixels[:32])
    before, core = time.perf_counter(), time.process_time()
    found = model.look(pixels)
    batches, core = time.perf_counter() - before, time.process_time() - core
    memory = process_memory.peak() / 1e6
    np.savez(folder / f"{precision}.npz", scores=found["defect"][:, 0], maps=found["anomaly_map"])
    sizes = [(folder / f"edge/{precision}{end}").stat().st_size for end in (".xml", ".bin")]
    return {
        "single": 1 / float(np.median(singles)),
        "single_core": 1e3 * single_core,
        "batches": len(pixels) / batches,
        "core": 1e3 * core / len(pixels),
        "memory": memory,
        "files": sum(sizes) / 1e6,
    }


def judged(given, file: Path) -> dict[str, float]:
    """Image AUROC, pixel AUROC and AUPRO of a way's scores and maps, by Twinhead's own code."""
    from twinhead import evaluation
    from twinhead.attribution import localisation

    test = given.frame[given.frame["official"] == "test"].assign(outcome="pass")
    found = np.load(file)
    truth, names = test["defective"].to_numpy(), test["category"].to_numpy()
    areas = evaluation.auroc(truth, found["scores"].astype(float), names, resamples=0)
    size = given.source.pixels.shape[1]
    scores = localisation.score(test, found["maps"].astype(np.float32), given.masks, size).metrics
    return {
        "auroc": areas["auroc_category_mean"],
        "pixel_auroc": scores["pixel_auroc"],
        "aupro": scores["aupro"],
    }


def described(rows: pd.DataFrame, options, names: list[str]) -> str:
    """The tables and the goals, as Markdown."""
    rows = rows[rows["category"].isin(names) & (rows["few"] == str(options.few))]
    rows = rows[rows["seed"].isin([str(seed) for seed in options.seeds])].reset_index(drop=True)
    for column in {*COLUMNS, "apart"} & set(rows):
        rows[column] = pd.to_numeric(rows[column], errors="coerce")
    ways = [way for way in (*PEER, *OURS) if way in set(rows["row"])]
    used = {name: told for name, told in COLUMNS.items() if name in rows}
    seeds = ", ".join(map(str, options.seeds))
    lines = [
        f"{rows['category'].nunique()} categories, seeds {seeds}; mean (lowest–highest) of areas,"
        f" median of the rest. anomalib at {SIZE}². Load {os.getloadavg()[0]:.1f} on"
        f" {len(os.sched_getaffinity(0))} cores.",
        f"The backbones' features differ by {rows['apart'].max():.0e} of the largest at most.",
        "Not compared: anomalib's own default backbones. Their weights aren't on PyPI.",
    ]
    for name in [*names, "mean"]:
        own = rows if name == "mean" else rows[rows["category"] == name]
        lines += ["", f"| {name} | {' | '.join(text for text, _ in used.values())} |"]
        lines += [f"|---|{'---|' * len(used)}"]
        for way in ways:
            of_way = own[own["row"] == way]
            by_seed = of_way.groupby("seed")[list(used)].mean()
            cells = [cell(by_seed[column], column, used[column][1]) for column in used]
            lines.append(f"| {way} | {' | '.join(cells)} |")
    lines += [
        "",
        "| Twinhead / peer | images/s, one at a time | in batches | a core's time"
        " | seconds to fit | AUROC: lowest difference in a category |",
        "|---|---|---|---|---|---|",
    ]
    for other in (way for way in ways if way in PEER):
        for way in (way for way in ways if way in OURS):
            lines.append(against(rows, way, other))
    return "\n".join(lines)


def against(rows: pd.DataFrame, own: str, other: str) -> str:
    """How many times as fast, of the same categories and seeds; medians."""
    pairs = rows[rows["row"] == own].merge(rows[rows["row"] == other], on=["category", "seed"])
    ratio = {name: (pairs[f"{name}_x"] / pairs[f"{name}_y"]).median()
             for name in ("single", "batches", "core", "fit")}  # fmt: skip
    apart = (pairs["auroc_x"] - pairs["auroc_y"]).groupby(pairs["category"]).mean()
    return (
        f"| {own} / {other} | {ratio['single']:.2f} | {ratio['batches']:.2f} | {ratio['core']:.2f}"
        f" | {ratio['fit']:.2f} | {apart.min():+.3f} ({apart.idxmin()}) |"
    )


def cell(values: pd.Series, column: str, digits: int) -> str:
    known = values.dropna()
    if not len(known):
        return "–"
    if column not in ("auroc", "pixel_auroc", "aupro"):
        return f"{known.median():,.{digits}f}"
    mean, low, high = (f"{x:.{digits}f}" for x in (known.mean(), known.min(), known.max()))
    return mean if low == high else f"{mean} ({low}–{high})"


def has(rows: pd.DataFrame, key: dict[str, str]) -> bool:
    return set(key) <= set(rows) and bool((rows[list(key)] == pd.Series(key)).all(axis=1).any())


def arguments():
    import argparse

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--categories", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    names = ", ".join(PEER).replace("%", "%%")
    # A metavar, since parse_intermixed_args formats the usage twice, and some names have a %.
    parser.add_argument(
        "--ways", nargs="*", choices=PEER, default=PEER[1:], metavar="WAY", help=names
    )
    parser.add_argument("--few", type=int, help="only so many photographs, for a trial")
    parser.add_argument("--task", choices=("fit", *OURS), help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    given = arguments()
    if given.task == "fit":
        print(json.dumps(fit(given)))
    elif given.task:
        print(json.dumps(answer(given.task, given.answer)))
    else:
        main(given)
