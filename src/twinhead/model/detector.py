"""The detector's graph: three readings of one pass, on a pretrained backbone.

The pooled maps say whether the photograph as a whole is odd; the memory, how far each patch lies
from good ones, on a fine and on a coarse grid; a small network per patch, whether it looks like a
defect that was labelled. They are standardised by good images of the category, added up with
weights of the category's own, and calibrated: one probability, and one map.
"""

import keras
from keras import layers

from twinhead.backbones import efficientnet_lite0, outputs
from twinhead.model import memory, readings
from twinhead.model.patch_networks import PatchNetworks
from twinhead.model.readings import COARSE, DETAIL, FINE, LEARNED, PEAK, POOLED, READINGS

CHANNELS = {
    f"stage{number}": filters
    for number, (*_, filters) in enumerate(efficientnet_lite0.STAGES, start=1)
}
WIDTHS = {name: CHANNELS[name] for name in outputs.PATCH_STAGES}
"""The maps that a patch is made of, and their channels."""
FINE_MAPS = ("stage3", "stage5")
COARSE_MAP = "stage7"
"""Those of the fine grid, of stride 16, and that of the coarse grid, of stride 32."""
DETAIL_MAP, DETAIL_STRIDE = "stage3", 8
"""That of the heat map's grid."""
DETAIL_SHARE = 0.5
"""How much the detail counts in the heat map, where the fine distance counts 1: half, as in the
memory's patches (fitting.SHARES)."""
FOLDS = 3
"""Parts of the training images: each is read by what was fitted to the others."""
NEAR, WIDE = NETWORKS = "near", "wide"
"""The kinds of patch network, each a layer: tiny flaws drown in the coarse map, others need it."""
SEEN_EACH, SEEN_JOINT = "stage5", "stage4"
"""The maps whose means and spreads tell whether a photograph is like any good one: each value by
itself, and all of them jointly."""
UNUSUAL = 2.5
"""A photograph that is more unusual than that is unknown: unlike all that was trained on."""
DISTANT = 2.0
"""So is one whose Mahalanobis distance over the root of the number of values is larger.

Set, with fitting.LEAST_CHANGE, by half-covered and good photographs: docs/results.md has how many.
"""
TINTED = 3.2
"""So is one whose chromaticity lies farther, by the same distance.

Set, with fitting.LEAST_TINT, by papers that were taken for other papers: docs/results.md.
"""
FAR = 3.5
"""A photograph is unknown, too, if its oddest patch is odder by so many spreads than good ones'.

Set by cross-fitted good photographs: docs/results.md has how many of them lie beyond.
"""
JOINT, TINT = "joint_distance", "tint_distance"
"""The layers that measure the two Mahalanobis distances."""
UNUSUAL_UNITS = {JOINT: UNUSUAL / DISTANT, TINT: UNUSUAL / TINTED, PEAK: UNUSUAL / FAR}
"""What 1 of each distance counts as, so that UNUSUAL is the limit of all."""


def read_by(name: str, parts: dict[str, keras.KerasTensor]) -> list[keras.KerasTensor]:
    """What the patch networks of a kind take of `patches`, `distance` and `coarse`."""
    return [parts["patches"], parts["distance"], *([parts["coarse"]] if name == WIDE else [])]


def attach(
    maps: dict[str, keras.KerasTensor],
    deviation: keras.KerasTensor,
    chromaticity: keras.KerasTensor,
    pooled_logit: keras.KerasTensor,
    probabilities: keras.KerasTensor,
    capacity: int,
    seed: int,
) -> dict[str, keras.KerasTensor]:
    """Add the readings to a backbone's maps and its pooled head.

    Args:
        maps: the maps of WIDTHS, (batch, height, width, channels) each.
        deviation: the pooled maps in spreads of good ones, (batch, values).
        chromaticity: the photograph's tint, (batch, 2).
        pooled_logit: (batch, 1).
        probabilities: of the categories, (batch, categories).
        capacity: fine patches of each category that the memory has room for; of coarse ones half as
            many.

    Returns `defect`, (batch, 1), the calibrated probability; `anomaly_map`, (batch, height, width)
    of DETAIL_MAP, in spreads of good photographs, at 0 as odd as their oddest patches; and
    `unusual`, (batch, 1), the photograph's distance from good ones, by its pooled values, its tint
    or its oddest patch: above UNUSUAL it is unknown.
    """
    categories = probabilities.shape[-1]
    category = readings.Likeliest(dtype="float32", name="likeliest")(probabilities)
    grid = readings.SameGrid(dtype="float32", name="same_grid")([maps[name] for name in FINE_MAPS])
    coarse = layers.Identity(dtype="float32", name="coarse_map")(maps[COARSE_MAP])
    fine_map = _distance(FINE, grid, category, categories, capacity)
    coarse_map = _distance(COARSE, [coarse], category, categories, capacity // 2)

    joined = layers.Concatenate(dtype="float32", name="patches")(grid)
    patch_deviation, coarse_deviation = (
        readings.Standardise(categories, readings.LIMIT, dtype="float32", name=f"{name}_deviation")(
            [x, category]
        )
        for name, x in (("patch", joined), ("coarse", coarse))
    )
    column = _as_column(fine_map, "distance_column")
    column = readings.Standardise(categories, dtype="float32", name="distance_deviation")(
        [column, category]
    )
    read = {"patches": patch_deviation, "distance": column, "coarse": coarse_deviation}
    logits_of = [
        PatchNetworks(FOLDS, seed + 10 * place, dtype="float32", name=name)(read_by(name, read))
        for place, name in enumerate(NETWORKS)
    ]
    # Each fold's reading by itself, as the cross-fitted ones are: the oddest patches of an average
    # are less odd than the average of the oddest patches.
    fold_logits = readings.Mean(dtype="float32", name="fold_logits")(logits_of)
    fold_tops = readings.TopMean(readings.SHARE[LEARNED], dtype="float32", name="fold_tops")
    learned_top = readings.FoldMean(dtype="float32", name="learned_top")(fold_tops(fold_logits))
    logits = readings.FoldMean(dtype="float32", name="patch_logits")(fold_logits)

    standardise = {
        name: readings.Standardise(categories, dtype="float32", name=f"{name}_reading")
        for name in (*READINGS, DETAIL)
    }
    logarithm = readings.Logarithm(dtype="float32", name="logarithm")
    of_photograph = {
        POOLED: pooled_logit,
        FINE: logarithm(_top(FINE, fine_map)),
        COARSE: logarithm(_top(COARSE, coarse_map)),
        LEARNED: learned_top,
    }
    given = [standardise[name]([of_photograph[name], category]) for name in READINGS]
    score = readings.Combine(
        categories, list(READINGS), readings.SCORE_FLOORS, dtype="float32", name="score"
    )([*given, category])
    height, width = maps[DETAIL_MAP].shape[1:3]
    detail = readings.PatchMahalanobis(categories, dtype="float32", name=f"{DETAIL}_distance")(
        [maps[DETAIL_MAP], category]
    )
    detail = _level(DETAIL, detail, category, categories)
    of_patches = {
        FINE: logarithm(_as_column(fine_map, "fine_values")),
        LEARNED: _as_column(logits, "learned_values"),
        DETAIL: logarithm(_as_column(detail, "detail_values")),
    }
    shown = {name: standardise[name]([x, category]) for name, x in of_patches.items()}
    for name in (FINE, LEARNED):
        shown[name] = readings.Enlarged(height, width, dtype="float32", name=f"{name}_enlarged")(
            shown[name]
        )
    floors = readings.MAP_FLOORS
    sharp = readings.Sharpened(
        DETAIL_SHARE, (floors[FINE], floors[DETAIL]), dtype="float32", name="sharpened"
    )([shown[FINE], shown[DETAIL]])
    anomaly = readings.Combine(
        categories,
        [FINE, LEARNED],
        {LEARNED: floors[LEARNED]},
        mean=True,
        dtype="float32",
        name="map_score",
    )([sharp, shown[LEARNED], category])
    peak = logarithm(readings.TopMean(0, dtype="float32", name=f"{PEAK}_top")(fine_map))
    peak = readings.Standardise(categories, dtype="float32", name=f"{PEAK}_reading")(
        [peak, category]
    )
    each, joint = (
        readings.Slice(*pooled_place(stage), dtype="float32", name=name)(deviation)
        for name, stage in (("seen_each", SEEN_EACH), ("seen_joint", SEEN_JOINT))
    )
    joint, tint = (
        readings.Mahalanobis(categories, dtype="float32", name=name)([x, category])
        for name, x in ((JOINT, joint), (TINT, chromaticity))
    )
    return {
        "defect": readings.Calibrate(categories, dtype="float32", name="defect")([score, category]),
        "anomaly_map": layers.Reshape((height, width), dtype="float32", name="anomaly_map")(
            anomaly
        ),
        "unusual": readings.Unusual(
            categories,
            [UNUSUAL_UNITS[name] for name in (JOINT, TINT, PEAK)],
            dtype="float32",
            name="unusual",
        )([each, joint, tint, peak, category]),
    }


def _as_column(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """A map, (batch, height, width) or with an axis of length 1 before: (batch, …, …, 1)."""
    return layers.Reshape((*x.shape[-2:], 1), dtype="float32", name=name)(x)


def pooled_place(stage: str) -> tuple[int, int]:
    """Where a map's means and spreads lie among the pooled values: from, to."""
    before = list(outputs.POOLED_STAGES).index(stage)
    start = sum(2 * CHANNELS[name] for name in outputs.POOLED_STAGES[:before])
    return start, start + 2 * CHANNELS[stage]


def memory_bytes(categories: int, capacity: int, side: int) -> int:
    """Of what is kept of good patches, of photographs of `side` pixels a side.

    So many fine ones a category, half as many coarse ones, and each place's mean.
    """
    fine = capacity * sum(CHANNELS[name] for name in FINE_MAPS)
    places = (-(-side // DETAIL_STRIDE)) ** 2 * CHANNELS[DETAIL_MAP]
    return categories * memory.BYTES * (fine + capacity // 2 * CHANNELS[COARSE_MAP] + places)


def _distance(
    name: str,
    maps: list[keras.KerasTensor],
    category: keras.KerasTensor,
    categories: int,
    capacity: int,
) -> keras.KerasTensor:
    """How far each patch lies from the memory, over its ring's level: (batch, height, width)."""
    patches = memory.Scaled(categories, dtype="float32", name=f"{name}_patches")([*maps, category])
    distance = memory.MemoryDistance(
        categories, capacity, dtype="float32", name=f"{name}_distance"
    )([patches, category])
    return _level(name, distance, category, categories)


def _level(
    name: str, distance: keras.KerasTensor, category: keras.KerasTensor, categories: int
) -> keras.KerasTensor:
    return readings.RingLevel(
        categories, readings.RINGS[name], dtype="float32", name=f"{name}_level"
    )([distance, category])


def _top(name: str, x: keras.KerasTensor) -> keras.KerasTensor:
    return readings.TopMean(readings.SHARE[name], dtype="float32", name=f"{name}_top")(x)
