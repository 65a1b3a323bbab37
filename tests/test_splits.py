"""Splits: each image has one place, each kind its share, and no photograph stands on two sides."""

import numpy as np
import pandas as pd
import pytest

from twinhead import params
from twinhead.dataset import splits
from twinhead.errors import InputError
from twinhead.ingest.phash import FREQUENCIES
from twinhead.partition import assignment, duplicates

SHAPES = {
    "even": {"a": (50, 50), "b": (50, 50)},
    "few defects": {"a": (40, 3), "b": (97, 1), "c": (10, 0)},
    "many categories": {f"c{i:03}": (5 + i % 4, 2) for i in range(60)},
    "one category": {"a": (30, 10)},
    "no defects": {"a": (20, 0), "b": (7, 0)},
}
"""By name: good and defective images of each category."""
SEEDS = (0, 1, 42)
BITS = FREQUENCIES**2


def table(shape: dict[str, tuple[int, int]], copies: int = 0) -> pd.DataFrame:
    """A catalog of that shape, with `copies` rows whose bytes are those of the first rows."""
    kinds = [(c, d) for c, numbers in shape.items() for d in (0, 1) for _ in range(numbers[d])]
    frame = pd.DataFrame(kinds, columns=["category", "defective"])
    frame["sha256"] = [f"{i:064x}" for i in range(len(frame))]
    looks = np.random.default_rng(7).bytes(len(frame) * BITS // 8).hex()
    frame["phash"] = [looks[at : at + BITS // 4] for at in range(0, len(looks), BITS // 4)]
    frame = pd.concat([frame, frame.tail(copies).assign(category="z")], ignore_index=True)
    folder = np.where(frame["defective"] | (frame.index % 4 == 0), "test", "train")
    return frame.assign(official=folder, path=[f"{i:05}.png" for i in frame.index])


def settings(**changes: object) -> params.Split:
    values = {
        "protocol": "random", "test_fraction": 0.2, "val_fraction": 0.1, "seed": 42,
        "near_duplicates": 0.1,
    }  # fmt: skip
    return params.Split(**values | changes)


def assigned(frame: pd.DataFrame, chosen: params.Split) -> pd.Series:
    return assignment.assign(frame, duplicates.groups(frame, chosen.near_duplicates), chosen)


@pytest.fixture(params=SHAPES, ids=str)
def frame(request) -> pd.DataFrame:
    return table(SHAPES[request.param])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_has_one_split_and_each_split_its_size(frame, seed):
    split = assigned(frame, settings(seed=seed))
    assert split.index.equals(frame.index) and set(split) == set(splits.SPLITS)
    assert (split == "test").sum() == pytest.approx(0.2 * len(frame), abs=1)
    assert (split == "val").sum() == pytest.approx(0.1 * len(frame), abs=1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("test", "val"), [(0.2, 0.1), (0.33, 0.33), (0.5, 0.25)])
def test_each_kind_gives_its_share_within_one_image(frame, seed, test, val):
    split = assigned(frame, settings(seed=seed, test_fraction=test, val_fraction=val))
    whole, left = len(frame), (split != "test").sum()
    for _, rows in frame.groupby(["category", "defective"]):
        found, rest = split[rows.index], (split[rows.index] != "test").sum()
        share = len(rows) / whole
        assert (found == "test").sum() == pytest.approx(round(test * whole) * share, abs=1)
        assert (found == "val").sum() == pytest.approx(round(val * whole) * rest / left, abs=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_kind_gives_its_last_image_to_another_split(frame, seed):
    split = assigned(frame, settings(seed=seed))
    kinds = ["category", "defective"]
    assert len(frame[split == "train"].value_counts(kinds)) == len(frame.value_counts(kinds))


@pytest.mark.parametrize("protocol", ["random", "official"])
@pytest.mark.parametrize("seed", SEEDS)
def test_photographs_of_equal_bytes_stand_on_one_side(protocol, seed):
    frame = table({"a": (60, 20), "b": (40, 30)}, copies=25)
    split = assigned(frame, settings(protocol=protocol, seed=seed))
    used = split != splits.UNUSED
    assert frame["sha256"].duplicated().sum() == 25
    assert (split[used].groupby(frame["sha256"]).nunique() == 1).all()


def test_all_images_alike_leave_nothing_to_judge_by():
    frame = table({"a": (20, 0)}).assign(sha256="same")
    with pytest.raises(InputError, match="no images left for val"):
        assigned(frame, settings())


def test_the_seed_alone_decides_the_draw(frame):
    first, again, other = (assigned(frame, settings(seed=seed)) for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)


def test_neither_names_nor_bytes_decide_the_draw(frame):
    renamed = frame.assign(path="x" + frame["path"], sha256=frame["sha256"].str[::-1])
    assert assigned(frame, settings()).equals(assigned(renamed, settings()))


@pytest.mark.parametrize("images", [3, 4, 7])
def test_a_tiny_folder_is_split_if_each_side_can_have_an_image(images):
    fractions = {"test_fraction": 1 / images, "val_fraction": 1 / images}
    split = assigned(table({"a": (images, 0)}), settings(**fractions))
    assert split.value_counts().to_dict() == {"train": images - 2, "val": 1, "test": 1}


@pytest.mark.parametrize(
    ("shape", "changes", "empty"),
    [
        ({"a": (1, 0)}, {}, "val out of 1"),
        ({"a": (4, 0)}, {}, "val out of 4"),
        ({"a": (9, 0)}, {"test_fraction": 0.01}, "test out of 9"),
        ({f"c{i}": (1, 1) for i in range(9)}, {}, "val out of 18"),
    ],
)
def test_a_split_without_images_is_refused_with_the_remedy(shape, changes, empty):
    with pytest.raises(InputError, match=rf"split: no images left for {empty}; add images, or"):
        assigned(table(shape), settings(**changes))


def test_official_takes_the_test_folders_for_test_and_val_out_of_train(frame):
    split = assigned(frame, settings(protocol="official"))
    assert ((split == "test") == (frame["official"] == "test")).all()
    assert (split == "val").sum() == pytest.approx(0.1 * len(frame), abs=1)
    assert splits.UNUSED not in set(split)


def test_official_leaves_copies_of_test_images_out_of_training():
    frame = table({"a": (40, 0)})
    frame.loc[[1, 2], "sha256"] = frame.loc[[0, 4], "sha256"].to_numpy()  # 0 and 4 lie in test
    split = assigned(frame, settings(protocol="official"))
    assert split[split == splits.UNUSED].index.tolist() == [1, 2]
    counts = assignment.counts(frame, split, duplicates.groups(frame, 0))
    assert (counts["unused"], counts["duplicates_kept_together"]) == (2, 2)


def test_official_without_a_test_folder_is_refused():
    frame = table({"a": (40, 0)}).assign(official="train")
    with pytest.raises(InputError, match="no images left for test"):
        assigned(frame, settings(protocol="official"))


def test_counts_add_up(frame):
    split = assigned(frame, settings())
    counts = assignment.counts(frame, split, duplicates.groups(frame, 0.1))
    for name in splits.SPLITS:
        part = counts[name]
        assert part["images"] == (split == name).sum() == part["good"] + part["defective"]
        assert part["defective"] == frame["defective"][split == name].sum()
        of_categories = pd.DataFrame(part["by_category"].values())
        assert of_categories.sum().to_dict() == {k: part[k] for k in of_categories}


def test_comes_back_from_its_file_as_it_was(frame, tmp_path):
    split = assigned(frame, settings())
    assignment.write(frame, split, duplicates.groups(frame, 0.1), tmp_path / "splits.csv")
    assert splits.read(tmp_path / "splits.csv").tolist() == split.tolist()


@pytest.mark.parametrize("protocol", ["random", "official"])
@pytest.mark.parametrize("seed", SEEDS)
def test_near_duplicates_stand_on_one_side_whatever_their_category(protocol, seed):
    frame = table({"a": (60, 20), "b": (40, 30)})
    frame.loc[100:149, "phash"] = frame.loc[:49, "phash"].to_numpy()  # of both categories and kinds
    group = duplicates.groups(frame, 0.1)
    split = assignment.assign(frame, group, settings(protocol=protocol, seed=seed))
    used = split != splits.UNUSED
    assert group.duplicated().sum() == 50
    assert (split[used].groupby(group).nunique() == 1).all()
    counts = assignment.counts(frame, split, group)
    assert counts["near_duplicates_kept_together"] == 50
    assert counts["duplicates_kept_together"] == 0
    crossing = frame["category"].groupby(group).nunique()
    assert counts["duplicates_across_categories"] == (crossing == 2).sum() > 0


def test_the_file_says_which_image_is_a_duplicate_of_which(tmp_path):
    frame = table({"a": (20, 10)}, copies=2)
    frame.loc[5, "phash"] = frame["phash"][3]
    group = duplicates.groups(frame, 0.1)
    assignment.write(frame, assigned(frame, settings()), group, tmp_path / "splits.csv")
    written = pd.read_csv(tmp_path / "splits.csv", keep_default_na=False).set_index("path")
    named = written["duplicate_of"][written["duplicate_of"] != ""].to_dict()
    assert named == {"00005.png": "00003.png", "00030.png": "00028.png", "00031.png": "00029.png"}
