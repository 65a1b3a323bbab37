"""Three readings of one pass, on a pretrained backbone: the graph.

The pooled maps say whether the photograph as a whole is odd; the memory, how far each patch lies
from good ones; a small network per patch, whether it looks like a defect that was labelled. They
are standardised by good images of the category, added up with weights of the category's own, and
calibrated: one probability, and one map.
"""

import keras
from keras import layers

from twinhead.model import memory, readings
from twinhead.model.readings import LEARNED, MEMORY, POOLED, READINGS

WIDTHS = {"stage3": 40, "stage5": 112, "stage7": 320}
"""The maps that a patch is made of, and their channels."""
COMPARED = "stage5"
"""The map whose patches the memory compares; docs/choosing.md has the others."""
FOLDS = 3
"""Parts of the training images: each is read by what was fitted to the others."""
HIDDEN = 64
SCORE_FLOORS = {POOLED: 0.0, LEARNED: 0.0}
"""What was learned never lowers what the memory says."""
MAP_FLOORS = {MEMORY: -3.0, LEARNED: -3.0}
"""What is surely good is equally dark."""


def patch_network(height: int, width: int, name: str, seed: int) -> keras.Model:
    """A network for each patch alone: [deviation, distance] to a logit, (batch, height, width).

    deviation: (batch, height, width, channels), distance: (batch, height, width, 1), both
    standardised by good patches. It starts as "good" everywhere.
    """

    def drawn(place: int) -> keras.Initializer:
        return keras.initializers.HeNormal(seed + place)

    deviation = keras.Input((height, width, sum(WIDTHS.values())), name=f"{name}_deviation")
    distance = keras.Input((height, width, 1), name=f"{name}_distance")
    x = layers.Concatenate(name=f"{name}_inputs")([deviation, distance])
    for place in range(2):
        dense = layers.Dense(
            HIDDEN, "relu", kernel_initializer=drawn(place), name=f"{name}_hidden{place + 1}"
        )
        x = dense(x)
    x = layers.Concatenate(name=f"{name}_skip")([x, distance])
    logit = layers.Dense(
        1,
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(-2.0),
        name=f"{name}_logit",
    )(x)
    logit = layers.Reshape((height, width), name=f"{name}_map")(logit)
    return keras.Model([deviation, distance], logit, name=name)


def attach(
    maps: dict[str, keras.KerasTensor],
    pooled_logit: keras.KerasTensor,
    probabilities: keras.KerasTensor,
    capacity: int,
    seed: int,
) -> dict[str, keras.KerasTensor]:
    """Add the readings to a backbone's maps and its pooled head's logit.

    Args:
        maps: the maps of WIDTHS, (batch, height, width, channels) each.
        pooled_logit: (batch, 1). probabilities: of the categories, (batch, categories).
        capacity: patches of each category that the memory has room for.

    Returns `defect`, (batch, 1), the calibrated probability, and `anomaly_map`, (batch, height,
    width), in units of the score.
    """
    categories = probabilities.shape[-1]
    category = readings.Likeliest(dtype="float32", name="likeliest")(probabilities)
    patches = readings.Patches(dtype="float32", name="patches")([maps[name] for name in WIDTHS])
    height, width = patches.shape[1:3]
    start = list(WIDTHS).index(COMPARED)
    start = sum(list(WIDTHS.values())[:start])
    distance = memory.MemoryDistance(
        categories, capacity, start, WIDTHS[COMPARED], dtype="float32", name="distance"
    )([patches, category])
    distance = readings.RingLevel(categories, dtype="float32", name="ring_level")(
        [distance, category]
    )
    deviation = readings.Standardise(
        categories, readings.LIMIT, dtype="float32", name="patch_deviation"
    )([patches, category])
    column = layers.Reshape((height, width, 1), dtype="float32", name="distance_column")(distance)
    column = readings.Standardise(categories, dtype="float32", name="distance_deviation")(
        [column, category]
    )
    learned = [
        patch_network(height, width, f"patch_network{fold}", seed + 10 * fold)([deviation, column])
        for fold in range(FOLDS)
    ]
    logits = layers.Average(dtype="float32", name="patch_logits")(learned)

    reading = {
        name: readings.Standardise(categories, dtype="float32", name=f"{name}_reading")
        for name in READINGS
    }
    of_patches = {
        MEMORY: layers.Reshape((height, width, 1), name="distance_values")(distance),
        LEARNED: layers.Reshape((height, width, 1), name="logit_values")(logits),
    }
    of_photograph = {
        POOLED: pooled_logit,
        MEMORY: readings.TopMean(dtype="float32", name="distance_top")(distance),
        LEARNED: readings.TopMean(dtype="float32", name="logit_top")(logits),
    }
    given = [reading[name]([x, category]) for name, x in of_photograph.items()]
    score = readings.Combine(categories, SCORE_FLOORS, dtype="float32", name="score")
    defect = readings.Calibrate(categories, dtype="float32", name="defect")(
        [score([*given, category]), category]
    )
    shown = [reading[name]([x, category]) for name, x in of_patches.items()]
    shown = readings.Combine(categories, MAP_FLOORS, dtype="float32", name="map_score")(
        [*shown, category]
    )
    return {
        "defect": defect,
        "anomaly_map": layers.Reshape((height, width), name="anomaly_map")(shown),
    }
