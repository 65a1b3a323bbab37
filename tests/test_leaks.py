"""Leaks from train to test: none where groups are kept together, and found where one is planted.

The photographs show no defect, and a lot's have one made-up label: whoever is right about the test
images has seen their lot. A learner that only remembers, three nearest neighbours, takes any leak.
"""

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, built_in, photograph, save
from sklearn.neighbors import KNeighborsClassifier

from twinhead import evaluation, params
from twinhead.dataset import splits
from twinhead.partition import assignment, duplicates, lots

LOTS = 30
COLOURS = {"a": (150, 60, 50), "b": (60, 140, 60)}


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray]:
    """The catalog, and small pixels as features, of two categories in 30 lots each.

    A lot is a sheet of one tint, photographed twice, and each of these is there again, nearly.
    """
    root, rng = tmp_path_factory.mktemp("sheets"), np.random.default_rng(1)
    for name, colour in COLOURS.items():
        for lot, label in enumerate(rng.permutation(LOTS) % 3):
            tint, folder = rng.normal(0, 25, 3), ("test/cut" if label == 0 else "train/good")
            for copy in range(2):
                image = photograph(rng, np.array(colour) + tint, (32, 32), False)[0]
                again = np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8)
                for number, shown in enumerate((image, again)):
                    save(shown, root / "photos" / name / folder / f"{lot:02}-{copy}{number}.png")
    built = built_in(root, root / "photos")
    pixels = built.pixels[np.arange(len(built.frame))].astype(np.float32)
    return built.frame, pixels.reshape(len(pixels), 8, 4, 8, 4, 3).mean((2, 4)).reshape(-1, 192)


def remembered(sheets: tuple, near_duplicates: float, group_by: str) -> tuple[dict, dict]:
    """What a learner that remembers train reaches on test, and the near twins that it found."""
    frame, features = sheets
    shipped = params.load(REPOSITORY / "params.yaml").split
    changes = {"near_duplicates": near_duplicates, "group_by": group_by, "test_fraction": 0.4}
    settings = shipped.model_copy(update=changes)
    alike = duplicates.groups(frame, settings.near_duplicates)
    group = lots.join(alike, lots.names(frame, settings.group_by))
    split = assignment.assign(frame, group, settings)
    table = frame[["path", "category", "defective"]].assign(split=split, group=group)
    table["defect_probability"] = 0.0
    for name in COLOURS:
        own = table["category"] == name
        train, test = (own & (split == part) for part in (splits.TRAIN, splits.TEST))
        learner = KNeighborsClassifier(3).fit(features[train], table["defective"][train])
        table.loc[test, "defect_probability"] = learner.predict_proba(features[test])[:, 1]
    table[evaluation.NEAREST] = evaluation.nearest(table, features.__getitem__)
    test = table[table["split"] == splits.TEST]
    # By image: the leak makes groups unknown, too.
    columns = (test[name].to_numpy() for name in ("defective", "defect_probability", "category"))
    return evaluation.auroc(*columns, resamples=300), evaluation.judge_twins(table, 100)


def test_with_lots_kept_together_there_is_nothing_to_learn(sheets, case):
    found, _ = remembered(sheets, 0.1, "/([0-9]+)-")
    assert found["auroc_category_mean_low"] < 0.5 < found["auroc_category_mean_high"]
    what = "nothing to learn: the 95% interval of the test AUROC holds 0.5"
    case("Numbers", "labels shuffled by lot, lots kept together (a leak test)", what)


@pytest.mark.parametrize(
    ("leak", "near_duplicates"), [("photographs of one sheet", 0.1), ("near duplicates", 0.0)]
)
def test_a_planted_leak_is_found(sheets, case, leak, near_duplicates):
    found, twins = remembered(sheets, near_duplicates, "")
    assert found["auroc_category_mean_low"] > 0.5
    _, usual = remembered(sheets, 0.1, "/([0-9]+)-")  # two tints may be alike by accident
    assert twins["share"] > 2 * usual["share"] and twins["distance"] < usual["distance"]
    what = "found: the 95% interval of the test AUROC lies above 0.5; the near twins are counted"
    case("Numbers", f"labels shuffled by lot, {leak} planted across the split", what)


@pytest.fixture
def table() -> pd.DataFrame:
    """Twenty train images, of which the last two are one group, and two test images."""
    names = [f"{number:02}.png" for number in range(22)]
    columns = {"path": names, "category": "a", "split": ["train"] * 20 + ["test"] * 2}
    return pd.DataFrame(columns).assign(group=[*range(19), 18, 20, 21])


def test_distances_are_in_units_of_that_to_the_tenth_train_image_of_another_group(table):
    places = np.random.default_rng(0).random((22, 2))
    places[20] = places[3] + 0.001
    found = evaluation.nearest(table, places.__getitem__)
    assert (
        found["nearest_train"].tolist()[:20] == [""] * 20 and found["nearest_train"][20] == "03.png"
    )
    spread, group = places[:20].std(axis=0) + 1e-6, table["group"].to_numpy()[:20]
    away = np.linalg.norm((places[:, None] - places[None, :20]) / spread, axis=2)
    tenth = [np.sort(away[row][group != group[row]])[9] for row in range(20)]
    expected = away[20:].min(axis=1) / np.median(tenth)
    assert found["distance"].to_numpy()[20:] == pytest.approx(expected, rel=1e-3)
    assert found["distance"][:20].isna().all()


def test_the_area_without_near_twins_leaves_them_out(table):
    rows = pd.DataFrame({
        "split": "test", "category": "a", "defective": [0, 1, 0, 1],
        "defect_probability": [0.1, 0.9, 0.8, 0.2], "distance": [0.1, 0.2, 0.9, 1.1],
    })  # fmt: skip
    found = evaluation.judge_twins(rows, 0)
    assert (found["images"], found["share"], found["distance"]) == (2, 0.5, pytest.approx(0.55))
    assert found["auroc"] == found["auroc_category_mean"] == 0


def test_one_image_of_a_kind_has_no_nearest(table):
    alone = table.assign(category=["a"] * 20 + ["b"] * 2)
    found = evaluation.nearest(alone, np.random.default_rng(0).random((22, 3)).__getitem__)
    assert found["distance"].isna().all() and (found["nearest_train"] == "").all()
