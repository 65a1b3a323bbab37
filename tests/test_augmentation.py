"""Augmentation: bounded, and a function of seed, epoch and image alone."""

import numpy as np
import pytest

from twinhead import params
from twinhead.model.augmentation import augment

OFF = {"flip": False, "brightness": 0.0, "contrast": [1.0, 1.0]}


def settings(**changes: object) -> params.Augmentation:
    return params.Augmentation(**OFF | changes)


PAPER = settings(flip=True, brightness=0.2, contrast=[0.8, 1.2])


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def draws(image: np.ndarray, change: params.Augmentation, images: int = 300) -> np.ndarray:
    return np.array([augment(image, row, 1, 42, change) for row in range(images)])


def test_is_a_function_of_seed_epoch_and_image_alone(image):
    first = augment(image, 5, 2, 42, PAPER)
    draws(image, PAPER, 9)  # what is drawn in between changes nothing
    assert (augment(image, 5, 2, 42, PAPER) == first).all()
    for row, epoch, seed in ((6, 2, 42), (5, 3, 42), (5, 2, 43)):
        assert (augment(image, row, epoch, seed, PAPER) != first).any()


def test_switched_off_it_changes_nothing(image):
    assert (draws(image, settings(), 50) == image).all()


def test_gives_float32_of_the_same_shape_within_0_to_255(image):
    wild = draws(image, settings(flip=True, brightness=1.0, contrast=[0.1, 5.0]))
    assert wild.shape[1:] == image.shape and wild.dtype == np.float32
    assert (wild.min(), wild.max()) == (0, 255)


def test_every_other_image_is_mirrored_exactly(image):
    found = draws(image, settings(flip=True))
    mirrored = (found == image[:, ::-1]).all(axis=(1, 2, 3))
    assert ((found == image).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert mirrored.mean() == pytest.approx(0.5, abs=0.1)


def test_brightness_is_added_up_to_its_bound_both_ways():
    grey = np.full((4, 4, 3), 128, np.uint8)
    added = draws(grey, settings(brightness=0.2)) - 128
    assert (np.ptp(added, axis=(1, 2, 3)) == 0).all()
    assert -51 <= added.min() < -48 and 48 < added.max() <= 51


def test_contrast_scales_each_channel_about_its_mean_within_its_bounds():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2], image[2:] = (100, 80, 60), (140, 160, 100)
    found = draws(image, settings(contrast=[0.8, 1.2]))
    factors = np.ptp(found, axis=(1, 2)) / [40, 80, 40]
    means = np.tile([120, 120, 80], (300, 1))
    np.testing.assert_allclose(found.mean(axis=(1, 2)), means, rtol=1e-4)
    np.testing.assert_allclose(factors, factors[:, :1].repeat(3, axis=1), rtol=1e-4)
    assert 0.8 <= factors.min() < 0.81 and 1.19 < factors.max() <= 1.2 + 1e-6


def test_the_image_given_is_left_as_it_was(image):
    before = image.copy()
    draws(image, PAPER, 5)
    assert (image == before).all()
