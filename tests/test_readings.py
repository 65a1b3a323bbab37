"""The readings of a photograph's patches: each alone, and as one score, map and probability."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from twinhead.model import patch_networks, readings
from twinhead.model.readings import COARSE, DETAIL, FINE, LEARNED, POOLED, READINGS

IMAGES, CATEGORIES = 6, 3
CATEGORY = np.array([0, 1, 2, 0, 1, 2], np.int32)
VALUES = st.floats(-50, 50, width=32)
WEIGHTS = st.floats(0, 10, width=32)


@pytest.fixture(scope="module")
def score() -> readings.Combine:
    return readings.Combine(CATEGORIES, list(READINGS), readings.SCORE_FLOORS)


@settings(max_examples=100, deadline=None)
@given(
    values=arrays.arrays(np.float32, (len(READINGS), IMAGES, 1), elements=VALUES),
    weight=arrays.arrays(np.float32, (CATEGORIES, len(READINGS)), elements=WEIGHTS),
)
def test_what_was_learned_never_lowers_the_score(score, values, weight):
    score([*values, CATEGORY])  # which builds it
    score.weight.assign(weight)
    found = np.asarray(score([*values, CATEGORY]))
    own = weight[CATEGORY]
    fine, coarse = READINGS.index(FINE), READINGS.index(COARSE)
    of_memory = own[:, [fine]] * values[fine] + own[:, [coarse]] * values[coarse]
    assert (found >= of_memory - 1e-3).all()


def test_no_floor_holds_the_memory():
    assert set(readings.SCORE_FLOORS) == {POOLED, LEARNED}
    assert all(floor == 0 for floor in readings.SCORE_FLOORS.values())


def test_a_map_is_the_readings_mean_by_their_weights_from_their_floors_up():
    layer = readings.Combine(2, [FINE, LEARNED], {LEARNED: readings.MAP_FLOORS[LEARNED]}, mean=True)
    maps = [np.full((2, 1, 1, 1), value, np.float32) for value in (5, -100)]
    category = np.array([0, 1], np.int32)
    layer([*maps, category])
    weight = np.zeros((2, len(READINGS)))
    weight[:, READINGS.index(FINE)], weight[:, READINGS.index(LEARNED)] = (1, 3), (1, 1)
    layer.weight.assign(weight)
    found = np.asarray(layer([*maps, category])).ravel()
    np.testing.assert_allclose(found, [(5 - 3) / 2, (3 * 5 - 3) / 4])


@settings(max_examples=50, deadline=None)
@given(
    values=arrays.arrays(np.float32, (IMAGES, 1), elements=st.floats(-8, 8, width=32)),
    slope=st.floats(0.001, 3),
    offset=arrays.arrays(np.float32, (CATEGORIES, 1), elements=st.floats(-4, 4, width=32)),
)
def test_calibration_keeps_the_order_within_a_category(values, slope, offset):
    layer = readings.Calibrate(CATEGORIES)
    layer([values, CATEGORY])
    layer.slope.assign(np.full((CATEGORIES, 1), slope))
    layer.offset.assign(offset)
    found = np.asarray(layer([values, CATEGORY]))
    assert ((found >= 0) & (found <= 1)).all()
    for number in range(CATEGORIES):
        own = CATEGORY == number
        order = np.argsort(values[own, 0], kind="stable")
        assert (np.diff(found[own][order, 0]) >= 0).all()


@pytest.mark.parametrize("share", [0.01, 0.03, 0.5, 1.0])
def test_the_mean_of_the_oddest_patches_is_the_same_in_the_network_and_beside_it(share):
    maps = np.random.default_rng(0).normal(0, 1, (4, 9, 7)).astype(np.float32)
    found = np.asarray(readings.TopMean(share)(maps))[:, 0]
    highest = np.sort(maps.reshape(4, -1), axis=1)[:, ::-1]
    expected = highest[:, : max(1, round(share * 63))].mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(readings.top_mean(maps, share), expected, rtol=1e-5)
    several = np.asarray(readings.TopMean(share)(maps[None]))
    np.testing.assert_allclose(several, expected[None], rtol=1e-5)


def test_rings_count_cells_from_the_border_inward():
    expected = [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 2, 1, 0], [0, 1, 1, 1, 0], [0] * 5]
    assert readings.rings(5, 5, 5).tolist() == expected
    assert readings.rings(5, 5, 2).max() == 1 and readings.rings(1, 1, 3).tolist() == [[0]]


def test_a_distance_is_taken_over_the_level_of_its_category_s_ring():
    layer = readings.RingLevel(categories=2, rings=2)
    maps, category = np.ones((2, 3, 3), np.float32), np.array([0, 1], np.int32)
    layer([maps, category])
    layer.level.assign([[2, 4], [5, 10]])
    found = np.asarray(layer([maps, category]))
    assert found[0, 0, 0] == 0.5 and found[0, 1, 1] == 0.25
    assert found[1, 2, 1] == pytest.approx(0.2) and found[1, 1, 1] == pytest.approx(0.1)


def test_values_beyond_the_limit_count_as_at_it():
    layer = readings.Standardise(categories=2, limit=20.0)
    values = np.array([[[7.0]], [[7.0]]], np.float32)
    category = np.array([0, 1], np.int32)
    layer([values, category])
    layer.assign(np.array([5, 5]), np.array([4, 1e-6]))
    assert np.asarray(layer([values, category])).ravel().tolist() == [0.5, 20]


def test_the_maps_of_three_strides_come_on_one_grid():
    shapes = ((1, 5, 5, 1), (1, 3, 3, 2), (1, 2, 2, 3))
    fine, middle, coarse = (np.arange(np.prod(s), dtype=np.float16).reshape(s) for s in shapes)
    found = [np.asarray(x) for x in readings.SameGrid()([fine, middle])]
    found.append(np.asarray(patch_networks.repeated(coarse.astype(np.float32), 3, 3)))
    assert [x.shape for x in found] == [(1, 3, 3, 1), (1, 3, 3, 2), (1, 3, 3, 3)]
    assert {x.dtype for x in found} == {np.dtype("float32")}
    assert found[0][0, 0, 0, 0] == np.mean([0, 1, 5, 6])
    np.testing.assert_array_equal(found[1], middle)
    assert (found[2][0, 1, 1] == coarse[0, 0, 0]).all()
    assert (found[2][0, 2, 2] == coarse[0, 1, 1]).all()


def test_how_unusual_a_photograph_is_reads_its_own_map_s_values_and_each_distance():
    layer = readings.Unusual(3, [3.0, 0.5])
    deviation = np.array([[3, 4]] * 4, np.float32)
    near, oddest = np.array([[[0], [0], [0], [9]], [[-9], [0], [8], [0]]], np.float32)
    given = [deviation, near, oddest, np.array([0, 1, 1, 2])]
    layer(given)
    layer.usual.assign([[1], [5], [50]])
    root = np.sqrt((9 + 16) / 2)
    np.testing.assert_allclose(np.asarray(layer(given))[:, 0], [root, root / 5, 4, 27], rtol=1e-6)


def test_the_mahalanobis_distance_is_that_of_the_category_s_own_covariance():
    rng = np.random.default_rng(0)
    layer, known = readings.Mahalanobis(2), rng.normal(0, 1, (50, 3)) @ rng.normal(0, 1, (3, 3)) + 5
    asked = np.array([[1, 2, 3]] * 2, np.float32)
    given = [asked, np.array([0, 1])]
    layer(given)
    inverse = np.linalg.inv(np.cov(known.T))
    layer.mean.assign([known.mean(axis=0), [0, 0, 0]])
    layer.whitening.assign([np.linalg.cholesky(inverse), np.zeros((3, 3))])
    apart = asked[0] - known.mean(axis=0)
    expected = [np.sqrt(apart @ inverse @ apart / 3), 0]
    np.testing.assert_allclose(np.asarray(layer(given))[:, 0], expected, rtol=1e-4)


def test_a_patch_is_compared_with_good_ones_at_its_place_by_its_category_s_covariance():
    rng = np.random.default_rng(0)
    layer = readings.PatchMahalanobis(CATEGORIES)
    x = rng.normal(0, 2, (IMAGES, 3, 5, 4)).astype(np.float16)
    layer([x, CATEGORY])
    mean = rng.normal(0, 1, (CATEGORIES, 3, 5, 4)).astype(np.float16)
    spread = rng.normal(0, 1, (CATEGORIES, 4, 4)) + 3 * np.eye(4)
    covariance = spread @ spread.transpose(0, 2, 1)
    layer.mean.assign(mean)
    layer.whitening.assign(np.linalg.cholesky(np.linalg.inv(covariance)))
    found = np.asarray(layer([x, CATEGORY]))
    assert found.shape == (IMAGES, 3, 5)
    for image, row, column in ((0, 0, 0), (1, 2, 4), (5, 1, 2)):
        category = CATEGORY[image]
        apart = x[image, row, column].astype(float) - mean[category, row, column]
        squared = apart @ np.linalg.inv(covariance[category]) @ apart / 4
        assert found[image, row, column] == pytest.approx(np.sqrt(squared), rel=1e-4)


def test_a_map_is_enlarged_between_its_cells():
    ramp = np.arange(4, dtype=np.float32)[None, None, :, None].repeat(2, axis=1)
    found = np.asarray(readings.Enlarged(3, 8)(ramp))[..., 0]
    assert found.shape == (1, 3, 8)
    np.testing.assert_allclose(found[0, 1], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)


def test_a_detail_counts_its_share_beside_a_whole_and_cannot_blot_it_out():
    layer = readings.Sharpened(0.5, (-6.0, -6.0))
    found = layer([np.float32([6, 6, -9, -9]), np.float32([3, -100, 3, -100])])
    np.testing.assert_allclose(found, [5, 2, -3, -6])
    assert readings.MAP_FLOORS[FINE] == readings.MAP_FLOORS[DETAIL]


def test_the_layers_are_kept_under_names_of_ours():
    """So that moving a module changes no byte of a model."""
    for layer in (readings.TopMean(0.1), readings.Combine(2, [FINE], {}), readings.Calibrate(1)):
        kept = keras.saving.serialize_keras_object(layer)
        assert kept["registered_name"].startswith("twinhead>")
        assert kept["module"] == "twinhead"
