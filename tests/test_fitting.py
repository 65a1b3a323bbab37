"""Fitting the readings: good images suffice, odd categories do no harm, the same in and out."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from twinhead import params
from twinhead.dataset import splits
from twinhead.evaluation import operating_point
from twinhead.model import (
    detail,
    detector,
    fitting,
    heads,
    network,
    patch_networks,
    stacking,
    training_data,
)
from twinhead.model.detector import FOLDS, WIDTHS
from twinhead.model.moments import Moments

SIDE = 32
GRIDS = {"stage3": 4, "stage5": 2, "stage7": 1}
"""Cells a side of the maps of a photograph of SIDE pixels."""
SETTINGS = params.Model(
    backbone="efficientnet_lite0",
    weights="imagenet",
    frozen=True,
    memory=10,
    tasks=["category", "defect"],
)
SCHEDULE = fitting.Schedule(epochs=2, batch_size=8, learning_rate=0.001, seed=3)
CATEGORIES = 4


@pytest.fixture(scope="module")
def built() -> tuple[keras.Model, list[np.ndarray]]:
    model = network.build(SETTINGS, SIDE, CATEGORIES, seed=1)
    return model, model.get_weights()


@pytest.fixture
def model(built) -> keras.Model:
    """The network as it was built."""
    built[0].set_weights(built[1])
    return built[0]


def data(counts: list[tuple[int, int]], seed: int = 0) -> training_data.Data:
    """So many good and defective images of each category, with made-up features; all train.

    A category has its own mean; a defect shifts the features of one corner.
    """
    rng, kinds = np.random.default_rng(seed), []
    for number, (good, defective) in enumerate(counts):
        kinds += [(number, 0)] * good + [(number, 1)] * defective
    category, defective = np.array(kinds).T
    images = len(kinds)
    pooled = rng.normal(0, 1, (images, 1, 1408)) + 3 * category[:, None, None]
    pooled += 0.5 * defective[:, None, None]
    maps = {}
    for name, side in GRIDS.items():
        values = rng.normal(0, 1, (images, side, side, WIDTHS[name]))
        values += 2 * category[:, None, None, None]
        values[:, 0, 0] += 4 * defective[:, None]
        maps[name] = values.astype(np.float16)
    tint = rng.normal(0, 0.01, (images, 2)) + 0.2 * category[:, None]
    return training_data.Data(
        pooled.astype(np.float32),
        tint.astype(np.float32),
        maps,
        category.astype(np.int32),
        defective,
        np.full(images, splits.TRAIN),
        np.arange(images),
        {},
        CATEGORIES,
    )


STILL = np.zeros((CATEGORIES, 0, 1408), np.float32)
"""Nothing but defects changes a photograph."""


def fit(model: keras.Model, given: training_data.Data, changes: np.ndarray = STILL) -> pd.DataFrame:
    return fitting.fit(model, given, changes, SCHEDULE)


def answers(model: keras.Model, given: training_data.Data) -> dict[str, np.ndarray]:
    inputs = given.maps | {"pooled": given.pooled[:, 0], "chromaticity": given.chromaticity}
    found = network.answering_part(model)(inputs, training=False)  # no graph for each network
    return {name: values.numpy() for name, values in found.items()}


ODD = data([(8, 4), (1, 3), (0, 3), (1, 0)])
"""An ordinary category; one with a single good image; one without; one of a single image."""


@pytest.fixture(scope="module")
def fitted(built, tmp_path_factory) -> tuple[pd.DataFrame, list[np.ndarray], bytes]:
    """What came of ODD: the table, the weights and the network's file."""
    model, weights = built
    model.set_weights(weights)
    table = fit(model, ODD)
    file = tmp_path_factory.mktemp("fitted") / "model.keras"
    network.save(model, file)
    return table, model.get_weights(), file.read_bytes()


def test_categories_with_one_good_image_none_or_one_image_do_no_harm(model, fitted):
    table, weights, _ = fitted
    odd = ODD
    model.set_weights(weights)
    assert len(table) == len(odd.category)
    # A distance that no other fold can give is none.
    assert np.isfinite(table.drop(columns=["fine", "coarse", "peak"]).to_numpy(float)).all()
    assert all(np.isfinite(np.asarray(weight)).all() for weight in model.weights)
    found = answers(model, odd)
    assert all(np.isfinite(values).all() for values in found.values())
    own = table[odd.category == 0]
    assert own["score"][odd.defective[own.index] == 1].min() > (
        own["score"][odd.defective[own.index] == 0].median()
    )


def test_the_same_images_give_the_same_file(model, fitted, tmp_path):
    keras.utils.set_random_seed(99)  # whatever has run before
    table = fit(model, ODD)
    network.save(model, tmp_path / "again.keras")
    assert table.to_csv() == fitted[0].to_csv()
    assert (tmp_path / "again.keras").read_bytes() == fitted[2]


@pytest.fixture
def good() -> training_data.Data:
    return data([(12, 0), (12, 0), (2, 0), (1, 0)])


def test_good_images_alone_give_a_detector(model, good):
    table = fit(model, good)
    assert (table["pooled"] == 0).all() and (table["learned"] == 0).all()
    for name in ("score", "map_score"):
        weight = np.asarray(model.get_layer(name).weight)
        np.testing.assert_array_equal(weight, np.tile(stacking.PRIOR, (CATEGORIES, 1)))
    assert (np.asarray(model.get_layer("defect").offset) == stacking.GOOD_ONLY_OFFSET).all()
    shown = data([(12, 12), (12, 12), (0, 0), (0, 0)], seed=9)
    # The category is asked for, not guessed: its head is untrained.
    found = {}
    for number in range(2):
        own = shown.category == number
        model.get_layer("category_logits").bias.assign(50.0 * np.eye(CATEGORIES)[number])
        found[number] = answers(model, shown)["defect"][own, 0]
        bad = shown.defective[own] == 1
        assert found[number][bad].min() > found[number][~bad].max()


def test_a_category_without_labels_is_judged_as_if_no_other_had_any(model):
    """Only what other products' defects look like differs: its own levels and memory don't."""
    labelled, unlabelled = [(12, 8), (12, 0), (2, 0), (1, 0)], [(12, 0), (12, 0), (2, 0), (1, 0)]
    own, found = {}, {}
    for name, counts in (("beside", labelled), ("alone", unlabelled)):
        given = data(counts)
        table = fit(model, given)
        own[name] = {
            of: np.asarray(getattr(model.get_layer(layer), of))[1:]
            for layer, of in (("score", "weight"), ("defect", "slope"), ("defect", "offset"))
        }
        rows = given.category == 1
        found[name] = table["defect_probability"][rows].to_numpy()
    np.testing.assert_array_equal(own["alone"]["slope"], 1)
    for of, weight in own["alone"].items():
        np.testing.assert_array_equal(own["beside"][of], weight)
    # The folds are dealt anew, so each image is read by others.
    assert np.median(found["beside"]) == pytest.approx(np.median(found["alone"]), rel=0.5)


def test_an_image_is_read_by_what_the_others_have_given(model, good):
    """By a memory that holds its own patches an image would be flawless."""
    table = fit(model, good)
    layer = model.get_layer("fine_distance")
    assert layer.capacity == 10
    two = table[good.category < 2]
    assert np.exp(two["fine"]).min() > 0.1
    assert set(two["fold"]) == set(range(FOLDS))


def test_a_patch_far_from_all_good_ones_is_unknown_whatever_the_labels_have_taught(model):
    """The pooled features are as usual, and the weights those of another kind of defect."""
    given = data([(12, 8), (12, 8), (2, 0), (1, 0)])
    table = fit(model, given)
    model.get_layer("score").weight.assign(np.zeros((CATEGORIES, 4)))
    # The category is asked for, not guessed: its head is untrained.
    model.get_layer("category_logits").bias.assign(50.0 * np.eye(CATEGORIES)[0])
    strange = {name: values.copy() for name, values in given.maps.items()}
    for name in ("stage3", "stage5"):
        strange[name][:, -1, -1] += 9
    odd = replace(given, maps=strange)
    before, after = (answers(model, one) for one in (given, odd))
    rows = (given.defective == 0) & (given.category == 0)
    usual, unknown = before["unusual"][rows], after["unusual"][rows]
    np.testing.assert_array_equal(after["defect"][rows], before["defect"][rows])
    assert (usual <= detector.UNUSUAL).mean() > 0.9 and (unknown > detector.UNUSUAL).all()
    # So are cross-fitted ones: the corner of these defects lies far from all good ones.
    bad = table["unusual"][(given.defective == 1) & (given.category == 0)]
    assert bad.min() > 2 * table["unusual"][rows].median()


def test_a_patch_that_is_usual_elsewhere_is_hot_at_the_wrong_place(model):
    """Good ones are bright on the left and dark on the right; in one, two cells are exchanged."""
    given = data([(60, 3), (8, 0), (1, 0), (0, 2)])
    own, finest = given.category == 0, given.maps["stage3"].copy()
    finest[own] = np.random.default_rng(2).normal(0, 0.1, (own.sum(), 4, 4, WIDTHS["stage3"]))
    finest[own, :, :2] += 3
    finest[(given.defective == 1) & own] += 50  # of defects nothing is taken for good
    given = replace(given, maps=given.maps | {"stage3": finest})
    fit(model, given)
    layer = model.get_layer("detail_distance")
    good = own & (given.defective == 0)
    np.testing.assert_allclose(
        np.asarray(layer.mean, np.float32)[0], finest[good].mean(axis=0, dtype=float), atol=2e-3
    )
    model.get_layer("category_logits").bias.assign(50.0 * np.eye(CATEGORIES)[0])
    changed = finest.copy()
    changed[0, 1, 0], changed[0, 1, 3] = finest[0, 1, 3], finest[0, 1, 0]
    before, after = (
        answers(model, replace(given, maps=given.maps | {"stage3": x}))["anomaly_map"][0]
        for x in (finest, changed)
    )
    hotter = after - before > 1
    assert {tuple(cell) for cell in np.argwhere(hotter)} == {(1, 0), (1, 3)}


def test_a_place_is_compared_with_the_other_folds_photographs():
    given = data([(6, 0), (1, 0), (0, 0), (0, 0)])
    rows, fold = np.arange(6), np.array([0, 0, 1, 1, 2, 2])
    mean, others = detail._means_of_places(given, rows, fold)
    finest = given.maps["stage3"].astype(float)
    np.testing.assert_allclose(mean, finest[rows].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(others[1], finest[[0, 1, 4, 5]].mean(axis=0), atol=1e-5)
    apart = np.concatenate(list(detail._from_places(given, rows, fold, others)))
    np.testing.assert_allclose(apart[2], finest[2] - others[1], atol=1e-5)


def test_photographs_of_one_fold_tell_no_place_from_another():
    given = data([(6, 0), (1, 0), (0, 0), (0, 0)])
    for rows in (np.arange(6), np.array([6])):
        mean, others = detail._means_of_places(given, rows, np.ones(len(rows), int))
        assert np.ptp(mean, axis=(0, 1)).max() == 0 and (others == mean).all()
        white = detail._whitening_of_places(given, rows, np.ones(len(rows), int), others)
        assert np.isfinite(white).all() and np.linalg.cond(white) < 100


def test_the_level_of_a_category_of_one_lot_is_that_of_the_others(model):
    """Copies of one photograph lie next to each other, and say nothing of the next one."""
    given = data([(60, 0), (6, 0), (60, 0), (1, 0)])
    finest, copies = given.maps["stage3"].copy(), np.flatnonzero(given.category == 1)
    noise = np.random.default_rng(0).normal(0, 0.01, finest[copies].shape)
    finest[copies] = finest[copies[0]] + noise
    group = given.group.copy()
    group[copies] = group[copies[0]]
    fit(model, replace(given, maps=given.maps | {"stage3": finest}, group=group))
    layer = model.get_layer("detail_reading")
    for level in (np.asarray(layer.mean)[:, 0], np.asarray(layer.scale)[:, 0]):
        assert level[1] == pytest.approx(np.median(level[[0, 2]]), rel=1e-5)
    place = np.asarray(model.get_layer("detail_distance").mean)[1]
    assert (place == place[0, 0]).all()


def test_a_detail_of_more_photographs_than_are_taken_is_of_some_from_all_over(model, monkeypatch):
    given = data([(30, 0), (6, 0), (2, 0), (1, 0)])
    monkeypatch.setattr(detail, "PHOTOGRAPHS", 4)
    fit(model, given)
    some = given.maps["stage3"][[0, 10, 19, 29]].astype(float)
    np.testing.assert_allclose(
        np.asarray(model.get_layer("detail_distance").mean, np.float32)[0],
        some.mean(axis=0),
        atol=2e-3,
    )


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_finest_grid_that_never_varies_breaks_nothing(model, constant):
    given = data([(6, 0), (6, 0), (2, 0), (1, 0)])
    flat = replace(
        given, maps=given.maps | {"stage3": np.full_like(given.maps["stage3"], constant)}
    )
    fit(model, flat)
    assert np.isfinite(answers(model, given)["anomaly_map"]).all()
    assert np.abs(answers(model, flat)["anomaly_map"]).max() < 1e3


def test_values_that_go_together_in_good_photographs_are_unknown_apart(model):
    """Each value of the map is as usual by itself; the other maps and the patches are, too."""
    given = data([(60, 0), (12, 0), (2, 0), (1, 0)])
    joint, rng = slice(*detector.pooled_place(detector.SEEN_JOINT)), np.random.default_rng(5)
    pooled = given.pooled.copy()
    own = np.flatnonzero(given.category == 0)
    pooled[own, :, joint] = rng.normal(0, 1, (len(own), 1, 1)) + rng.normal(0, 0.1, (160))
    apart, alike = own[:2], own[2:]
    pooled[apart, :, joint] = rng.normal(0, 1, (2, 1, 160))
    table = fit(model, replace(given, pooled=pooled))
    assert (table["unusual"][apart] > detector.UNUSUAL).all()
    assert (table["unusual"][alike] <= detector.UNUSUAL).mean() > 0.9
    model.get_layer("category_logits").bias.assign(50.0 * np.eye(CATEGORIES)[0])
    pooled[apart, :, joint] = rng.normal(0, 1, (2, 1, 160))
    found = answers(model, replace(given, pooled=pooled))["unusual"]
    assert (found[apart] > detector.UNUSUAL).all()
    assert (found[alike] <= detector.UNUSUAL).mean() > 0.9


@pytest.mark.parametrize(("by", "known"), [(0.8, True), (1.5, False)])
def test_each_value_may_change_as_far_as_noise_changes_it(model, by, known):
    """The limit of the values by themselves: never below what is odd without any change."""
    given = data([(60, 0), (60, 0), (2, 0), (1, 0)])
    each, rng = slice(*detector.pooled_place(detector.SEEN_EACH)), np.random.default_rng(5)
    pooled, change = given.pooled.copy(), 5 * rng.choice([-1.0, 1.0], 224)
    changes = np.zeros((CATEGORIES, 2, 1408), np.float32)
    changes[0, 0, each], changes[0, 1, each] = change, change / 5
    odd = [int(np.flatnonzero(given.category == number)[0]) for number in (0, 1)]
    pooled[odd, 0, each] += by * change
    table = fit(model, replace(given, pooled=pooled), changes)
    told = [table["unusual"][row] <= detector.UNUSUAL for row in odd]
    fit(model, given, changes)
    for category, row in enumerate(odd):
        model.get_layer("category_logits").bias.assign(50.0 * np.eye(CATEGORIES)[category])
        found = answers(model, replace(given, pooled=pooled))["unusual"]
        told.append(bool(found[row] <= detector.UNUSUAL))
    assert told == [known, False, known, False]


def test_a_photograph_that_is_changed_as_others_are_by_noise_is_known(model):
    """By either change of its category, in values of other sizes; by no other change."""
    given = data([(60, 0), (60, 0), (2, 0), (1, 0)])
    joint, rng = slice(*detector.pooled_place(detector.SEEN_JOINT)), np.random.default_rng(5)
    one, two = (np.flatnonzero(given.category == number) for number in (0, 1))
    size = np.where(np.arange(160) % 2, 1, 10)  # of the values, and so of their changes
    learned, other = size * rng.choice([-1.0, 1.0], (2, 160)), size * rng.choice([-1.0, 1.0], 160)
    pooled = given.pooled.copy()
    for own in (one, two):
        pooled[own, :, joint] = rng.normal(0, 1, (60, 1, 1)) + rng.normal(0, 0.1, 160)
    pooled[:, :, joint] *= size
    changes = np.zeros((CATEGORIES, 2, 1408), np.float32)
    changes[0, :, joint] = learned
    changed = pooled.copy()
    changed[one[:3], 0, joint] += [*learned, other]
    changed[two[0], 0, joint] += learned[0]
    cases = {one[0]: True, one[1]: True, one[2]: False, two[0]: False}

    table = fit(model, replace(given, pooled=changed), changes)  # by the other folds
    assert (table["unusual"][list(cases)] <= detector.UNUSUAL).tolist() == list(cases.values())
    fit(model, replace(given, pooled=pooled), changes)
    for row, known in cases.items():
        model.get_layer("category_logits").bias.assign(50.0 * np.eye(CATEGORIES)[int(row in two)])
        found = answers(model, replace(given, pooled=changed))["unusual"]
        assert (found[row] <= detector.UNUSUAL) == known


def tinted(by: float) -> float:
    """How unusual a change of one logarithm is, where good photographs have one tint."""
    return detector.UNUSUAL_UNITS[detector.TINT] * by / fitting.LEAST_TINT / np.sqrt(2)


def test_another_tint_is_unknown_where_good_photographs_agree_on_theirs(model):
    given = data([(60, 6), (60, 0), (fitting.FEWEST - 1, 0), (fitting.FEWEST, 0)])
    good = given.defective == 0
    one, other, few, enough = (
        np.flatnonzero((given.category == number) & good) for number in range(4)
    )
    tint = given.chromaticity.copy()
    tint[given.category != 1] = 0.3
    tint[other] = np.random.default_rng(1).normal(0, 0.2, (60, 2))
    tint[~good] = 3  # what is defective says nothing of good ones
    plain = fit(model, replace(given, chromaticity=tint))["unusual"]
    layer = model.get_layer(detector.TINT)
    np.testing.assert_allclose(np.asarray(layer.mean)[0], 0.3, atol=1e-6)
    white = np.asarray(layer.whitening)
    alike = np.eye(2) / fitting.LEAST_TINT
    np.testing.assert_allclose(white[[0, 3]], [alike, alike], rtol=1e-3, atol=1e-3)
    assert (white[2] == 0).all() and np.abs(white[1]).max() < 10

    tint[[one[0], few[0], enough[0]]] += [0, 0.1]
    changed = fit(model, replace(given, chromaticity=tint))["unusual"]
    # By the other folds alone: none of these has been widened by the one that is odd.
    for odd in (one[0], enough[0]):
        assert changed[odd] == pytest.approx(tinted(0.1), rel=0.01)
    assert changed[few[0]] == plain[few[0]]


@pytest.mark.parametrize(("change", "known"), [(0.02, True), (0.05, False)])
def test_a_tint_is_compared_at_its_own_limit(model, change, known):
    given = data([(40, 0), (40, 0), (2, 0), (1, 0)])
    tint = np.full_like(given.chromaticity, 0.1)
    fit(model, replace(given, chromaticity=tint))
    model.get_layer("category_logits").bias.assign(50.0 * np.eye(CATEGORIES)[0])
    own = given.category == 0
    usual = answers(model, replace(given, chromaticity=tint))["unusual"][own]
    found = answers(model, replace(given, chromaticity=tint + np.float32([0, change])))["unusual"]
    np.testing.assert_allclose(found[own], np.maximum(usual, tinted(change)), rtol=1e-3)
    assert (tinted(change) < detector.UNUSUAL) == known


def test_a_change_below_the_least_one_counts_little_where_all_photographs_are_alike():
    rng = np.random.default_rng(0)
    alike = np.tile(rng.normal(0, 1, 4), (fitting.FEWEST, 1))
    zero, tolerance = np.zeros(len(alike), int), 0.25 * np.eye(4)[None]
    white = fitting._whitening(0 * alike, zero, zero, tolerance, np.array([True]))[0]
    np.testing.assert_allclose(white, 2 * np.eye(4), rtol=1e-6)
    too_few = fitting._whitening(0 * alike, zero, zero, tolerance, np.array([False]))
    assert (too_few == 0).all()


def scaled() -> tuple[heads.Standardised, Moments]:
    """Two means and their spreads, in units of their own; a category's are 3, 5, 1, 2."""
    rng = np.random.default_rng(0)
    raw = rng.normal([30, 50, 4, 8], [3, 5, 1, 2], (500, 4))
    shared, moments = heads.Standardised(), Moments(1, 4)
    shared.build((None, 4))
    shared.mean.assign([7, 8, 9, 10])
    shared.scale.assign([2, 3, 4, 5])
    moments.add(np.asarray(shared(raw.astype(np.float32))), np.zeros(500, int))
    return shared, moments


def test_the_least_change_is_a_share_of_a_channel_s_spread_over_a_photograph():
    """In spreads of good photographs, whichever units the features come in."""
    shared, moments = scaled()
    statistics, none = heads.good_statistics(moments), np.zeros((1, 0, 4))
    found = fitting._tolerance(none, shared, *statistics, slice(0, 4))[0]
    expected = fitting.LEAST_CHANGE * np.array([4, 8, 4, 8]) / [3, 5, 1, 2]
    np.testing.assert_allclose(np.sqrt(found), np.diag(expected), rtol=0.1)


def test_a_change_that_noise_makes_counts_as_much_as_said_and_one_across_it_in_full():
    shared, moments = scaled()
    noise, across = np.array([30.0, 50, 0, 0]), np.array([30.0, -50, 0, 0])
    mean, scale = heads.good_statistics(moments)
    tolerance = fitting._tolerance(noise[None, None], shared, mean, scale, slice(0, 4))
    good = np.random.default_rng(1).normal(0, 1, (200, 4))
    zero = np.zeros(len(good), int)
    white = fitting._whitening(good, zero, zero, tolerance, np.array([True]))
    apart = np.stack([noise, across]) / (scale[0] * np.asarray(shared.scale))  # in spreads
    tolerated, counted = fitting._distances(apart, np.zeros(2, int), white)
    assert tolerated == pytest.approx(fitting.TOLERATED_CHANGE, rel=0.02) and counted > 5


def test_a_group_lies_in_one_fold_and_folds_are_of_one_size():
    given = data([(30, 12), (9, 0), (3, 3), (0, 0)])
    pairs = np.arange(len(given.category)) // 3  # of one kind: the counts are multiples of three
    given = training_data.Data(**vars(given) | {"group": pairs})
    fold = fitting._folds(given, np.arange(len(pairs)), seed=0)
    assert all(len(set(fold[pairs == number])) == 1 for number in np.unique(pairs))
    counts = np.bincount(fold[(given.category == 0) & (given.defective == 0)], minlength=FOLDS)
    assert counts.max() - counts.min() <= 3
    assert (fold == fitting._folds(given, np.arange(len(pairs)), seed=0)).all()


def test_weights_are_never_negative_and_the_memory_never_falls_silent():
    rng = np.random.default_rng(0)
    truth = np.tile([0, 1], 40)
    values = rng.normal(0, 1, (80, 4)) - 3 * truth[:, None] * [1, 1, 1, 0]  # they speak against it
    weight = stacking.fit_weights(values, np.repeat([0, 1], 40), truth, 2)
    assert (weight >= stacking.LEAST).all() and stacking.LEAST[1] > 0


def test_calibrated_probabilities_are_right_on_average():
    rng = np.random.default_rng(0)
    category = rng.integers(0, 2, 4000)
    score = rng.normal(0, 2, 4000)
    truth = (rng.random(4000) < 1 / (1 + np.exp(1 - 1.5 * score - category))).astype(int)
    slope, offset = stacking.fit_platt(score, category, truth, 3)
    assert slope == pytest.approx(1.5, abs=0.15)
    assert offset[1] - offset[0] == pytest.approx(1, abs=0.3)
    assert np.isfinite(offset[2])  # a category of which there is nothing


def test_the_patch_networks_start_without_an_opinion(built):
    model, weights = built
    model.set_weights(weights)
    for name in detector.NETWORKS:
        layer = model.get_layer(name)
        given = [np.random.default_rng(0).normal(0, 9, (1, *x.shape[1:])).astype(np.float32)
                 for x in layer.input]  # fmt: skip
        np.testing.assert_array_equal(np.asarray(layer(given)), -2)


def test_a_category_of_one_lot_is_not_compared_with_itself(model, fitted):
    """Else its own photographs would lie at no distance, and every other good one far away."""
    table, _, _ = fitted
    for category in set(ODD.category):
        own = ODD.category[table.index] == category
        good = own & (ODD.defective[table.index] == 0)
        reference = good if good.any() else own
        if table["fold"][reference].nunique() == 1:
            assert table["fine"][reference].isna().all()
        else:
            assert table["fine"][reference].notna().all()


def test_cross_fitted_probabilities_keep_the_false_alarm_rate_that_they_choose():
    """Of new good images, with few of each category: their own must not have set the level."""
    rng, categories, each, rate = np.random.default_rng(0), 15, 6, 0.1
    none, alarms = np.zeros(categories, bool), []
    for _ in range(60):
        category = np.repeat(np.arange(categories), each)
        levels = rng.normal(0, 3, categories)
        drawn, new = (levels[category] + rng.normal(0, 1, len(category)) for _ in range(2))
        values, fresh = np.zeros((2, len(category), 4))
        values[:, 1], fresh[:, 1] = drawn, new
        fold, good = np.tile(np.arange(FOLDS), len(category) // 3), np.zeros(len(category))
        judged = np.empty(len(category))
        for part in range(FOLDS):
            others = fold != part
            judge = stacking.judge(values[others], category[others], good[others], none)
            judged[~others] = judge.probability(values[~others], category[~others])
        threshold = operating_point.at_false_alarm_rate(np.sort(judged), rate)
        whole = stacking.judge(values, category, good, none)
        alarms.append((whole.probability(fresh, category) >= threshold).mean())
    assert np.mean(alarms) <= rate * 1.05


@pytest.mark.parametrize("channels", [(4, 1), (4, 1, 5)])
def test_the_patch_networks_of_a_kind_are_what_they_are_one_by_one(channels):
    """Each fold's logits by plain sums over its own weights, with a coarse map and without."""
    rng, units = np.random.default_rng(0), 6
    shapes = zip(((2, 3, 3), (2, 3, 3), (2, 2, 2)), channels, strict=False)
    given = [rng.normal(0, 1, (*shape, own)).astype(np.float32) for shape, own in shapes]
    layer = patch_networks.PatchNetworks(folds=2, seed=0, units=units)
    layer = patch_networks.PatchNetworks.from_config(layer.get_config())
    layer(given)
    layer.set_weights([rng.normal(0, 1, weight.shape) for weight in layer.weights])
    found = np.asarray(layer(given))
    kept = {weight.name: np.asarray(weight) for weight in layer.weights}
    patches, distance, *coarse = given
    first = np.concatenate([patches, distance], axis=-1) @ kept["fine"] + kept["bias"]
    for wide in coarse:
        first += np.repeat(np.repeat(wide, 2, axis=1), 2, axis=2)[:, :3, :3] @ kept["coarse"]
    for fold in range(2):
        x = np.maximum(first[..., fold * units : (fold + 1) * units], 0)
        x = np.maximum(x @ kept["hidden"][fold] + kept["hidden_bias"][fold], 0)
        x = np.concatenate([x, distance], axis=-1) @ kept["logit"][fold][:, 0]
        np.testing.assert_allclose(
            found[:, fold], x + kept["logit_bias"][fold], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("channels", [(152, 1), (152, 1, 320)])
def test_a_patch_network_begins_with_draws_that_suit_all_it_reads(channels):
    """He et al. 2015: a deviation of the root of two over the inputs, of all parts together."""
    layer = patch_networks.PatchNetworks(folds=3, seed=0)
    layer([np.zeros((1, 2, 2, own), np.float32) for own in channels[:2]]
          + [np.zeros((1, 1, 1, own), np.float32) for own in channels[2:]])  # fmt: skip
    spread = {weight.name: np.asarray(weight).std() for weight in layer.weights}
    of_inputs = np.sqrt(2 / sum(channels))
    assert spread["fine"] == pytest.approx(of_inputs, rel=0.05)
    assert spread.get("coarse", of_inputs) == pytest.approx(of_inputs, rel=0.05)
    assert spread["hidden"] == pytest.approx(np.sqrt(2 / patch_networks.HIDDEN), rel=0.05)
