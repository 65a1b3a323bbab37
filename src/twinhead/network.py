"""The two-headed network: a backbone, a shared layer, a category head and a defect head."""

import io
import json
import zipfile
from pathlib import Path

import keras
from keras import layers

from twinhead import params
from twinhead.backbones import cnn

SHARED = "shared"
DEFECT_LOGIT = "defect_logit"
CATEGORY_LOGITS = "category_logits"


def build(settings: params.Model, image_size: int, categories: int, seed: int) -> keras.Model:
    """Build the network with fresh weights drawn from `seed`.

    It takes images (batch, image_size, image_size, 3), RGB, uint8 or float on the scale of 0 to 255.
    It gives a dict with the keys of settings.tasks: `category`, (batch, categories), probabilities;
    `defect`, (batch, 1), the probability of a defect. All are float32.
    """
    keras.utils.set_random_seed(seed)
    image = keras.Input((image_size, image_size, 3), name="image")
    maps = cnn.build(image)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(maps["pool4"])
    shared = layers.Dense(512, activation="relu", name=SHARED)(pooled)
    shared = layers.Dropout(0.5, seed=seed, name="shared_dropout")(shared)
    heads = {}
    if "category" in settings.tasks:
        x = _hidden(shared, 256, "category", seed + 1)
        logits = layers.Dense(categories, dtype="float32", name=CATEGORY_LOGITS)(x)
        heads["category"] = layers.Softmax(dtype="float32", name="category")(logits)
    if "defect" in settings.tasks:
        x = _hidden(shared, 128, "defect", seed + 2)
        logit = layers.Dense(1, dtype="float32", name=DEFECT_LOGIT)(x)
        heads["defect"] = layers.Activation("sigmoid", dtype="float32", name="defect")(logit)
    return keras.Model(image, heads, name="twinhead")


def last_convolution(model: keras.Model) -> str:
    """The name of the network's last convolution layer."""
    names = [layer.name for layer in model.layers if isinstance(layer, layers.Conv2D)]
    return names[-1]


def save(model: keras.Model, path: Path) -> None:
    """Write the network without its optimizer; equal weights give equal bytes.

    Keras puts the day and hour into its archive, which would make DVC take each training for a new
    model; here they are fixed. The file appears whole or not at all.
    """
    written = Path(path).with_suffix(".partial.keras")
    model.save(written, include_optimizer=False)
    archive = io.BytesIO()
    with zipfile.ZipFile(written) as dated, zipfile.ZipFile(archive, "w") as undated:
        for name in sorted(dated.namelist()):
            data = dated.read(name)
            if name == "metadata.json":
                data = json.dumps(json.loads(data) | {"date_saved": "undated"}).encode()
            undated.writestr(zipfile.ZipInfo(name), data)
    written.write_bytes(archive.getvalue())
    written.replace(path)


def load(path: Path) -> keras.Model:
    """Load a network that `save` wrote; no code in the file is run."""
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _hidden(x: keras.KerasTensor, units: int, head: str, seed: int) -> keras.KerasTensor:
    x = layers.Dense(units, activation="relu", name=f"{head}_hidden")(x)
    return layers.Dropout(0.3, seed=seed, name=f"{head}_dropout")(x)
