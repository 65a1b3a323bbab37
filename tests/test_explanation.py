"""Heat maps against masks: scores worked out by hand, and a fair choice of what to draw."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from twinhead import evaluation
from twinhead.attribution import localisation

SIDE = 224
OUTCOMES = {"hit": (1, 1), "miss": (1, 0), "false_alarm": (0, 1), "pass": (0, 0)}


def table(*outcomes: str, category: str = "a") -> pd.DataFrame:
    """Test images of the given outcomes, numbered 10, 11, …"""
    pairs = [OUTCOMES[outcome] for outcome in outcomes]
    frame = pd.DataFrame(pairs, columns=["defective", "defect_predicted"])
    frame.index = range(10, 10 + len(frame))
    names = [f"{category}/{number}.png" for number in frame.index]
    kinds = np.where(frame["defective"] == 1, "cut", "good")
    return localisation.with_outcomes(
        frame.assign(path=names, category=category, defect_type=kinds, defect_probability=0.25)
    )


def square(left: int = 100, right: int = 120) -> np.ndarray:
    """A mask that is True in that range of rows and columns."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[left:right, left:right] = True
    return mask


def peak(row: int, column: int) -> np.ndarray:
    """A map that is 1 at one place and 0 elsewhere."""
    heat = np.zeros((SIDE, SIDE), np.float32)
    heat[row, column] = 1
    return heat


def score(heat: np.ndarray, mask: np.ndarray) -> dict:
    return localisation.score(table("hit"), [heat], {10: mask}, len(mask)).metrics


def test_outcomes_compare_the_decision_with_the_truth():
    assert table(*OUTCOMES)["outcome"].tolist() == list(OUTCOMES)


def test_without_defect_head_outcomes_compare_the_categories():
    frame = pd.DataFrame({"category": list("ab"), "category_predicted": list("aa")})
    assert localisation.with_outcomes(frame)["outcome"].tolist() == ["right", "wrong"]


def test_a_map_that_is_the_mask_has_full_marks():
    found = score(square().astype(np.float32), square())
    assert [found[n] for n in ("pointing_hit", "energy_in_mask", "pixel_auroc")] == [1, 1, 1]
    assert found["mask_area"] == pytest.approx(400 / SIDE**2)


def test_a_map_of_everything_but_the_mask_has_none():
    found = score((~square()).astype(np.float32), square())
    assert [found[n] for n in ("pointing_hit", "energy_in_mask", "pixel_auroc")] == [0, 0, 0]


def test_a_map_that_says_nothing_is_at_chance():
    even = score(np.ones((SIDE, SIDE), np.float32), square())
    assert even["energy_in_mask"] == pytest.approx(even["mask_area"])
    assert even["pixel_auroc"] == 0.5


def test_a_map_of_zeros_hits_nothing():
    found = score(np.zeros((SIDE, SIDE), np.float32), square(0, 20))
    assert [found[n] for n in ("pointing_hit", "energy_in_mask", "pixel_auroc")] == [0, 0, 0.5]


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [(110, 110, 1), (119 + 15, 110, 1), (119 + 16, 110, 0), (100 - 15, 110, 1), (84, 84, 0)],
)
def test_the_peak_may_lie_15_pixels_beside_the_mask(row, column, hit):
    assert score(peak(row, column), square())["pointing_hit"] == hit


def test_the_tolerance_grows_with_the_image():
    mask = np.zeros((448, 448), bool)
    mask[:100] = True
    for row, hit in ((99 + 30, 1), (99 + 31, 0)):
        heat = np.zeros((448, 448), np.float32)
        heat[row, 7] = 1
        assert score(heat, mask)["pointing_hit"] == hit


def test_scores_are_means_over_the_masked_defects_and_apart_for_those_found():
    maps = [peak(110, 110), peak(0, 0), peak(110, 110)]
    rows = table("hit", "miss", "hit")
    found = localisation.score(rows, maps, {10: square(), 11: square()}, SIDE).metrics
    assert (found["images"], found["pointing_hit"], found["energy_in_mask"]) == (2, 0.5, 0.5)
    assert (found["found"]["images"], found["found"]["pointing_hit"]) == (1, 1)


def test_pixel_auroc_takes_the_pixels_of_all_images_together():
    maps = [0.1 * square().astype(np.float32), np.full((SIDE, SIDE), 0.2, np.float32)]
    masks = {10: square(), 11: square()}
    found = localisation.score(table("hit", "hit"), maps, masks, SIDE).metrics
    # Defective pixels at 0.1 and 0.2, others at 0 and 0.2: of four equal groups of pairs one is
    # lost and one is tied.
    assert found["pixel_auroc"] == pytest.approx((1 + 0 + 1 + 0.5) / 4)


def test_heat_on_good_images_is_told_in_units_of_the_common_scale():
    maps = [np.full((4, 4), value, np.float32) for value in (8, 2, 4)]
    scores = localisation.score(table("hit", "pass", "false_alarm"), maps, {}, 4)
    assert scores.scale == 8 and scores.metrics["mean_activation"] == pytest.approx(3 / 8)


@pytest.mark.parametrize("outcomes", [["hit", "miss"], ["pass", "false_alarm"]])
def test_without_masks_nothing_is_claimed_of_them(outcomes):
    maps = [peak(3, 3), peak(4, 4)]
    found = localisation.score(table(*outcomes), maps, {}, SIDE).metrics
    good = "pass" in outcomes
    assert found.pop("images") == 0 and (found.pop("mean_activation") is not None) == good
    assert found.pop("found") == {
        "images": 0,
        **dict.fromkeys(found.keys() - {"pixel_auroc", "aupro"}),
    }
    assert set(found.values()) == {None}


def test_a_defect_as_large_as_the_image_has_no_pixel_auroc():
    found = score(peak(3, 3), np.ones((SIDE, SIDE), bool))
    assert (found["pointing_hit"], found["mask_area"], found["pixel_auroc"]) == (1, 1, None)
    assert found["aupro"] is None


def test_the_pixels_of_good_images_count_and_those_of_unmasked_defects_do_not():
    """Half of the good image is as hot as the defect: a quarter of all other pixels ties."""
    rows, warm = table("hit", "pass", "miss"), np.zeros((SIDE, SIDE), np.float32)
    warm[: SIDE // 2] = 1
    half = warm.astype(bool)
    maps = [half.astype(np.float32), warm, 9 * np.ones((SIDE, SIDE), np.float32)]
    found = localisation.score(rows, maps, {10: half}, SIDE).metrics
    ties, others = SIDE**2 / 2, SIDE**2
    assert found["pixel_auroc"] == pytest.approx(1 - ties / (others + ties) / 2)


def test_a_coarse_map_is_judged_in_the_size_of_the_masks():
    small = np.zeros((7, 7), np.float32)
    small[3, 3] = 1
    found = localisation.score(table("hit"), [small], {10: square(96, 128)}, SIDE).metrics
    assert found["pointing_hit"] == 1 and found["pixel_auroc"] > 0.99


def test_heat_below_zero_is_ordered_and_has_no_energy():
    heat = square().astype(np.float32) - 2
    found = score(heat, square())
    assert (found["pixel_auroc"], found["pointing_hit"], found["energy_in_mask"]) == (1, 1, 0)


def aupro(maps: list[np.ndarray], masks: list[np.ndarray], limit: float = 0.3) -> float:
    """As defined, from every threshold there is: slow, and plain to read."""
    outside = np.concatenate([m[~k] for m, k in zip(maps, masks, strict=True)])
    regions = []
    for heat, mask in zip(maps, masks, strict=True):
        numbered, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [heat[numbered == number] for number in range(1, count + 1)]
    tried = np.unique(np.concatenate([np.ravel(m) for m in maps]))[::-1]
    false = np.array([0.0, *((outside >= t).mean() for t in tried)])
    found = np.array([0.0, *(np.mean([(r >= t).mean() for r in regions]) for t in tried)])
    below = false <= limit
    x = np.append(false[below], limit)
    y = np.append(found[below], np.interp(limit, false, found))
    return float(np.trapezoid(y, x) / limit)


@pytest.mark.parametrize("seed", range(3))
def test_areas_over_pixels_are_those_of_the_definition(seed):
    rng, side = np.random.default_rng(seed), 24
    masks = [np.zeros((side, side), bool) for _ in range(4)]
    masks[0][2:6, 3:9] = masks[0][12:14, 12:20] = masks[1][20:, :5] = True
    masks[2][5, 5] = masks[2][6, 6] = True  # one region: corners touch
    # Steps of a sixteenth, so that many heats tie and none share a bin unequal.
    maps = [
        (np.round(16 * (rng.normal(0, 1, mask.shape) + mask)) / 16).astype(np.float32)
        for mask in masks
    ]
    rows = table("hit", "hit", "miss", "pass")
    found = localisation.score(rows, maps, {10 + n: masks[n] for n in range(3)}, side).metrics
    truth, heat = (np.concatenate([np.ravel(x) for x in given]) for given in (masks, maps))
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, heat), abs=1e-9)
    assert found["aupro"] == pytest.approx(aupro(maps, masks), abs=1e-9)


def test_the_table_has_a_row_an_image_and_scores_for_those_with_a_mask():
    rows = table("hit", "pass")
    found = localisation.score(rows, [peak(110, 110), peak(1, 1)], {10: square()}, SIDE).table
    assert found.index.tolist() == [10, 11] and found["outcome"].tolist() == ["hit", "pass"]
    assert found["pointing_hit"].notna().tolist() == [True, False]


@pytest.fixture
def mixed() -> pd.DataFrame:
    """Two categories of 20 images each, mostly hits and passes."""
    outcomes = ["hit"] * 9 + ["miss"] + ["pass"] * 9 + ["false_alarm"]
    frame = pd.concat([table(*outcomes), table(*outcomes, category="b")])
    return frame.set_axis(range(40))


def test_the_choice_takes_each_outcome_before_any_twice(mixed):
    chosen = mixed.loc[localisation.choose(mixed, 4, seed=0)]
    assert chosen.groupby("category")["outcome"].agg(sorted).tolist() == [sorted(OUTCOMES)] * 2


@pytest.mark.parametrize("images", [1, 3, 6, 50])
def test_the_choice_has_as_many_of_each_category_as_asked_and_none_twice(mixed, images):
    chosen = localisation.choose(mixed, images, seed=0)
    assert len(set(chosen)) == len(chosen)
    assert mixed.loc[chosen, "category"].value_counts().tolist() == [min(images, 20)] * 2


def test_the_choice_follows_the_seed(mixed):
    first, again, other = (localisation.choose(mixed, 3, seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("category", ["größe 2", "../../etc", "a/b", "<b>", "新しい", "a\nb"])
def test_an_overlay_s_file_name_is_safe_and_its_own(category):
    rows = table("hit", "hit", category=category)
    names = [localisation.describe(row)[0] for _, row in rows.iterrows()]
    assert len(set(names)) == 2
    assert all(name.endswith(".png") and not set(name) & set("/\\\n <>") for name in names)


def test_an_overlay_s_lines_say_truth_and_answer(predictions, metrics):
    rows = localisation.with_outcomes(evaluation.decide(predictions, metrics))
    row = rows.loc[rows.index[rows["path"] == "bolt/test/big hole/000.png"][0]]
    row = row.replace({row["outcome"]: "miss"})
    _, title, said = localisation.describe(row)
    assert title == "bolt, big hole: defect missed"
    assert said.startswith(f"taken for {row['category_predicted']} (")
    assert f"defect probability {row['defect_probability']:.1%}" in said and row["path"] in said


def test_the_maps_to_keep_come_in_their_order_and_hold_no_batch():
    batch = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32)
    rows = table("hit", "pass", "miss")
    given = [batch[place] for place in range(3)]
    keep = [int(rows.index[2]), int(rows.index[0])]
    found = localisation.score(rows, given, {}, 4, keep=keep).kept
    np.testing.assert_array_equal(found, batch[[2, 0]])
    batch[:] = 0
    assert (found > 0).any(axis=(1, 2)).all()
    assert localisation.score(rows, given, {}, 4).kept.shape == (0,)
