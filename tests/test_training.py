"""Training: it learns, chooses on val, repeats itself, and survives being killed."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import SIZE, Built

from twinhead import engine, params
from twinhead.backbones import extraction
from twinhead.dataset import features, splits
from twinhead.dataset.features import POOLED
from twinhead.dataset.store import Store
from twinhead.errors import InputError
from twinhead.model import detector, fitting, inference, memory, network, training
from twinhead.model.batches import Batches

SHIPPED = params.load(Path(__file__).parents[1] / "params.yaml")
CNN = SHIPPED.model.model_copy(update={"backbone": "cnn"})


class Killed(BaseException):
    """Nothing catches it: as sudden as a signal, at the end of an epoch."""


@pytest.fixture(scope="session")
def stored(built: Built, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """The frozen backbone's features of the small data set."""
    folder, trunk = tmp_path_factory.mktemp("features"), extraction.trunk(SIZE)
    places = folder / "features", folder / "extracted.csv"
    describe = engine.fastest(trunk)
    given = describe, list(trunk.output), built.pixels, 2
    extraction.build(*given, *places, engine=describe.name)
    return features.load(places[0])


@pytest.fixture
def train(
    built: Built, stored: dict[str, Store], split: pd.Series, tmp_path: Path
) -> Callable[..., training.Result]:
    def run(
        model: params.Model = CNN,
        state: str = "state",
        frame: pd.DataFrame = built.frame,
        epoch_done: training.EpochDone = lambda row, seconds: None,
        **changes: object,
    ) -> training.Result:
        settings = SHIPPED.train.model_copy(update={"epochs": 3, "batch_size": 8} | changes)
        source = inference.source(model, built.pixels, stored)
        return training.train(
            source.inputs, SIZE, frame, split, model, settings, tmp_path / state, epoch_done
        )

    return run


def digest(result: training.Result) -> str:
    weights = [*result.best().get_weights(), *result.checkpoint().get_weights()]
    data = b"".join(np.ascontiguousarray(weight).tobytes() for weight in weights)
    return sha256(data + result.history.to_csv().encode()).hexdigest()


def test_the_default_network_learns_categories_and_defects(
    train: Callable[..., training.Result],
) -> None:
    history = train(SHIPPED.model, epochs=40, patience=40, learning_rate=0.005).history
    assert history["val_category_accuracy"].iloc[-1] == 1
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]


@pytest.mark.long
@pytest.mark.parametrize("model", [CNN, SHIPPED.model], ids=["cnn", "pretrained"])
def test_a_killed_training_ends_with_the_bytes_of_one_never_killed(
    train: Callable[..., training.Result], model: params.Model
) -> None:
    undisturbed = digest(train(model, state="one"))
    for fatal in (1, 2):

        def kill(row: dict, seconds: float, fatal: int = fatal) -> None:
            if row["epoch"] == fatal:
                raise Killed

        with pytest.raises(Killed):
            train(model, state="other", epoch_done=kill)
    told: list[int] = []
    resumed = train(model, state="other", epoch_done=lambda row, seconds: told.append(row["epoch"]))
    assert told == [3]
    assert digest(resumed) == undisturbed


@pytest.mark.long
def test_state_of_other_params_is_not_taken_up(train: Callable[..., training.Result]) -> None:
    def kill(row: dict, seconds: float) -> None:
        raise Killed

    with pytest.raises(Killed):
        train(epoch_done=kill, learning_rate=0.01)
    told: list[int] = []
    train(epoch_done=lambda row, seconds: told.append(row["epoch"]))
    assert told == [1, 2, 3]


def test_a_half_written_state_is_not_taken_up(
    train: Callable[..., training.Result], tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.npz").write_bytes(b"PK\x03\x04 torn")
    assert len(train(epochs=1).history) == 1


@pytest.mark.long
def test_another_seed_gives_another_network(train: Callable[..., training.Result]) -> None:
    assert digest(train(epochs=1, seed=1)) != digest(train(epochs=1, seed=2))


def test_the_lowest_validation_loss_chooses_the_epoch_and_patience_ends_it(
    train: Callable[..., training.Result], built: Built, split: pd.Series
) -> None:
    result = train(epochs=12, patience=1, learning_rate=0.02)
    losses = result.history["val_loss"]
    assert result.progress.best_epoch == losses.idxmin() + 1
    assert len(losses) == 12 or len(losses) == result.progress.best_epoch + 1
    assert result.metrics()["val_loss"] == losses.min()
    rows = np.flatnonzero(split == splits.VAL)
    scores = result.best().predict(Batches(built.pixels, rows, {}), verbose=0)["defect"][:, 0]
    truth = built.frame["defective"].to_numpy()[rows]
    loss = -np.log(np.where(truth, scores, 1 - scores).astype(float)).mean()
    assert loss == pytest.approx(result.metrics()["val_defect_loss"], rel=1e-4)


@pytest.mark.parametrize("task", ["category", "defect"])
def test_a_single_head_has_the_same_names_in_its_history(
    train: Callable[..., training.Result], task: str
) -> None:
    history = train(CNN.model_copy(update={"tasks": [task]}), epochs=1).history
    other = "defect" if task == "category" else "category"
    for name in (f"train_{task}_loss", f"val_{task}_loss", f"train_{task}_accuracy", "val_loss"):
        assert name in history
    assert not [name for name in history if other in name]
    weight = getattr(SHIPPED.train.loss_weights, task)
    assert history["train_loss"][0] == pytest.approx(weight * history[f"train_{task}_loss"][0])


def test_a_defect_head_without_defects_is_refused_with_the_remedy(
    train: Callable[..., training.Result], built: Built
) -> None:
    with pytest.raises(InputError, match=r"no defective image.*model\.tasks.*efficientnet_lite0"):
        train(frame=built.frame.assign(defective=0))
    for model in (CNN, SHIPPED.model):
        with pytest.raises(InputError, match="no good image"):
            train(model, frame=built.frame.assign(defective=1))


def test_good_images_alone_suffice_on_a_pretrained_backbone(
    train: Callable[..., training.Result], built: Built
) -> None:
    history = train(SHIPPED.model, frame=built.frame.assign(defective=0), epochs=2).history
    assert "train_category_loss" in history and not [name for name in history if "defect" in name]


def test_a_loss_that_is_no_number_stops_the_training(train: Callable[..., training.Result]) -> None:
    with pytest.raises(InputError, match=r"epoch \d.*learning_rate"):
        train(learning_rate=1e30, schedule="constant", epochs=8)


def test_every_view_of_stored_features_is_seen_once_an_epoch(stored: dict[str, Store]) -> None:
    pooled = stored[POOLED]
    rows = np.array([4, 7, 9])
    batches = Batches(pooled, rows, {}, 2, SHIPPED.train, epoch=1)
    given = np.concatenate([batches[number][0] for number in range(len(batches))])
    expected = pooled[rows].reshape(-1, pooled.shape[2])
    assert sorted(map(bytes, given)) == sorted(map(bytes, expected))
    assert [bytes(x) for x in given] != [bytes(x) for x in expected]


def test_the_source_of_features_gives_the_batches_of_every_epoch(stored: dict[str, Store]) -> None:
    pooled = stored[POOLED]
    rows, targets = np.arange(len(pooled)), {"defect": np.arange(len(pooled), dtype=np.float32)}
    batches = Batches(pooled, rows, targets, 3, SHIPPED.train)
    seen = []
    for epoch in (1, 2, 1):
        batches.start(epoch)
        alone = Batches(pooled, rows, targets, 3, SHIPPED.train, epoch)
        given = list(batches.source.as_numpy_iterator())
        assert len(given) == len(alone) > 1
        for (inputs, wanted), number in zip(given, range(len(alone)), strict=True):
            np.testing.assert_array_equal(inputs, alone[number][0])
            np.testing.assert_array_equal(wanted["defect"], alone[number][1]["defect"])
        seen.append(np.concatenate([wanted["defect"] for _, wanted in given]))
    assert (seen[0] != seen[1]).any() and (seen[0] == seen[2]).all()


@pytest.mark.long
@pytest.mark.parametrize("weights", ["imagenet", "random"])
def test_a_trained_backbone_is_what_its_memory_and_references_are_taken_from(
    built: Built, split: pd.Series, tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SHIPPED.model.model_copy(update={"frozen": False, "weights": weights, "memory": 20})
    train = SHIPPED.train.model_copy(update={"epochs": 1, "batch_size": 8, "learning_rate": 0.01})
    settings = SHIPPED.model_copy(update={"model": model, "train": train})
    frame = built.frame.assign(defective=0)  # good images alone: what has to be fitted is less
    source = inference.Source(built.pixels)
    result = training.train(source.inputs, SIZE, frame, split, model, train, tmp_path / "state")
    group = pd.Series(range(len(frame)), frame.index)
    changes, fit = [], fitting.fit

    def spied(*given: Any) -> pd.DataFrame:
        changes.append(given[2])
        return fit(*given)

    monkeypatch.setattr(fitting, "fit", spied)
    crossfit = training.add_readings(result, source, {}, frame, split, group, settings)
    assert crossfit.index.tolist() == np.flatnonzero(split == splits.TRAIN).tolist()
    assert np.abs(changes[0]).any(axis=(0, 2)).all()  # each kind of nuisance
    trained = result.best()
    before = network.build(model, SIZE, 3, train.seed)
    first = np.flatnonzero((split == splits.TRAIN) & (frame["category"] == "bolt"))
    kept = np.asarray(trained.get_layer("fine_distance").memory)[0].astype(np.float32)
    apart = []
    for one in (trained, before):
        # Whatever the network takes them for, they are asked for as the first category.
        one.get_layer("category_logits").bias.assign([99, 0, 0])
        one.get_layer("fine_patches").scale.assign(
            np.asarray(trained.get_layer("fine_patches").scale)
        )
        part = keras.Model(one.input, one.get_layer("fine_patches").output)
        seen = part.predict(built.pixels[first].astype(np.float32), verbose=0)
        apart.append(memory.distances(kept, seen.reshape(-1, kept.shape[1])).max())
    assert apart[0] < 0.05 * apart[1]
    rows = np.flatnonzero(split == splits.TRAIN)
    pooled = network.trunk(trained).predict(built.pixels[rows].astype(np.float32), verbose=0)
    mean = np.asarray(trained.get_layer("shared").mean)
    np.testing.assert_allclose(mean, pooled[POOLED].mean(axis=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("model", [CNN, SHIPPED.model], ids=["cnn", "pretrained"])
def test_the_checkpoint_is_of_another_epoch_only_without_readings(
    train: Callable[..., training.Result], model: params.Model
) -> None:
    result = train(model, epochs=1)
    result.progress.checkpoint = [weight + 1 for weight in result.progress.best_weights]
    kept = [of().get_weights() for of in (result.best, result.checkpoint)]
    apart = max(np.abs(one - other).max() for one, other in zip(*kept, strict=True))
    assert apart == (0 if network.detects(result.model) else 1)


def test_memories_that_no_file_could_hold_are_refused_with_the_most(
    built: Built, split: pd.Series
) -> None:
    model = SHIPPED.model.model_copy(update={"memory": 20_000})
    many = pd.concat([built.frame.assign(category=f"{number}") for number in range(90)])
    marks = pd.concat([split] * 90)
    with pytest.raises(InputError, match="of 90 categories .*expected at most ([0-9]+)") as told:
        training.check(many, marks, model, 320)
    most = int(str(told.value).rsplit(" ", 1)[1])
    training.check(many, marks, model.model_copy(update={"memory": most}), 320)
    with pytest.raises(InputError):
        training.check(many, marks, model.model_copy(update={"memory": most + 2}), 320)
    for tasks in (["category"], ["defect"]):  # no memory, and one for all
        training.check(many, marks, model.model_copy(update={"tasks": tasks}), 320)
    # At 2,048 pixels a side a category's places alone have 5.2 MB.
    with pytest.raises(InputError, match="at 2048 pixels .*expected at most"):
        training.check(many, marks, model.model_copy(update={"memory": most}), 2048)
    more = pd.concat([many.assign(category=many["category"] + text) for text in "abc"])
    with pytest.raises(InputError, match="expected smaller photographs"):
        training.check(more, pd.concat([marks] * 3), model, 2048)


def test_copies_of_two_photographs_are_refused_before_the_first_epoch(split: pd.Series) -> None:
    group = pd.Series(np.arange(len(split)) % 2, split.index)
    with pytest.raises(InputError, match="too few images that differ: 2, .*needs 3"):
        training.check_groups(split, group, SHIPPED.model)
    for model in (
        SHIPPED.model.model_copy(update={"tasks": ["category"]}),
        SHIPPED.model.model_copy(update={"backbone": "cnn"}),
    ):
        training.check_groups(split, group, model)
    training.check_groups(split, pd.Series(np.arange(len(split)), split.index), SHIPPED.model)


@pytest.mark.parametrize("side", [64, 100])
def test_what_is_checked_is_what_the_good_patches_take(side: int) -> None:
    given = network.build(SHIPPED.model.model_copy(update={"memory": 30}), side, 3, 0)
    kept = [given.get_layer(f"{name}_distance").memory for name in ("fine", "coarse")]
    kept.append(given.get_layer("detail_distance").mean)
    assert sum(np.asarray(x).nbytes for x in kept) == detector.memory_bytes(3, 30, side)


def test_a_loss_that_is_no_number_ends_the_training_with_the_epochs_before_kept(
    train, monkeypatch, case
):
    expected, validate = train(epochs=2, schedule="constant"), training._validate
    epochs = iter((1, 2, 3))

    def broken(*given: object) -> dict[str, float]:
        return validate(*given) | ({"val_loss": float("nan")} if next(epochs) == 3 else {})

    monkeypatch.setattr(training, "_validate", broken)
    result = train(state="other", epochs=5, schedule="constant")
    assert digest(result) == digest(expected)
    assert result.metrics()["epochs"] == 2 and result.metrics()["diverged_in_epoch"] == 3
    said = training.diverged(result.progress, SHIPPED.train)
    case("Numbers", "a loss that is no number in a later epoch", f"the training ends: `{said}`")
