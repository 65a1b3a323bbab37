"""Splits: each image has one place, each kind its share, and no photograph stands on two sides."""

import numpy as np
import pandas as pd
import pytest

from twinhead import params, splits
from twinhead.errors import InputError

SHAPES = {
    "even": {"a": (50, 50), "b": (50, 50)},
    "few defects": {"a": (40, 3), "b": (97, 1), "c": (10, 0)},
    "many categories": {f"c{i:03}": (5 + i % 4, 2) for i in range(60)},
    "one category": {"a": (30, 10)},
    "no defects": {"a": (20, 0), "b": (7, 0)},
}
"""By name: good and defective images of each category."""
SEEDS = (0, 1, 42)


def table(shape: dict[str, tuple[int, int]], copies: int = 0) -> pd.DataFrame:
    """A catalog of that shape, with `copies` rows whose bytes are those of the first rows."""
    kinds = [(c, d) for c, numbers in shape.items() for d in (0, 1) for _ in range(numbers[d])]
    frame = pd.DataFrame(kinds, columns=["category", "defective"])
    frame["sha256"] = [f"{i:064x}" for i in range(len(frame))]
    frame = pd.concat([frame, frame.tail(copies).assign(category="z")], ignore_index=True)
    folder = np.where(frame["defective"] | (frame.index % 4 == 0), "test", "train")
    return frame.assign(official=folder, path=[f"{i:05}.png" for i in frame.index])


def settings(**changes: object) -> params.Split:
    values = {"protocol": "random", "test_fraction": 0.2, "val_fraction": 0.1}
    return params.Split(**values | {"near_duplicates": 0, "seed": 42} | changes)


@pytest.fixture(params=SHAPES, ids=str)
def frame(request) -> pd.DataFrame:
    return table(SHAPES[request.param])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_has_one_split_and_each_split_its_size(frame, seed):
    split = splits.assign(frame, settings(seed=seed))
    assert split.index.equals(frame.index) and set(split) == set(splits.SPLITS)
    assert (split == "test").sum() == pytest.approx(0.2 * len(frame), abs=1)
    assert (split == "val").sum() == pytest.approx(0.1 * len(frame), abs=1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("test", "val"), [(0.2, 0.1), (0.33, 0.33), (0.5, 0.25)])
def test_each_kind_gives_its_share_within_one_image(frame, seed, test, val):
    split = splits.assign(frame, settings(seed=seed, test_fraction=test, val_fraction=val))
    whole, left = len(frame), (split != "test").sum()
    for _, rows in frame.groupby(["category", "defective"]):
        found, rest = split[rows.index], (split[rows.index] != "test").sum()
        share = len(rows) / whole
        assert (found == "test").sum() == pytest.approx(round(test * whole) * share, abs=1)
        assert (found == "val").sum() == pytest.approx(round(val * whole) * rest / left, abs=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_kind_gives_its_last_image_to_another_split(frame, seed):
    split = splits.assign(frame, settings(seed=seed))
    kinds = ["category", "defective"]
    assert len(frame[split == "train"].value_counts(kinds)) == len(frame.value_counts(kinds))


@pytest.mark.parametrize("protocol", ["random", "official"])
@pytest.mark.parametrize("seed", SEEDS)
def test_photographs_of_equal_bytes_stand_on_one_side(protocol, seed):
    frame = table({"a": (60, 20), "b": (40, 30)}, copies=25)
    split = splits.assign(frame, settings(protocol=protocol, seed=seed))
    used = split != splits.UNUSED
    assert frame["sha256"].duplicated().sum() == 25
    assert (split[used].groupby(frame["sha256"]).nunique() == 1).all()


def test_all_images_alike_leave_nothing_to_judge_by():
    frame = table({"a": (20, 0)}).assign(sha256="same")
    with pytest.raises(InputError, match="no images left for val"):
        splits.assign(frame, settings())


def test_the_seed_alone_decides_the_draw(frame):
    first, again, other = (splits.assign(frame, settings(seed=seed)) for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)


def test_neither_names_nor_bytes_decide_the_draw(frame):
    renamed = frame.assign(path="x" + frame["path"], sha256=frame["sha256"].str[::-1])
    assert splits.assign(frame, settings()).equals(splits.assign(renamed, settings()))


@pytest.mark.parametrize("images", [3, 4, 7])
def test_a_tiny_folder_is_split_if_each_side_can_have_an_image(images):
    fractions = {"test_fraction": 1 / images, "val_fraction": 1 / images}
    split = splits.assign(table({"a": (images, 0)}), settings(**fractions))
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
        splits.assign(table(shape), settings(**changes))


def test_official_takes_the_test_folders_for_test_and_val_out_of_train(frame):
    split = splits.assign(frame, settings(protocol="official"))
    assert ((split == "test") == (frame["official"] == "test")).all()
    assert (split == "val").sum() == pytest.approx(0.1 * len(frame), abs=1)
    assert splits.UNUSED not in set(split)


def test_official_leaves_copies_of_test_images_out_of_training():
    frame = table({"a": (40, 0)})
    frame.loc[[1, 2], "sha256"] = frame.loc[[0, 4], "sha256"].to_numpy()  # 0 and 4 lie in test
    split = splits.assign(frame, settings(protocol="official"))
    assert split[split == splits.UNUSED].index.tolist() == [1, 2]
    counts = splits.counts(frame, split)
    assert (counts["unused"], counts["duplicates_kept_together"]) == (2, 2)


def test_official_without_a_test_folder_is_refused():
    frame = table({"a": (40, 0)}).assign(official="train")
    with pytest.raises(InputError, match="no images left for test"):
        splits.assign(frame, settings(protocol="official"))


def test_counts_add_up(frame):
    split = splits.assign(frame, settings())
    counts = splits.counts(frame, split)
    for name in splits.SPLITS:
        part = counts[name]
        assert part["images"] == (split == name).sum() == part["good"] + part["defective"]
        assert part["defective"] == frame["defective"][split == name].sum()
        of_categories = pd.DataFrame(part["by_category"].values())
        assert of_categories.sum().to_dict() == {k: part[k] for k in of_categories}


def test_comes_back_from_its_file_as_it_was(frame, tmp_path):
    split = splits.assign(frame, settings())
    splits.write(frame, split, tmp_path / "splits.csv")
    assert splits.read(tmp_path / "splits.csv").tolist() == split.tolist()
