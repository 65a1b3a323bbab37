"""Does structured pruning of the backbone pay? Speed, size and AUROC with fewer hidden channels.

Each block of EfficientNet-Lite0 widens its input six times, and most of the work is done there. Of
each block's hidden channels a share is taken away, those that matter least to the block's output:
the variance of a channel times the squared weights that read it. What they gave on average goes
into the block's normalisation, so nothing is trained again. Variances and means are of the train
split's photographs alone. Then the readings are fitted to the pruned backbone's maps as always.

Whether it pays is decided by the cross-fitted answers of train; test is shown beside them. The pace
is the backbone's, by OpenVINO in float32, in turns.

    python benchmarks/pruning.py FOLDER [FOLDER ...] --work FOLDER [--shares 0.25 0.5]
"""

import os
import statistics
import time
from dataclasses import replace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import detector
import detector_data
import keras
import numpy as np
from detector_data import Photographs

from twinhead import engine, evaluation, params
from twinhead.backbones import extraction
from twinhead.dataset import splits, tables
from twinhead.dataset.features import POOLED
from twinhead.model.inference import Source

LOOKED_AT = 64
"""Photographs of train by which channels are judged."""
BATCH, TURNS = 64, 5


def main(options) -> None:
    settings = detector.seeded(params.load(detector.REPOSITORY / "params.yaml"), options.seed)
    given = detector_data.prepare(options.folders, options.work, settings, options.categories)
    split, group = given.split(settings.split)
    whole, images = extraction.trunk(given.source.pixels.shape[1]), given.source.pixels
    rng, train = np.random.default_rng(options.seed), np.flatnonzero(split == splits.TRAIN)
    seen = channels(whole, images[np.sort(rng.choice(train, LOOKED_AT, replace=False))])
    networks = {0.0: whole} | {share: pruned(whole, seen, share) for share in options.shares}
    engines = {share: engine.OpenVino(network) for share, network in networks.items()}
    paces = in_turns(engines, np.asarray(images[:BATCH], np.float32))
    print(
        "| channels taken away | parameters | images/s, backbone | AUROC cross-fitted, mean"
        " | pooled | on test, mean (95%) | pooled |\n|---|---|---|---|---|---|---|"
    )
    for share, network in networks.items():
        described = described_by(given, engines[share], f"pruned-{share:g}")
        fitted = detector.fit(described, split, group, settings)
        name = detector.network_name(given.frame, split, settings)
        crossfit = tables.read(described.kept / name / "crossfit.csv")
        own = evaluation.auroc(
            *(crossfit[x].to_numpy() for x in ("defective", "defect_probability", "category")),
            resamples=0,
        )
        test = fitted.metrics["test"]["defect"]
        low, high = (test[f"auroc_category_mean_{end}"] for end in ("low", "high"))
        print(
            f"| {share:.0%} | {network.count_params():,}"
            f" | {paces[share]:.1f} ({paces[share] / paces[0.0]:.2f} times)"
            f" | {own['auroc_category_mean']:.4f} | {own['auroc']:.4f}"
            f" | {test['auroc_category_mean']:.4f} ({low:.3f}–{high:.3f}) | {test['auroc']:.4f} |",
            flush=True,
        )
    print(f"Load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores.")


def channels(whole: keras.Model, images: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By block: its hidden channels' means and variances over photographs and places."""
    names = [x.name for x in whole.layers if x.name.endswith("_depthwise_relu")]
    reader = keras.Model(whole.input, {name: whole.get_layer(name).output for name in names})
    sums = {name: np.zeros((2, whole.get_layer(name).output.shape[-1])) for name in names}
    places = dict.fromkeys(names, 0)
    for image in images.astype(np.float32):
        for name, values in reader(image[None], training=False).items():
            flat = np.asarray(values, float).reshape(-1, values.shape[-1])
            sums[name] += flat.sum(axis=0), (flat**2).sum(axis=0)
            places[name] += len(flat)
    found = {}
    for name, (first, second) in sums.items():
        mean = first / places[name]
        block = name.removesuffix("_depthwise_relu")
        found[block] = mean, np.maximum(second / places[name] - mean**2, 0)
    return found


def pruned(
    whole: keras.Model, seen: dict[str, tuple[np.ndarray, np.ndarray]], share: float
) -> keras.Model:
    """The network with so many fewer hidden channels in each block that has its own."""
    kept = {}
    for block, (_, variance) in seen.items():
        if f"{block}_expand_conv" in (layer.name for layer in whole.layers):
            (reads,) = whole.get_layer(f"{block}_project_conv").get_weights()
            matters = variance * (reads[0, 0] ** 2).sum(axis=1)
            count = round(len(matters) * (1 - share))
            kept[block] = np.sort(np.argsort(-matters, kind="stable")[:count])

    def narrow(layer: keras.layers.Layer) -> keras.layers.Layer:
        config, (block, _, part) = layer.get_config(), layer.name.partition("_")
        if block in kept and part == "expand_conv":
            config["filters"] = len(kept[block])
        config.pop("build_config", None)
        return layer.__class__.from_config(config)

    found = keras.models.clone_model(whole, clone_function=narrow)
    for layer in whole.layers:
        weights, (block, _, part) = layer.get_weights(), layer.name.partition("_")
        if block in kept:
            own, (mean, _) = kept[block], seen[block]
            gone = np.setdiff1d(np.arange(len(mean)), own)
            if part == "expand_conv":
                weights = [weights[0][..., own]]
            elif part == "depthwise_conv":
                weights = [weights[0][:, :, own]]
            elif part in ("expand_bn", "depthwise_bn"):
                weights = [values[own] for values in weights]
            elif part == "project_conv":
                weights = [weights[0][:, :, own]]
            elif part == "project_bn":  # gamma, beta, mean, variance
                (reads,) = whole.get_layer(f"{block}_project_conv").get_weights()
                weights[2] = weights[2] - mean[gone] @ reads[0, 0, gone]
        found.get_layer(layer.name).set_weights(weights)
    return found


def in_turns(engines: dict[float, engine.OpenVino], images: np.ndarray) -> dict[float, float]:
    """Images a second, the median of some turns, after one that isn't counted."""
    seconds: dict[float, list[float]] = {share: [] for share in engines}
    for _ in range(TURNS + 1):
        for share, describe in engines.items():
            started = time.perf_counter()
            describe(images)
            seconds[share].append(time.perf_counter() - started)
    return {share: len(images) / statistics.median(own[1:]) for share, own in seconds.items()}


def described_by(given: Photographs, describe: engine.OpenVino, name: str) -> Photographs:
    """The photographs with a backbone's own features, and a place of their own for networks."""
    images, parts = given.source.pixels, {}
    for start in range(0, len(images), BATCH):
        for key, values in describe(images[start : start + BATCH].astype(np.float32)).items():
            parts.setdefault(key, []).append(values)
    features = {key: np.concatenate(values) for key, values in parts.items()}
    features[POOLED] = features[POOLED][:, None]
    return replace(given, source=Source(images, features), kept=given.kept.with_name(name))


if __name__ == "__main__":
    parser = detector_data.parser(__doc__)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.25, 0.5])
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
