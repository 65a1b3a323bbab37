"""The detector's graph: three readings of one pass, on a pretrained backbone.

The pooled maps say whether the photograph as a whole is odd; the memory, how far each patch lies
from good ones, on a fine and on a coarse grid; a small network per patch, whether it looks like a
defect that was labelled. They are standardised by good images of the category, added up with
weights of the category's own, and calibrated: one probability, and one map.
"""

from typing import Any

import keras
from keras import layers

from twinhead.backbones import outputs
from twinhead.model import memory, readings
from twinhead.model.readings import COARSE, FINE, LEARNED, POOLED, READINGS

WIDTHS = {"stage3": 40, "stage5": 112, "stage7": 320}
"""The maps that a patch is made of, and their channels."""
FINE_MAPS = ("stage3", "stage5")
COARSE_MAP = "stage7"
"""Those of the fine grid, of stride 16, and that of the coarse grid, of stride 32."""
FOLDS = 3
"""Parts of the training images: each is read by what was fitted to the others."""
NEAR, WIDE = NETWORKS = "near", "wide"
"""The patch networks of a fold: tiny flaws drown in the coarse map, others need it."""
HIDDEN = 64
"""Units in each of a patch network's two layers."""
SCORE_FLOORS = {POOLED: 0.0, LEARNED: 0.0}
"""What was learned never lowers what the memory says."""
MAP_FLOORS = {FINE: -3.0, LEARNED: -3.0}
"""What is surely good is equally dark."""
SEEN = "stage5"
"""The map whose means and spreads tell whether a photograph is like any good one."""
UNUSUAL = 2.5
"""A photograph that is more unusual than that is unknown: unlike all that was trained on."""


def network_names() -> dict[str, int]:
    """The patch networks' names, and the fold that each is fitted without."""
    return {f"{kind}{fold}": fold for fold in range(FOLDS) for kind in NETWORKS}


def fold_networks() -> list[list[str]]:
    """The names of the patch networks that are fitted without a fold, by fold."""
    names = network_names()
    return [[name for name, without in names.items() if without == fold] for fold in range(FOLDS)]


def patch_network(
    deviation: keras.KerasTensor,
    coarse: keras.KerasTensor,
    distance: keras.KerasTensor,
    name: str,
    seed: int,
) -> keras.Model:
    """A network for each patch alone: what `read_by` gives to a logit, (batch, height, width).

    deviation: (batch, height, width, channels) of the fine grid; distance: (batch, height, width,
    1); coarse: (batch, …, …, channels) of the coarse grid; all standardised by good patches. It
    starts as "good" everywhere. name: of `network_names`.
    """
    parts = {"deviation": deviation, "coarse": coarse, "distance": distance}
    given = {part: keras.Input(x.shape[1:], name=f"{name}_{part}") for part, x in parts.items()}
    height, width = distance.shape[1:3]
    read = layers.Concatenate(name=f"{name}_inputs")([given["deviation"], given["distance"]])
    inputs = read_by(name, *given.values())
    channels = sum(x.shape[-1] for x in inputs)

    def hidden(place: int, share: float = 1.0, **options: Any) -> layers.Dense:
        # He et al. 2015 (arXiv:1502.01852), for a layer that reads this share of its inputs.
        drawn = keras.initializers.VarianceScaling(2.0 * share, seed=seed + place)
        return layers.Dense(HIDDEN, kernel_initializer=drawn, **options)

    wide = name.startswith(WIDE)
    share = read.shape[-1] / channels
    x = hidden(1, share, use_bias=not wide, name=f"{name}_hidden1")(read)
    if wide:
        # On its own grid, where it is a quarter of the work, and then repeated: the same sum. The
        # bias is added there: of three terms in a row the order is TensorFlow's, as in Mean.
        apart = hidden(3, given["coarse"].shape[-1] / channels, name=f"{name}_coarse1")
        repeated = readings.Repeated(height, width, name=f"{name}_repeated")(apart(given["coarse"]))
        x = layers.Add(name=f"{name}_both")([x, repeated])
    x = layers.Activation("relu", name=f"{name}_active1")(x)
    x = hidden(2, activation="relu", name=f"{name}_hidden2")(x)
    x = layers.Concatenate(name=f"{name}_skip")([x, given["distance"]])
    cautious = keras.initializers.Constant(-2.0)
    logit = layers.Dense(
        1, kernel_initializer="zeros", bias_initializer=cautious, name=f"{name}_logit"
    )(x)
    logit = layers.Reshape((height, width), name=f"{name}_map")(logit)
    return keras.Model(inputs, logit, name=name)


def read_by(
    name: str,
    deviation: keras.KerasTensor,
    coarse: keras.KerasTensor,
    distance: keras.KerasTensor,
) -> list[keras.KerasTensor]:
    """What a patch network takes of these."""
    return [deviation, coarse, distance] if name.startswith(WIDE) else [deviation, distance]


def attach(
    maps: dict[str, keras.KerasTensor],
    deviation: keras.KerasTensor,
    pooled_logit: keras.KerasTensor,
    probabilities: keras.KerasTensor,
    capacity: int,
    seed: int,
) -> dict[str, keras.KerasTensor]:
    """Add the readings to a backbone's maps and its pooled head.

    Args:
        maps: the maps of WIDTHS, (batch, height, width, channels) each.
        deviation: the pooled maps in spreads of good ones, (batch, values); pooled_logit: (batch,
            1). probabilities: of the categories, (batch, categories).
        capacity: fine patches of each category that the memory has room for; of coarse ones half as
            many.

    Returns `defect`, (batch, 1), the calibrated probability; `anomaly_map`, (batch, height, width),
    in spreads of good photographs, at 0 as odd as their oddest patches; and `unusual`, (batch, 1),
    the photograph's distance from good ones as a whole, 1 for a usual one.
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
    height, width = fine_map.shape[1:]
    column = layers.Reshape((height, width, 1), name="distance_column")(fine_map)
    column = readings.Standardise(categories, dtype="float32", name="distance_deviation")(
        [column, category]
    )
    read = patch_deviation, coarse_deviation, column
    logits_of = {
        name: patch_network(*read, name, seed + 10 * place)(read_by(name, *read))
        for place, name in enumerate(network_names())
    }
    # Each fold's reading by itself, as the cross-fitted ones are: the oddest patches of an average
    # are less odd than the average of the oddest patches.
    fold_logits = [
        readings.Mean(dtype="float32", name=f"fold{fold}_logits")([logits_of[x] for x in names])
        for fold, names in enumerate(fold_networks())
    ]
    learned_top = readings.Mean(dtype="float32", name="learned_top")(
        [_top(f"{LEARNED}{fold}", logits) for fold, logits in enumerate(fold_logits)]
    )
    logits = readings.Mean(dtype="float32", name="patch_logits")(fold_logits)

    standardise = {
        name: readings.Standardise(categories, dtype="float32", name=f"{name}_reading")
        for name in READINGS
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
        categories, list(READINGS), SCORE_FLOORS, dtype="float32", name="score"
    )([*given, category])
    of_patches = {
        FINE: logarithm(layers.Reshape((height, width, 1), name="fine_values")(fine_map)),
        LEARNED: layers.Reshape((height, width, 1), name="learned_values")(logits),
    }
    shown = [standardise[name]([x, category]) for name, x in of_patches.items()]
    anomaly = readings.Combine(
        categories, [FINE, LEARNED], MAP_FLOORS, mean=True, dtype="float32", name="map_score"
    )([*shown, category])
    start, end = pooled_place(SEEN)
    return {
        "defect": readings.Calibrate(categories, dtype="float32", name="defect")([score, category]),
        "anomaly_map": layers.Reshape((height, width), name="anomaly_map")(anomaly),
        "unusual": readings.Unusual(categories, start, end, dtype="float32", name="unusual")(
            [deviation, category]
        ),
    }


def pooled_place(stage: str) -> tuple[int, int]:
    """Where a map's means and spreads lie among the pooled values: from, to."""
    widths = {"stage4": 80, "stage5": 112, "stage6": 192, "stage7": 320}
    before = list(outputs.POOLED_STAGES).index(stage)
    start = sum(2 * widths[name] for name in outputs.POOLED_STAGES[:before])
    return start, start + 2 * widths[stage]


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
    return readings.RingLevel(
        categories, readings.RINGS[name], dtype="float32", name=f"{name}_level"
    )([distance, category])


def _top(name: str, x: keras.KerasTensor) -> keras.KerasTensor:
    share = readings.SHARE[name.rstrip("0123456789")]
    return readings.TopMean(share, dtype="float32", name=f"{name}_top")(x)
