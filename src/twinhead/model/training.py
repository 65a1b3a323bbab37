"""Train the heads by epochs: early stopping, the best epoch kept, a killed training resumed."""

import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from twinhead import files, params
from twinhead.dataset import splits
from twinhead.dataset.features import POOLED
from twinhead.dataset.store import Store
from twinhead.errors import InputError
from twinhead.model import detector, fitting, network, nuisance, training_code, training_data
from twinhead.model.batches import PREDICT_SIZE, Batches, at_a_time
from twinhead.model.inference import Source
from twinhead.model.moments import Moments

EpochDone = Callable[[dict[str, float], float], None]
"""Takes an epoch's row of the history, and the seconds it took."""


@dataclass
class Progress:
    """All that a training remembers between two epochs."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = float("inf")
    best_weights: list[np.ndarray] = field(default_factory=list)
    checkpoint_auroc: float = -1.0
    checkpoint: list[np.ndarray] = field(default_factory=list)
    diverged: int = 0
    """The epoch in which the loss was no longer a number; 0 if it always was."""

    def take(self, row: dict[str, float], weights: list[np.ndarray]) -> None:
        self.history.append(row)
        auroc, best = row.get("val_defect_auroc"), row["val_loss"] < self.best_loss
        if best:
            self.best_epoch, self.best_loss = int(row["epoch"]), row["val_loss"]
            self.best_weights = weights
        if not self.checkpoint or (best if auroc is None else auroc > self.checkpoint_auroc):
            self.checkpoint_auroc = -1.0 if auroc is None else auroc
            self.checkpoint = weights


@dataclass(frozen=True)
class Result:
    model: keras.Model
    fitted_part: keras.Model
    """The part of the model that was trained; the same layers."""
    progress: Progress
    precision: str

    @property
    def history(self) -> pd.DataFrame:
        """A row an epoch: `epoch` from 1, then losses and accuracies of train and val."""
        return pd.DataFrame(self.progress.history)

    def best(self) -> keras.Model:
        """The network with the weights of the epoch that has the lowest validation loss."""
        self.fitted_part.set_weights(self.progress.best_weights)
        return self.model

    def checkpoint(self) -> keras.Model:
        """The network with those of the epoch that has the highest validation defect AUROC.

        Where val has no defects it is the best epoch, as in `best`; and where the network reads
        patches, since its readings were fitted to those weights.
        """
        if network.detects(self.model):
            return self.best()
        self.fitted_part.set_weights(self.progress.checkpoint)
        return self.model

    def metrics(self) -> dict:
        """What `metrics/train.json` holds: the network's size, and the chosen epoch's losses."""
        chosen = self.progress.history[self.progress.best_epoch - 1]
        return {
            "parameters": self.model.count_params(),
            "trained_parameters": sum(int(np.prod(w.shape)) for w in self.model.trainable_weights),
            "epochs": len(self.progress.history),
            "best_epoch": self.progress.best_epoch,
            "precision": self.precision,
            **({"diverged_in_epoch": self.progress.diverged} if self.progress.diverged else {}),
            **{name: value for name, value in chosen.items() if name != "epoch"},
        }


def train(
    inputs: Store | np.ndarray,
    image_size: int,
    frame: pd.DataFrame,
    split: pd.Series,
    model_settings: params.Model,
    settings: params.Train,
    state: Path,
    epoch_done: EpochDone = lambda row, seconds: None,
    resumed: Callable[[list[dict[str, float]]], None] = lambda rows: None,
) -> Result:
    """Fit a new network to the train split, judging each epoch on val.

    Args:
        inputs: what `Batches` takes: images, or the stored features of a frozen backbone; row i is
            catalog row i.
        frame: the catalog. split: each row's split.
        state: folder for what a killed training needs to go on; to be removed when the result is
        kept. resumed: takes the history of one that goes on, before its next epoch.

    The same arguments give the same weights on one machine, whether or not the training was killed
    and started again in between. Where the loss stops being a number the training ends, and the
    epochs before count. Raises InputError if that is the first, and where a head has nothing to
    learn from.
    """
    tasks = check(frame, split, model_settings, image_size)
    targets = targets_of(frame, tasks)
    rows = {name: np.flatnonzero(split == name) for name in (splits.TRAIN, splits.VAL)}
    tf.config.experimental.enable_op_determinism()
    categories = frame["category"].nunique()
    model = network.build(model_settings, image_size, categories, settings.seed, settings.precision)
    if not model_settings.is_from_scratch:
        _adapt(model, inputs, rows[splits.TRAIN], frame)
    fitted_part = network.learning_part(model, tasks, stored=inputs.ndim == 3)
    lessons = Batches(inputs, rows[splits.TRAIN], targets, settings.batch_size, settings)
    compile_for(fitted_part, settings, tasks, steps=len(lessons))
    fingerprint = _fingerprint(frame, split, (inputs.shape, image_size), model_settings, settings)
    progress = _resume(fitted_part, state, fingerprint)
    if progress.history:
        resumed(progress.history)
    validation = Batches(inputs, rows[splits.VAL], targets)
    for epoch in range(len(progress.history) + 1, settings.epochs + 1):
        if epoch - 1 - progress.best_epoch >= settings.patience:
            break
        started = time.monotonic()
        # Dropout, too, is a function of the seed and the epoch, not of what ran before.
        _seed_dropout(fitted_part, settings.seed, epoch)
        lessons.start(epoch)
        fitted = fitted_part.fit(
            lessons.source, initial_epoch=epoch - 1, epochs=epoch, shuffle=False, verbose=0
        ).history
        row = {"epoch": epoch} | _named(fitted, settings.loss_weights, tasks)
        row |= _validate(fitted_part, validation, targets, settings.loss_weights)
        if not np.isfinite([row["train_loss"], row["val_loss"]]).all():
            progress.diverged = epoch
            if not progress.history:
                raise InputError(diverged(progress, settings))
            break
        progress.take(row, fitted_part.get_weights())
        _keep(fitted_part, state, fingerprint, progress)
        epoch_done(row, time.monotonic() - started)
    return Result(model, fitted_part, progress, settings.precision)


def add_readings(
    result: Result,
    source: Source,
    masks: Mapping[int, np.ndarray],
    frame: pd.DataFrame,
    split: pd.Series,
    group: pd.Series,
    settings: params.Params,
) -> pd.DataFrame:
    """Fit what a pretrained network reads of patches, in place, on the best epoch's weights.

    Returns the training images' cross-fitted answers, as fitting.fit does, with their `path`,
    `category` and `defective`; none for a network that reads no patches. Where the backbone was
    trained, the heads take their references anew from what it has become, and learn on.
    """
    model, known = result.best(), frame[["path", "category", "defective"]]
    if not network.detects(model):
        return known.iloc[:0].assign(defect_probability=0.0)
    schedule = fitting.Schedule(
        max(result.progress.best_epoch, 1),
        settings.train.batch_size,
        settings.train.learning_rate,
        settings.train.seed,
    )
    tasks = settings.model.tasks
    features: Mapping[str, Store | np.ndarray] | None = source.features
    if features is None:
        features = _extract(model, source.pixels, split)
        _learn_on(result, features[POOLED], frame, split, settings)
        result.progress.best_weights = result.fitted_part.get_weights()
    given = training_data.gather(features, masks, frame, split, group, tasks)
    changes = nuisance.changes(network.trunk(model), source.pixels, given, schedule.seed)
    return known.join(fitting.fit(model, given, changes, schedule), how="inner")


def _extract(
    model: keras.Model, pixels: Store | np.ndarray, split: pd.Series
) -> dict[str, np.ndarray]:
    """The features of the training images by a trained backbone, by name, in float32 and float16.

    Rows of other images are empty.
    """
    trunk, rows = network.trunk(model), np.flatnonzero(split == splits.TRAIN)
    found: dict[str, np.ndarray] = {}
    size = at_a_time(pixels.shape[1])
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        for name, values in trunk.predict_on_batch(pixels[some].astype(np.float32)).items():
            if name not in found:
                found[name] = np.zeros((len(split), *values.shape[1:]), values.dtype)
            found[name][some] = values
    return found | {POOLED: found[POOLED][:, None]}


def _learn_on(
    result: Result,
    pooled: Store | np.ndarray,
    frame: pd.DataFrame,
    split: pd.Series,
    settings: params.Params,
) -> None:
    """Take the references of a trained backbone, and let the heads learn with them once more.

    The history and its chosen epoch are of before. Raises InputError where the loss stops being a
    number.
    """
    rows = np.flatnonzero(split == splits.TRAIN)
    tasks = check(frame, split, settings.model, settings.data.side)
    _adapt(result.model, pooled, rows, frame)
    part = network.learning_part(result.model, tasks, stored=True)
    targets = targets_of(frame, tasks)
    lessons = Batches(pooled, rows, targets, settings.train.batch_size, settings.train)
    compile_for(part, settings.train, tasks, steps=len(lessons))
    for epoch in range(1, settings.train.epochs + 1):
        _seed_dropout(part, settings.train.seed, epoch)
        lessons.start(epoch)
        fitted = part.fit(
            lessons.source, initial_epoch=epoch - 1, epochs=epoch, shuffle=False, verbose=0
        )
        if not np.isfinite(fitted.history["loss"][-1]):
            raise InputError(
                "the loss is no longer a number where the heads learn on from the trained backbone;"
                f" try a lower train.learning_rate than {settings.train.learning_rate:g}"
            )


def diverged(progress: Progress, settings: params.Train) -> str:
    """Say when the loss stopped being a number, and what to try."""
    kept = f"; epoch {progress.best_epoch} is kept" if progress.history else ""
    return (
        f"the loss is no longer a number in epoch {progress.diverged}{kept}; try a lower"
        f" train.learning_rate than {settings.learning_rate:g}"
    )


def _adapt(
    model: keras.Model, inputs: Store | np.ndarray, rows: np.ndarray, frame: pd.DataFrame
) -> None:
    """Give the heads the training images' statistics: of all views, some images at a time."""
    category = frame["category"].astype("category").cat.codes.to_numpy()
    group = Moments.group(category, frame["defective"].to_numpy())
    trunk = network.trunk(model) if inputs.ndim == 4 else None
    moments = Moments(category.max() + 1, network.pooled(model).output.shape[-1])
    size = at_a_time(inputs.shape[1]) if trunk else PREDICT_SIZE
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        if trunk:
            found = trunk.predict_on_batch(inputs[some].astype(np.float32))
            moments.add(found[POOLED], group[some])
        else:
            moments.add(np.concatenate(inputs[some]), np.repeat(group[some], inputs.shape[1]))
    network.adapt(model, moments)


def check_groups(split: pd.Series, group: pd.Series, settings: params.Model) -> None:
    """Raise InputError where a network that reads patches has too few images to be fitted to."""
    if not settings.is_from_scratch and "defect" in settings.tasks:
        fitting.check_groups(group[split == splits.TRAIN].to_numpy())


def check(
    frame: pd.DataFrame, split: pd.Series, settings: params.Model, side: int
) -> Sequence[str]:
    """Return the tasks whose heads have something to learn by epochs from the train split.

    side: of the photographs, in pixels.

    On a pretrained backbone good images suffice for defects: the memory needs no more. Raises
    InputError where the train split holds no good image, for the paper's network where it holds
    none that is defective, and where the memories of all categories wouldn't fit in a file.
    """
    if not settings.is_from_scratch and "defect" in settings.tasks:
        categories = frame["category"].nunique() if "category" in settings.tasks else 1
        _check_memory(categories, settings.memory, side)
    kinds = set(frame["defective"][split == splits.TRAIN])
    if "defect" not in settings.tasks or kinds == {0, 1}:
        return settings.tasks
    if kinds == {0} and not settings.is_from_scratch:
        if "category" not in settings.tasks:
            raise InputError(
                "the train split holds no defective image, and model.tasks names the defect head"
                " alone; with good images alone, set model.tasks to [category, defect]"
            )
        return [task for task in settings.tasks if task != "defect"]
    lacking = "good" if kinds == {1} else "defective"
    remedy = "" if kinds == {1} else ", or model.backbone efficientnet_lite0, which needs none"
    raise InputError(
        f"the train split holds no {lacking} image, so the defect head can't learn: data.root needs"
        f" some and split.protocol random, or else set model.tasks to [category] and explain.head"
        f" to category{remedy}"
    )


def _check_memory(categories: int, capacity: int, side: int) -> None:
    def taken(patches: int) -> int:
        return detector.memory_bytes(categories, patches, side)

    if taken(capacity) > network.MAX_MEMORY:
        most = (network.MAX_MEMORY - taken(0)) // (taken(2) - taken(0)) * 2
        wanted = f"expected at most {most}" if most > 0 else "expected smaller photographs"
        raise InputError(
            f"model.memory is {capacity}: of {categories} categories at {side} pixels a side the"
            f" network's file would be larger than can be read; {wanted}"
        )


def targets_of(frame: pd.DataFrame, tasks: Sequence[str]) -> dict[str, np.ndarray]:
    """Each head's target for each catalog row, by task: (rows,), int32 and float32."""
    targets = {
        "category": frame["category"].astype("category").cat.codes.to_numpy(np.int32),
        "defect": frame["defective"].to_numpy(np.float32),
    }
    return {task: targets[task] for task in tasks}


def compile_for(
    model: keras.Model, settings: params.Train, tasks: Sequence[str], steps: int
) -> None:
    """Give the network its losses, metrics and optimizer; an epoch has so many steps."""
    losses = {"category": "sparse_categorical_crossentropy", "defect": "binary_crossentropy"}
    rate = settings.learning_rate
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss={task: losses[task] for task in tasks},
        loss_weights={task: getattr(settings.loss_weights, task) for task in tasks},
        metrics={task: ["accuracy"] for task in tasks},
    )
    model.optimizer.build(model.trainable_variables)


def _named(
    fitted: dict[str, list[float]], weights: params.LossWeights, tasks: Sequence[str]
) -> dict[str, float]:
    """One epoch's history under our names; with a single head Keras leaves the head's name out."""
    values = {name: value[0] for name, value in fitted.items()}
    if len(tasks) == 1:
        values[f"{tasks[0]}_accuracy"] = values.pop("accuracy")
        values[f"{tasks[0]}_loss"] = values["loss"] / getattr(weights, tasks[0])
    return {f"train_{name}": values[name] for name in sorted(values)}


def _validate(
    model: keras.Model,
    batches: Batches,
    targets: dict[str, np.ndarray],
    weights: params.LossWeights,
) -> dict[str, float]:
    """Judge val in one pass: losses and accuracies as Keras gives them for train, and the AUROC."""
    predicted, rows = model.predict(batches.source, verbose=0), batches.items[:, 0]
    result = {"val_loss": 0.0}
    for task, values in targets.items():
        truth, scores = values[rows], predicted[task].astype(np.float64)
        if task == "category":
            likelihood = scores[np.arange(len(truth)), truth]
            hits = scores.argmax(axis=1) == truth
        else:
            likelihood = np.where(truth == 1, scores[:, 0], 1 - scores[:, 0])
            hits = (scores[:, 0] > 0.5) == truth
            if len(set(truth)) == 2 and np.isfinite(scores).all():
                result["val_defect_auroc"] = float(roc_auc_score(truth, scores[:, 0]))
        loss = -np.log(np.clip(likelihood, 1e-7, 1)).mean()
        result[f"val_{task}_loss"], result[f"val_{task}_accuracy"] = float(loss), float(hits.mean())
        result["val_loss"] += getattr(weights, task) * float(loss)
    return result


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign(
                np.random.default_rng((seed, epoch, layer.seed)).integers(0, 2**31, 2)
            )


def _fingerprint(
    frame: pd.DataFrame,
    split: pd.Series,
    sizes: tuple,
    model_settings: params.Model,
    settings: params.Train,
) -> str:
    """Name everything that decides the outcome: data, params and the code that trains."""
    seen = sha256(frame.to_csv().encode() + split.to_csv().encode())
    seen.update(str((sizes, model_settings, settings)).encode())
    seen.update(training_code.digest().encode())
    return seen.hexdigest()


def _keep(model: keras.Model, state: Path, fingerprint: str, progress: Progress) -> None:
    apart = (*_ARRAYS, "diverged")
    facts = {name: value for name, value in vars(progress).items() if name not in apart}
    arrays = {
        "weights": model.get_weights(),
        "optimizer": [np.asarray(variable) for variable in model.optimizer.variables],
        **{name: getattr(progress, name) for name in _ARRAYS},
    }
    packed = io.BytesIO()
    np.savez(
        packed,
        facts=np.array(json.dumps(facts | {"fingerprint": fingerprint})),
        **{
            f"{name}_{i}": value
            for name, values in arrays.items()
            for i, value in enumerate(values)
        },
    )
    with files.whole(state / "state.npz") as part, part.open("wb") as file:
        file.write(packed.getvalue())
        file.flush()
        os.fsync(file.fileno())  # else a power failure could leave the new name on an empty file


def _resume(model: keras.Model, state: Path, fingerprint: str) -> Progress:
    try:
        kept = np.load(state / "state.npz", allow_pickle=False)
        facts = json.loads(str(kept["facts"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or half a file
        return Progress()
    if facts.pop("fingerprint") != fingerprint:
        return Progress()

    def arrays(name: str) -> list[np.ndarray]:
        return [kept[f"{name}_{i}"] for i in range(sum(key.startswith(f"{name}_") for key in kept))]

    model.set_weights(arrays("weights"))
    for variable, value in zip(model.optimizer.variables, arrays("optimizer"), strict=True):
        variable.assign(value)
    stored: dict = facts | {name: arrays(name) for name in _ARRAYS}
    return Progress(**stored)


_ARRAYS = ("best_weights", "checkpoint")
