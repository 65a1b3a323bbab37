"""What noise and JPEG do to the pooled features."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from test_fitting import CATEGORIES, data

from twinhead.dataset import splits
from twinhead.model import nuisance, training_data

NAMES = list(nuisance.KINDS)


class Trunk:
    """A stand-in for the backbone: what `pooled` gives, and what it was asked."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict_on_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
        assert images.dtype == np.float32
        self.batches.append(len(images))
        return {"pooled": pooled(images)}


def pooled(images: np.ndarray) -> np.ndarray:
    """The pictures' means, their spreads, and the spreads between their channels: (n, 3)."""
    images = np.asarray(images, np.float64)
    means, spreads = images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3))
    return np.stack([means, spreads, images.std(axis=3).mean(axis=(1, 2))], axis=1)


def described(pixels: np.ndarray) -> training_data.Data:
    """Six, no, two and one good photographs of the four categories, all in train."""
    made = data([(6, 2), (0, 3), (2, 0), (1, 1)])
    return replace(made, pooled=pooled(pixels)[:, None].astype(np.float32))


@pytest.fixture
def flat() -> np.ndarray:
    """Photographs without structure, each as bright as no other."""
    bright = np.arange(15, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(90 + 5 * bright, (15, 96, 96, 3)).copy()


@pytest.fixture
def textured() -> np.ndarray:
    """Photographs of fine structure, each with another contrast."""
    drawn = np.random.default_rng(0).normal(0, 1, (15, 96, 96, 1))
    contrast = np.arange(10, 25)[:, None, None, None]
    return np.clip(128 + contrast * drawn, 0, 255).astype(np.uint8).repeat(3, axis=3)


def test_each_noise_changes_what_it_should(flat):
    trunk = Trunk()
    found = nuisance.changes(trunk, flat, described(flat), seed=3)
    assert found.shape == (CATEGORIES, len(NAMES), 3) and found.dtype == np.float32
    assert (found[1] == 0).all()  # no good photograph
    for category in (0, 2, 3):
        of_kind = dict(zip(NAMES, found[category], strict=True))
        for strength, name in ((3, "noise 3"), (1, "noise 1"), (3, "grey noise 3")):
            spread = np.hypot(strength, 1 / np.sqrt(12))  # with the rounding's
            np.testing.assert_allclose(of_kind[name][:2], [0, spread], atol=0.05 * strength)
            assert (of_kind[name][2] > 0.5 * strength) == (name != "grey noise 3")
        assert np.abs(of_kind["grey noise 3"][2]) < 1e-3
        assert np.abs(of_kind["JPEG 70"][1:]).max() < 0.1  # nothing to smooth


def test_it_is_the_mean_over_photographs_drawn_by_seed(textured):
    """The difference from the same photographs unchanged, as JPEG of that quality has them."""
    given, rng = described(textured), np.random.default_rng(0)
    own = np.flatnonzero((given.category == 0) & (given.defective == 0))
    drawn = set()
    for seed in range(6):
        found = nuisance.changes(Trunk(), textured, given, seed)
        np.testing.assert_array_equal(found, nuisance.changes(Trunk(), textured, given, seed))
        for quality in (70, 90):
            expected = {}
            for pair in combinations(own, nuisance.PHOTOGRAPHS):
                changed = [nuisance.jpeg(quality)(textured[row], rng) for row in pair]
                apart = pooled(np.stack(changed)) - pooled(textured[list(pair)])
                expected[pair] = apart.mean(axis=0)
            place = NAMES.index(f"JPEG {quality}")
            near = [
                pair
                for pair, change in expected.items()
                if np.allclose(found[0, place], change, atol=1e-3)
            ]
            assert len(near) == 1
            drawn.add(near[0])
    assert len(drawn) > 1


def test_only_good_training_photographs_are_changed(flat):
    given = described(flat)
    train = given.split == splits.TRAIN
    train[:5] = False
    given = replace(given, split=np.where(train, splits.TRAIN, splits.TEST))
    flat[~train | (given.defective == 1)] = 0  # would change the means
    found = nuisance.changes(Trunk(), flat, given, seed=0)
    assert np.abs(found[0, 0, 0]) < 0.5


def test_no_more_photographs_go_through_the_backbone_at_a_time_than_elsewhere(flat, monkeypatch):
    monkeypatch.setattr(training_data, "at_a_time", lambda side: 4)
    trunk = Trunk()
    nuisance.changes(trunk, flat, described(flat), seed=0)
    assert max(trunk.batches) == 4
    assert sum(trunk.batches) == len(NAMES) * (2 + 2 + 1)
