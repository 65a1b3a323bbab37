"""Splits: what was drawn stays, each kind has its share, and groups stand on one side."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from twinhead import params
from twinhead.dataset import splits
from twinhead.errors import InputError
from twinhead.ingest.phash import FREQUENCIES
from twinhead.partition import assignment, duplicates, lots

SHAPES = {
    "even": {"a": (50, 50), "b": (50, 50)},
    "few defects": {"a": (40, 3), "b": (97, 1), "c": (10, 0)},
    "many categories": {f"c{i:03}": (5 + i % 4, 2) for i in range(60)},
    "one category": {"a": (30, 10)},
    "no defects": {"a": (20, 0), "b": (7, 0)},
}
"""By name: good and defective images of each category."""
SEEDS = (0, 1, 42)
KINDS = ["category", "defective"]
BITS = FREQUENCIES**2


def table(shape: dict[str, tuple[int, int]], copies: int = 0) -> pd.DataFrame:
    """A catalog of that shape, with `copies` rows whose bytes are those of the first rows."""
    kinds = [(c, d) for c, numbers in shape.items() for d in (0, 1) for _ in range(numbers[d])]
    frame = pd.DataFrame(kinds, columns=KINDS)
    frame["sha256"] = [f"{i:064x}" for i in range(len(frame))]
    looks = np.random.default_rng(7).bytes(len(frame) * BITS // 8).hex()
    frame["phash"] = [looks[at : at + BITS // 4] for at in range(0, len(looks), BITS // 4)]
    frame = pd.concat([frame, frame.tail(copies).assign(category="z")], ignore_index=True)
    folder = np.where(frame["defective"] | (frame.index % 4 == 0), "test", "train")
    return frame.assign(official=folder, given="", path=[f"{i:05}.png" for i in frame.index])


def chosen(**changes: object) -> params.Split:
    """As shipped, without the search for near duplicates: tables of chance have none, and it costs
    more than the draw."""
    values = {
        "protocol": "random", "test_fraction": 0.2, "val_fraction": 0.1, "seed": 42,
        "near_duplicates": 0.0, "group_by": "", "train_defects": None,
    }  # fmt: skip
    return params.Split(**values | changes)


def grouped(frame: pd.DataFrame, settings: params.Split) -> pd.Series:
    alike = duplicates.groups(frame, settings.near_duplicates)
    return lots.join(alike, lots.names(frame, settings.group_by))


def assigned(
    frame: pd.DataFrame, settings: params.Split, known: pd.Series | None = None
) -> pd.Series:
    return assignment.assign(frame, grouped(frame, settings), settings, known)


def remembered(before: pd.DataFrame, split: pd.Series, now: pd.DataFrame) -> pd.Series:
    """What `recall` says of a catalog after another one was drawn."""
    by_bytes = pd.Series(split.to_numpy(), before["sha256"])
    return now["sha256"].map(by_bytes[~by_bytes.index.duplicated()]).fillna("")


def within_one(frame: pd.DataFrame, split: pd.Series, test=0.2, val=0.1, least: int = 1) -> None:
    """Each stratum of at least so many images is within one of its shares."""
    for stratum, rows in frame.groupby(KINDS):
        found = split[rows.index].value_counts()
        for name, share in (("test", test), ("val", val), ("train", 1 - test - val)):
            if len(rows) >= least:
                assert abs(found.get(name, 0) - share * len(rows)) <= 1 + 1e-9, (stratum, name)


@pytest.fixture(params=SHAPES, ids=str)
def frame(request) -> pd.DataFrame:
    return table(SHAPES[request.param])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_has_one_split(frame, seed):
    split = assigned(frame, chosen(seed=seed))
    assert split.index.equals(frame.index) and set(split) == set(splits.SPLITS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("test", "val"), [(0.2, 0.1), (0.33, 0.33), (0.5, 0.25), (0.05, 0.02)])
def test_each_kind_gives_its_share_within_one_image(frame, seed, test, val):
    split = assigned(frame, chosen(seed=seed, test_fraction=test, val_fraction=val))
    filled = (test, val) == (0.05, 0.02)  # then val takes a few so as not to be empty
    within_one(frame, split, test, val, least=20 if filled else 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("test", [0.01, 0.2, 0.9])
def test_each_kind_that_can_is_represented_in_train_and_test(frame, seed, test):
    split = assigned(frame, chosen(seed=seed, test_fraction=test, val_fraction=0.05))
    sizes = frame.value_counts(KINDS)
    assert set(frame[split == "train"].value_counts(KINDS).index) == set(sizes.index)
    assert set(frame[split == "test"].value_counts(KINDS).index) == set(sizes[sizes > 1].index)


@st.composite
def histories(draw) -> tuple[list[pd.DataFrame], params.Split]:
    """A catalog as it grows: of each stratum so many images more at each step, names and order
    drawn anew, of bytes of their own; looks are of no interest."""
    strata = [(f"c{c}", d) for c in range(draw(st.integers(1, 3))) for d in (0, 1)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, frames = pd.DataFrame(), []
    for step in range(draw(st.integers(2, 5))):
        more = [draw(st.integers(5 * (step == 0), 40)) for _ in strata]
        kinds = [kind for kind, number in zip(strata, more, strict=True) for _ in range(number)]
        new = pd.DataFrame(kinds, columns=KINDS)
        new["sha256"] = [rng.bytes(32).hex() for _ in range(len(new))]
        new["phash"] = [rng.bytes(BITS // 8).hex() for _ in range(len(new))]
        rows = pd.concat([rows, new], ignore_index=True)
        rows = rows.sample(frac=1, random_state=step, ignore_index=True)
        rows["path"] = [f"{number}.png" for number in rng.permutation(len(rows))]
        official = np.where(rows["sha256"] < "4", "test", "train")
        frames.append(rows.assign(official=official, given=""))
    test = draw(st.sampled_from([0.1, 0.2, 0.33, 0.5]))
    return frames, chosen(
        test_fraction=test,
        val_fraction=draw(st.sampled_from([0.1, 0.2, 0.3])),
        seed=draw(st.integers(0, 9)),
        protocol=draw(st.sampled_from(["random", "random", "official"])),
    )


@settings(max_examples=25, deadline=None)
@given(histories())
def test_added_images_move_none_that_was_there_and_the_shares_stay(drawn):
    frames, asked = drawn
    before, split = None, None
    for frame in frames:
        known = None if before is None else remembered(before, split, frame)
        split = assigned(frame, asked, known)
        if known is not None:
            assert (split == known)[known != ""].all()
        if asked.protocol == "random":
            within_one(frame, split, asked.test_fraction, asked.val_fraction, least=20)
            sizes = frame.value_counts(KINDS)
            for name in ("train", "test"):
                there = frame[split == name].value_counts(KINDS).index
                assert set(there) >= set(sizes[sizes > 1].index)
        before = frame


@settings(max_examples=25, deadline=None)
@given(histories(), st.integers(0, 2**32))
def test_removed_and_renamed_images_move_no_other(drawn, seed):
    frames, asked = drawn
    frame = frames[-1]
    split = assigned(frame, asked)
    kept = frame.sample(frac=0.8, random_state=seed % 2**32).sort_values("path", ignore_index=True)
    kept["path"] = [f"renamed/{number}.png" for number in range(len(kept))]
    known = remembered(frame, split, kept)
    assume(set(known) == set(splits.SPLITS))  # an empty split is filled
    assert assigned(kept, asked, known).equals(known.rename("split"))


@settings(max_examples=25, deadline=None)
@given(histories())
def test_names_and_order_decide_nothing(drawn):
    frame, asked = drawn[0][-1], drawn[1]
    split = assigned(frame, asked)
    other = frame.sample(frac=1, random_state=0, ignore_index=True)
    other["path"] = [f"other/{number}.png" for number in other.index]
    assert remembered(frame, split, other).tolist() == assigned(other, asked).tolist()


def test_drawn_from_nothing_a_grown_folder_differs_at_the_borders_alone():
    frame = table({"a": (400, 100)})
    few = frame.drop(frame.index[::25]).reset_index(drop=True)
    split, again = assigned(few, chosen()), assigned(frame, chosen())
    before = remembered(few, split, frame)
    assert ((before != "") & (before != again)).sum() < 20


def test_what_is_new_goes_where_its_kind_lacks_most():
    frame = table({"a": (100, 0)})
    split = assigned(frame, chosen())
    left = frame[(split != "test") | (frame.index % 2 == 0)]
    again = pd.concat([left, table({"a": (120, 0)}).tail(20)]).reset_index(drop=True)
    known = remembered(frame, split, again).where(again.index < len(left), "")
    now = assigned(again, chosen(), known)
    assert (now == known)[: len(left)].all()
    within_one(again, now)


def test_a_photograph_that_links_two_splits_takes_both_to_test():
    frame = table({"a": (40, 0)})
    split = assigned(frame, chosen())
    one, other = split.index[split == "train"][0], split.index[split == "test"][0]
    frame.loc[[one, other], "path"] = ["lot7/1.png", "lot7/2.png"]
    asked = chosen(group_by="(lot.)")
    now = assigned(frame, asked, remembered(frame, split, frame))
    assert now[[one, other]].tolist() == ["test", "test"]
    assert (now == split).sum() == len(frame) - 1


@pytest.mark.parametrize("protocol", ["random", "official"])
@pytest.mark.parametrize("seed", SEEDS)
def test_photographs_of_equal_bytes_stand_on_one_side(protocol, seed):
    frame = table({"a": (60, 20), "b": (40, 30)}, copies=25)
    split = assigned(frame, chosen(protocol=protocol, seed=seed))
    used = split != splits.UNUSED
    assert frame["sha256"].duplicated().sum() == 25
    assert (split[used].groupby(frame["sha256"]).nunique() == 1).all()


def test_all_images_alike_leave_nothing_to_judge_by():
    frame = table({"a": (20, 0)}).assign(sha256="same")
    with pytest.raises(InputError, match="no images left for val"):
        assigned(frame, chosen())


def test_the_seed_alone_decides_the_draw(frame):
    first, again, other = (assigned(frame, chosen(seed=seed)) for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)


@pytest.mark.parametrize("images", [3, 4, 7])
def test_a_tiny_folder_is_split_if_each_side_can_have_an_image(images):
    fractions = {"test_fraction": 1 / images, "val_fraction": 1 / images}
    split = assigned(table({"a": (images, 0)}), chosen(**fractions))
    assert split.value_counts().to_dict() == {"train": images - 2, "val": 1, "test": 1}


@pytest.mark.parametrize(
    ("shape", "changes", "empty"),
    [
        ({"a": (1, 0)}, {}, "val out of 1"),
        ({"a": (2, 0)}, {}, "val out of 2"),
        ({f"c{i}": (1, 1) for i in range(9)}, {}, "val out of 18"),
    ],
)
def test_a_split_without_images_is_refused_with_the_remedy(shape, changes, empty):
    with pytest.raises(InputError, match=rf"split: no images left for {empty}; add images, or"):
        assigned(table(shape), chosen(**changes))


@pytest.mark.parametrize("images", [3, 4, 9])
def test_val_and_test_are_not_left_empty_where_train_can_give(images):
    split = assigned(table({"a": (images, 0)}), chosen(test_fraction=0.01, val_fraction=0.01))
    assert split.value_counts().to_dict() == {"train": images - 2, "val": 1, "test": 1}


def test_two_hundred_categories_of_three_images_have_all_splits():
    frame = table({f"c{number}": (2, 1) for number in range(200)})
    split = assigned(frame, chosen())
    assert split.value_counts().to_dict() == {"train": 400, "test": 140, "val": 60}


def test_test_images_that_are_removed_are_replaced_if_none_is_left():
    frame = table({"a": (30, 10)})
    split = assigned(frame, chosen())
    kept = frame[split != "test"].reset_index(drop=True)
    known = remembered(frame, split, kept)
    again = assigned(kept, chosen(), known)
    assert (again == "test").sum() == 2 and (again == known).sum() == len(kept) - 2


def test_official_takes_the_test_folders_for_test_and_val_out_of_train(frame):
    split = assigned(frame, chosen(protocol="official"))
    assert ((split == "test") == (frame["official"] == "test")).all()
    rest = frame[frame["official"] == "train"]
    for _, rows in rest.groupby(KINDS):
        assert (split[rows.index] == "val").sum() == pytest.approx(0.1 * len(rows), abs=1)
    assert splits.UNUSED not in set(split)


def test_official_leaves_copies_of_test_images_out_of_training():
    frame = table({"a": (40, 0)})
    frame.loc[[1, 2], "sha256"] = frame.loc[[0, 4], "sha256"].to_numpy()  # 0 and 4 lie in test
    split = assigned(frame, chosen(protocol="official"))
    assert split[split == splits.UNUSED].index.tolist() == [1, 2]
    alike = duplicates.groups(frame, 0)
    counts = assignment.counts(frame, split, split, alike, alike)
    assert (counts["unused"], counts["duplicates_kept_together"]) == (2, 2)


def test_official_without_a_test_folder_is_refused():
    frame = table({"a": (40, 0)}).assign(official="train")
    with pytest.raises(InputError, match="no images left for test"):
        assigned(frame, chosen(protocol="official"))


def test_counts_add_up(frame):
    split = assigned(frame, chosen())
    alike = duplicates.groups(frame, 0.1)
    counts = assignment.counts(frame, split, split, alike, alike)
    for name in splits.SPLITS:
        part = counts[name]
        assert part["images"] == (split == name).sum() == part["good"] + part["defective"]
        assert part["defective"] == frame["defective"][split == name].sum()
        of_categories = pd.DataFrame(part["by_category"].values())
        assert of_categories.sum().to_dict() == {k: part[k] for k in of_categories}


def written(frame: pd.DataFrame, asked: params.Split, path) -> pd.Series:
    """Split as the stage does, with what the file at path remembers."""
    alike, lot = duplicates.groups(frame, asked.near_duplicates), lots.names(frame, asked.group_by)
    known = assignment.recall(path, frame, asked)
    drawn = assignment.draw(frame, lots.join(alike, lot), asked, known)
    split = assignment.spare(frame, drawn, asked)
    assignment.write(frame, drawn, split, alike, lot, asked, path)
    return split


def test_comes_back_from_its_file_as_it_was(frame, tmp_path):
    split = written(frame, chosen(), tmp_path / "splits.csv")
    assert splits.read(tmp_path / "splits.csv").tolist() == split.tolist()
    assert assignment.recall(tmp_path / "splits.csv", frame, chosen()).tolist() == split.tolist()


def test_again_gives_the_same_bytes(frame, tmp_path):
    file = tmp_path / "splits.csv"
    written(frame, chosen(), file)
    first = file.read_bytes()
    written(frame, chosen(), file)
    assert file.read_bytes() == first


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"test_fraction": 0.3}, {"group_by": "(.)"}, {"near_duplicates": 0.05}],
    ids=str,
)
def test_other_params_draw_anew_and_fewer_defects_do_not(frame, tmp_path, change):
    file = tmp_path / "splits.csv"
    written(frame, chosen(), file)
    assert (assignment.recall(file, frame, chosen(**change)) == "").all()
    assert (assignment.recall(file, frame, chosen(train_defects=3)) != "").all()


@pytest.mark.parametrize("content", ["", "path,split\na,b\n", "\0\0", "a,b\n1,2,3,4\n"])
def test_a_file_that_is_not_whole_is_as_none(frame, tmp_path, content):
    (tmp_path / "splits.csv").write_text(content)
    assert (assignment.recall(tmp_path / "splits.csv", frame, chosen()) == "").all()


@pytest.mark.parametrize("protocol", ["random", "official"])
def test_fewer_labelled_defects_are_some_of_the_more_and_test_stays(protocol):
    frame = table({"a": (60, 30), "b": (40, 12), "c": (20, 0)})
    frame.loc[frame.index % 3 == 0, "official"] = "train"  # of the defects as well
    every = assigned(frame, chosen(protocol=protocol))
    defects = (frame["defective"] == 1) & every.isin(["train", "val"])
    left = set()
    for number in (0, 1, 2, 5, 10, 100):
        split = assigned(frame, chosen(protocol=protocol, train_defects=number))
        assert (split == every)[~defects].all() and ((split == every) | (split == "unused")).all()
        kept = defects & (split != "unused")
        most = defects.groupby(frame["category"]).sum().clip(upper=number)
        assert kept.groupby(frame["category"]).sum().equals(most)
        assert left <= set(kept.index[kept])
        left = set(kept.index[kept])
    assert left == set(defects.index[defects])


def test_some_of_few_labelled_defects_choose():
    split = assigned(frame := table({"a": (60, 50)}), chosen(train_defects=10))
    assert split[frame["defective"] == 1].value_counts()["val"] in (1, 2)


def test_with_train_defects_the_draw_stays_in_memory(tmp_path):
    frame, file = table({"a": (60, 30)}), tmp_path / "splits.csv"
    every = written(frame, chosen(), file)
    few = written(frame, chosen(train_defects=0), file)
    assert (few != every).sum() == 24 and written(frame, chosen(), file).equals(every)


def lotted(rows: list[str], **columns: object) -> pd.DataFrame:
    """A catalog of good images with these paths."""
    return table({"a": (len(rows), 0)}).assign(path=rows, **columns)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lot_stands_on_one_side_and_the_shares_hold(seed):
    paths = [f"a/train/good/lot{lot:02}_{shot}.png" for lot in range(40) for shot in range(5)]
    frame, asked = lotted(paths), chosen(seed=seed, group_by=r"(lot\d+)_")
    frame["defective"] = (frame.index % 10 == 3).astype(int)  # every other lot has one
    split = assigned(frame, asked)
    assert (split.groupby(frame["path"].str[13:18]).nunique() == 1).all()
    assert (split == "test").sum() == pytest.approx(40, abs=5)
    assert (split == "val").sum() == pytest.approx(20, abs=5)
    assert frame["defective"][split == "test"].sum() == pytest.approx(4, abs=1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=12, max_size=60),
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=10),
    st.integers(0, 5),
)
def test_duplicates_and_lots_are_joined(lot_of, copies, seed):
    """Lot 0 is none. What is linked, over whatever steps, stands on one side."""
    paths = [
        f"{number:02}_{f'lot{lot}' if lot else 'alone'}.png" for number, lot in enumerate(lot_of)
    ]
    frame, asked = lotted(paths), chosen(seed=seed, group_by=r"_(lot\d+)", near_duplicates=0.1)
    for one, other in copies:
        if max(one, other) < len(frame):
            frame.loc[one, "phash"] = frame.loc[other, "phash"]
    if not any(lot_of):
        return
    group = grouped(frame, asked)
    for linked in (frame["path"].str.extract(r"(lot\d+)")[0], frame["phash"]):
        assert (group.groupby(linked).nunique() <= 1).all()
    assert (group.index[group] <= group.index).all()
    try:
        split = assignment.assign(frame, group, asked)
    except InputError as error:
        assert "no images left for" in str(error)
    else:
        assert (split.groupby(group).nunique() == 1).all()


def test_a_group_that_swallows_a_third_of_a_category_is_said():
    paths = [f"{'lot1' if number < 9 else number}.png" for number in range(20)]
    frame = lotted([f"{number}_{path}" for number, path in enumerate(paths)])
    lot = lots.names(frame, "(lot.)")
    group = lots.join(duplicates.groups(frame, 0.1), lot)
    alone, large = lots.remarks(frame, lot, group)
    assert alone == "split.group_by names no lot for 11 images, such as 9_9.png"
    assert large.startswith("one group has 9 of 20 images of a: what 0_lot1.png (lot lot1) is")
    assert lots.remarks(frame, lots.names(frame, ""), duplicates.groups(frame, 0)) == []


def test_a_pattern_that_names_no_lot_is_refused():
    said = r"split\.group_by: 'sheet\(\.\)' names no lot in any of 20 paths, such as 00000\.png"
    with pytest.raises(InputError, match=said):
        lots.names(table({"a": (20, 0)}), "sheet(.)")


def test_a_lot_in_part_of_the_pattern_that_took_no_part_is_none():
    frame = lotted(["lot1_a.png", "b.png", "lot1_c.png"])
    assert lots.names(frame, "(?:(lot.)_)?.*png").tolist() == ["lot1", "", "lot1"]


@pytest.mark.parametrize("protocol", ["random", "official"])
def test_what_the_user_has_shared_out_stays_and_the_rest_is_drawn(protocol):
    frame = table({"a": (60, 20)})
    frame.loc[10:29, "given"] = ["train", "val", "test", "train"] * 5
    asked = chosen(protocol=protocol)
    elsewhere = pd.Series("train", frame.index)
    for known in (None, elsewhere):
        split = assigned(frame, asked, known)
        assert (split == frame["given"])[10:29].all() and set(split[30:]) >= {"train", "test"} - (
            {"test"} if known is not None and protocol == "random" else set()
        )


def test_a_split_of_ones_own_is_taken_as_it_is():
    frame = table({"a": (10, 4)}).assign(given=["test"] * 6 + ["val"] * 2 + ["train"] * 6)
    assert assigned(frame, chosen()).tolist() == frame["given"].tolist()


def test_one_group_on_two_sides_is_refused_by_name():
    frame, asked = table({"a": (30, 10)}), chosen(near_duplicates=0.1)
    frame.loc[[3, 17], "given"] = ["train", "test"]
    assigned(frame, asked)
    frame.loc[17, "phash"] = frame["phash"][3]
    with pytest.raises(
        InputError, match=r"splits\.csv: 00003\.png is in train and 00017\.png in test"
    ):
        assigned(frame, asked)
    frame.loc[17, "given"] = "train"
    assigned(frame, asked)


@pytest.mark.parametrize("protocol", ["random", "official"])
@pytest.mark.parametrize("seed", SEEDS)
def test_near_duplicates_stand_on_one_side_whatever_their_category(protocol, seed):
    frame = table({"a": (60, 20), "b": (40, 30)})
    frame.loc[100:149, "phash"] = frame.loc[:49, "phash"].to_numpy()  # of both categories and kinds
    group = duplicates.groups(frame, 0.1)
    split = assignment.assign(frame, group, chosen(protocol=protocol, seed=seed))
    used = split != splits.UNUSED
    assert group.duplicated().sum() == 50
    assert (split[used].groupby(group).nunique() == 1).all()
    counts = assignment.counts(frame, split, split, group, group)
    assert counts["near_duplicates_kept_together"] == 50
    assert counts["duplicates_kept_together"] == 0
    crossing = frame["category"].groupby(group).nunique()
    assert counts["duplicates_across_categories"] == (crossing == 2).sum() > 0


def test_the_file_says_which_image_is_a_duplicate_of_which(tmp_path):
    frame = table({"a": (20, 10)}, copies=2)
    frame.loc[5, "phash"] = frame["phash"][3]
    written(frame, chosen(near_duplicates=0.1), tmp_path / "splits.csv")
    rows = pd.read_csv(tmp_path / "splits.csv", keep_default_na=False).set_index("path")
    named = rows["duplicate_of"][rows["duplicate_of"] != ""].to_dict()
    assert named == {"00005.png": "00003.png", "00030.png": "00028.png", "00031.png": "00029.png"}
