"""What noise and JPEG do to the pooled features."""

from dataclasses import replace

import numpy as np
import pytest
from test_fitting import CATEGORIES, data

from twinhead.dataset import splits
from twinhead.model import nuisance


class Trunk:
    """A stand-in for the backbone: the pictures' means and spreads, and how often it was asked."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, inputs: list[np.ndarray], training: bool) -> dict[str, np.ndarray]:
        (images,) = inputs
        assert images.dtype == np.float32 and not training
        self.seen += len(images)
        return {"pooled": pooled(images)}


def pooled(images: np.ndarray) -> np.ndarray:
    return np.stack([images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3))], axis=1)


@pytest.fixture
def given():
    """Six, no, two and one good photographs of the four categories, all in train."""
    made = data([(6, 2), (0, 3), (2, 0), (1, 1)])
    pixels = np.full((len(made.category), 32, 32, 3), 128, np.uint8)
    pixels[:, ::2] = 100
    return replace(made, pooled=pooled(pixels.astype(np.float32))[:, None]), pixels


def test_noise_spreads_the_values_and_a_category_without_good_ones_has_no_change(given):
    known, pixels = given
    trunk = Trunk()
    found = nuisance.changes(trunk, pixels, known, seed=3)
    assert found.shape == (CATEGORIES, len(nuisance.KINDS), 2) and found.dtype == np.float32
    assert (found[1] == 0).all() and trunk.seen == len(nuisance.KINDS) * (2 + 2 + 1)
    strong, weak = (np.hypot(14, noise) - 14 for noise in (3, 1))
    np.testing.assert_allclose(found[[0, 2, 3], 0], [[0, strong]] * 3, atol=0.1)
    np.testing.assert_allclose(found[[0, 2, 3], 1], [[0, weak]] * 3, atol=0.1)
    np.testing.assert_array_equal(found, nuisance.changes(Trunk(), pixels, known, seed=3))


def test_jpeg_smooths_fine_structure(given):
    known, pixels = given
    fine = np.random.default_rng(0).integers(100, 156, pixels.shape, np.uint8)
    known = replace(known, pooled=pooled(fine.astype(np.float32))[:, None])
    found = nuisance.changes(Trunk(), fine, known, seed=0)
    assert found[0, 3, 1] < found[0, 4, 1] < -1  # quality 70 more than 90


def test_noise_of_a_camera_without_colours_is_grey():
    image = np.full((8, 8, 3), 128, np.uint8)
    grey, coloured = (
        nuisance.noisy(image, 20, np.random.default_rng(0), grey=choice) for choice in (True, False)
    )
    assert (grey == grey[..., :1]).all() and grey.std() > 10
    assert (coloured != coloured[..., :1]).any()


def test_only_good_training_photographs_are_changed(given):
    known, pixels = given
    train = known.split == splits.TRAIN
    train[:5] = False
    known = replace(known, split=np.where(train, splits.TRAIN, splits.TEST))
    pixels[~train | (known.defective == 1)] = 0  # would change the means
    found = nuisance.changes(Trunk(), pixels, known, seed=0)
    assert np.abs(found[0, 0, 0]) < 0.5
