"""The networks: the paper's, layer by layer, and the one on a pretrained backbone."""

import hashlib
import time
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest

from twinhead import params
from twinhead.backbones import extraction, pooling
from twinhead.model import detector, heads, network
from twinhead.model.moments import Moments

PAPER = params.Model(
    backbone="cnn", weights="imagenet", frozen=True, memory=10, tasks=["category", "defect"]
)
DETECTED = {"anomaly_map", "unusual"}
"""What a network that reads patches answers beside the probabilities."""
PRETRAINED = PAPER.model_copy(update={"backbone": "efficientnet_lite0"})


def answered(model: keras.Model, given: np.ndarray | dict) -> dict[str, np.ndarray]:
    """What it answers, by a call: `predict` would trace a graph for each of these networks."""
    return {name: values.numpy() for name, values in model(given, training=False).items()}


@pytest.fixture(scope="module")
def paper() -> keras.Model:
    return network.build(PAPER, image_size=224, categories=15, seed=1)


@pytest.fixture(scope="module")
def pretrained() -> keras.Model:
    return network.build(PRETRAINED, image_size=64, categories=3, seed=1)


def test_the_chromaticity_is_the_tint_whatever_the_brightness():
    grey = np.full((16, 16, 3), 120, np.float32)
    red = grey * np.array([1.1, 1, 0.9], np.float32)
    black = np.zeros_like(grey)
    given = np.stack([grey, red, 0.5 * red, black, black + [1, 0, 0]]).astype(np.float32)
    found = np.asarray(pooling.Chromaticity()(given))
    expected = np.log([1.1, 0.9])
    np.testing.assert_allclose(found[:3], [[0, 0], expected, expected], atol=0.002)
    # Nearly black, a photograph has a tint, but no endless one.
    np.testing.assert_allclose(found[3:], [[0, 0], [np.log(2), 0]], atol=1e-6)


def test_the_papers_network_has_720_976_parameters(paper: keras.Model) -> None:
    assert paper.count_params() == 720_976


def test_two_networks_of_the_paper_have_1_240_976_parameters() -> None:
    alone = [
        network.build(PAPER.model_copy(update={"tasks": [task]}), 224, 15, seed=1)
        for task in ("category", "defect")
    ]
    assert sum(model.count_params() for model in alone) == 1_240_976


def test_the_papers_layers_are_the_papers(paper: keras.Model) -> None:
    kinds = [type(layer).__name__ for layer in paper.layers]
    assert kinds[:11] == ["InputLayer", "Rescaling", *["Conv2D", "MaxPooling2D"] * 4,
                          "GlobalAveragePooling2D"]  # fmt: skip
    filters = [layer.filters for layer in paper.layers if isinstance(layer, keras.layers.Conv2D)]
    assert filters == [32, 64, 128, 256]
    units = {la.name: la.units for la in paper.layers if isinstance(la, keras.layers.Dense)}
    assert units == {"shared": 512, "category_hidden": 256, "category_logits": 15,
                     "defect_hidden": 128, "defect_logit": 1}  # fmt: skip
    rates = {la.name: la.rate for la in paper.layers if isinstance(la, keras.layers.Dropout)}
    assert rates == {"shared_dropout": 0.5, "category_dropout": 0.3, "defect_dropout": 0.3}


@pytest.mark.parametrize("tasks", [["category"], ["defect"], ["defect", "category"]])
@pytest.mark.parametrize("settings", [PAPER, PRETRAINED])
def test_each_task_has_its_answer(settings: params.Model, tasks: list[str]) -> None:
    model = network.build(settings.model_copy(update={"tasks": tasks}), 64, 3, seed=1)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    answers = answered(model, images)
    assert network.detects(model) == (settings is PRETRAINED and "defect" in tasks)
    assert set(answers) == set(tasks) | (DETECTED if network.detects(model) else set())
    if "category" in tasks:
        assert answers["category"].shape == (2, 3)
        assert np.allclose(answers["category"].sum(axis=1), 1)
    if "defect" in tasks:
        assert answers["defect"].shape == (2, 1)


@pytest.mark.parametrize("settings", [PAPER, PRETRAINED])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_answers_are_float32_whatever_the_precision(precision: str, settings: params.Model) -> None:
    model = network.build(settings, 32, 3, seed=1, precision=precision)
    assert {x.dtype for x in model.output.values()} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_a_frozen_backbone_has_nothing_to_train(pretrained: keras.Model) -> None:
    names = {weight.path.split("/")[0] for weight in pretrained.trainable_weights}
    of_heads = {"category_hidden", "category_logits", "defect_logit"}
    assert names > of_heads
    assert names - of_heads == set(detector.NETWORKS)
    thawed = network.build(PRETRAINED.model_copy(update={"frozen": False}), 64, 3, seed=1)
    assert any("block0" in weight.path for weight in thawed.trainable_weights)


def moments(
    features: np.ndarray, category: list[int], defective: list[int], categories: int = 0
) -> Moments:
    """Taken one image after the other."""
    found = Moments(categories or max(category) + 1, features.shape[1])
    groups = Moments.group(np.array(category), np.array(defective))
    for row in range(len(features)):
        found.add(features[row : row + 1], groups[row : row + 1])
    return found


def test_moments_are_those_of_all_images_at_once() -> None:
    features = np.random.default_rng(0).normal(1000, 3, (30, 4)).astype(np.float32)
    category, defective = np.arange(30) % 3, np.arange(30) % 2
    found = moments(features, list(category), list(defective))
    count, mean, spread = found.joined(range(6))
    assert count == 30
    np.testing.assert_allclose(mean, features.mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(spread, features.astype(float).std(axis=0), rtol=1e-9)
    own = ((features.astype(float) - 2) / 5)[(category == 2) & (defective == 1)]
    count, mean, spread = found.scaled(np.full(4, 2), np.full(4, 5)).joined([Moments.group(2, 1)])
    np.testing.assert_allclose(mean, own.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(spread, own.std(axis=0), rtol=1e-9)
    assert list(found.as_one_category().count) == [15, 15]


def test_features_and_what_follows_them_make_the_whole_network(pretrained: keras.Model) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 64, 64, 3)).astype(np.float32)
    features = answered(network.trunk(pretrained), [images])
    network.adapt(pretrained, moments(features["pooled"], [0, 1, 2], [0, 0, 0]))
    part = network.answering_part(pretrained)
    whole, after = answered(pretrained, images), answered(part, features)
    assert set(after) == set(whole)
    for name in whole:
        np.testing.assert_allclose(after[name], whole[name], rtol=1e-4, atol=1e-5)


def test_the_part_that_is_trained_gives_the_heads_own_probabilities(pretrained) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 64, 64, 3)).astype(np.float32)
    pooled = answered(network.trunk(pretrained), [images])["pooled"]
    tasks = ["category", "defect"]
    of_images, of_features = (
        answered(network.learning_part(pretrained, tasks, stored), given)
        for stored, given in ((False, images), (True, pooled))
    )
    assert set(of_images) == set(of_features) == set(tasks)
    for task in tasks:
        np.testing.assert_allclose(of_images[task], of_features[task], rtol=1e-4, atol=1e-5)
    # Keras starts this head at 0: no opinion.
    np.testing.assert_array_equal(of_features["defect"], 0.5)


def test_the_backbone_of_the_features_is_that_of_the_network(pretrained: keras.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.float32)
    alone, own = (
        answered(trunk, images) for trunk in (extraction.trunk(64), network.trunk(pretrained))
    )
    assert set(alone) == set(own)
    for name in own:
        np.testing.assert_array_equal(alone[name], own[name])


@pytest.mark.parametrize("settings", [PAPER, PRETRAINED])
def test_equal_networks_are_equal_files_on_another_day(
    settings: params.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = set()
    for number, name in enumerate(("a.keras", "b.keras")):
        later = time.time() + number * 90_000
        monkeypatch.setattr(time, "time", lambda later=later: later)
        network.save(network.build(settings, 32, 3, seed=5), tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.keras", "b.keras"]


@pytest.mark.parametrize("settings", [PAPER, PRETRAINED])
def test_a_saved_network_answers_as_before(settings: params.Model, tmp_path: Path) -> None:
    model = network.build(settings, 32, 3, seed=5)
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    if settings is PRETRAINED:
        features = np.random.default_rng(2).normal(size=(6, 1408)).astype(np.float32)
        network.adapt(model, moments(features, [0, 0, 1, 1, 2, 2], [0] * 6))
    network.save(model, tmp_path / "model.keras")
    again = answered(network.load(tmp_path / "model.keras"), images)
    for task, answers in answered(model, images).items():
        np.testing.assert_array_equal(answers, again[task])


def test_deviation_is_measured_from_good_images_of_the_category_seen() -> None:
    features = np.array([[0.0, 10], [2, 10], [50, 0], [100, 4], [104, 8]], np.float32)
    layer = heads.Deviation(2)
    layer.build([(None, 2), (None, 2)])
    layer.adapt(moments(features, [0, 0, 0, 1, 1], [0, 0, 1, 0, 0]))
    seen = np.array([[1.0, 0], [0, 1]], np.float32)
    result = np.asarray(layer([np.array([[3.0, 10], [106, 4]], np.float32), seen]))
    # Good images of category 0 are 0 and 2: mean 1, deviation 1; of category 1: 102 and 2.
    np.testing.assert_allclose(result[:, 0], [2, 2], rtol=1e-4)
    # Constant in category 0: the spread counts as a tenth of the average, (0 + 2) / 2.
    np.testing.assert_allclose(np.asarray(layer.scale)[:, 1], [0.1, 2], rtol=1e-3)


def test_deviation_copes_with_categories_without_good_images_and_with_single_ones() -> None:
    features = np.array([[4.0], [6], [1]], np.float32)
    layer = heads.Deviation(3)
    layer.build([(None, 1), (None, 3)])
    layer.adapt(moments(features, [0, 0, 1], [1, 1, 0], categories=3))
    np.testing.assert_allclose(np.asarray(layer.mean)[:, 0], [5, 1, 0])
    assert np.isfinite(np.asarray(layer.scale)).all() and (np.asarray(layer.scale) > 0).all()


@pytest.mark.parametrize("backbone", ["cnn", "efficientnet_lite0"])
@pytest.mark.parametrize("tasks", [["category", "defect"], ["category"], ["defect"]], ids=str)
def test_the_params_know_which_layers_can_be_mapped(backbone: str, tasks: list[str]) -> None:
    settings = PAPER.model_copy(update={"backbone": backbone, "tasks": tasks})
    model = network.build(settings, 32, 3, seed=1)
    named = get_args(params.Embed.model_fields["layer"].annotation)
    there = {layer.name for layer in model.layers} & set(named)
    assert set(params._layers(settings)) == there


def test_params_and_network_know_the_same_backbones_from_scratch() -> None:
    assert set(network.FROM_SCRATCH) == set(params.FROM_SCRATCH)


def test_fifteen_categories_fit_into_40_mb(tmp_path: Path) -> None:
    settings = PRETRAINED.model_copy(update={"memory": 2000})
    network.save(network.build(settings, 320, 15, seed=1), tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 40e6
