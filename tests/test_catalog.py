"""The catalog: every image once, sorted, with what the folders say of it, and nothing else."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CATEGORIES, TEST_GOOD, TRAIN_GOOD, save

from twinhead.dataset import catalog
from twinhead.errors import InputError
from twinhead.ingest import layout


def touch(root: Path, *files: str) -> None:
    """Files that need no content: scan opens none."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def test_has_the_design_s_columns_and_a_row_an_image_sorted_by_path(built):
    assert list(built.frame) == [
        "path", "category", "defect_type", "defective", "mask", "official", "given",
        "reviewed", "width", "height", "mode", "sha256", "phash",
    ]  # fmt: skip
    files = [p for p in built.root.rglob("*.*") if "ground_truth" not in p.parts]
    expected = sorted(p.relative_to(built.root).as_posix() for p in files)
    assert built.frame["path"].tolist() == expected
    assert built.frame.index.tolist() == list(range(len(files)))


def test_rows_say_what_the_folders_say(built):
    rows = built.frame.set_index("path").to_dict("index")
    defect = rows["bolt/test/big hole/002.png"]
    assert defect.pop("sha256") and defect.pop("phash") and defect == {
        "category": "bolt", "defect_type": "big hole", "defective": 1, "official": "test",
        "given": "", "reviewed": "", "mask": "bolt/ground_truth/big hole/002_mask.png",
        "width": 48, "height": 48, "mode": "RGB",
    }  # fmt: skip
    good = rows["größe 2/train/good/000.jpg"]
    assert (good["defective"], good["official"], good["mask"]) == (0, "train", "")
    assert (good["width"], good["height"]) == (56, 40)


def test_labels_are_sorted_and_leave_good_out(built):
    kinds = {name: sorted(row[3]) for name, row in CATEGORIES.items()}
    assert layout.labels(built.frame) == {"categories": sorted(kinds), "defect_types": kinds}


def test_counts_add_up(built):
    counts, good = layout.counts(built.frame), TRAIN_GOOD + TEST_GOOD
    assert counts["by_category"] == {
        "bolt": {"images": good + 8, "defective": 8, "masks": 8},
        "größe 2": {"images": good + 8, "defective": 8, "masks": 0},
        "plain": {"images": good, "defective": 0, "masks": 0},
    }
    assert [counts[name] for name in ("images", "defective", "masks")] == [3 * good + 16, 16, 8]
    assert counts["duplicates"] == 0 and counts["digest"] == layout.digest(built.frame)


def test_the_digest_is_the_same_wherever_the_folder_lies(built, build, copied):
    assert layout.digest(build(copied).frame) == layout.digest(built.frame)


def renamed(root: Path) -> None:
    (root / "plain/train/good/000.bmp").rename(root / "plain/train/good/100.bmp")


def relabelled(root: Path) -> None:
    (root / "bolt/test/scratch").rename(root / "bolt/test/scrape")


def repainted(root: Path) -> None:
    save(np.zeros((37, 33, 3), np.uint8), root / "plain/train/good/000.bmp")


def unmasked(root: Path) -> None:
    shutil.rmtree(root / "bolt/ground_truth/scratch")


@pytest.mark.parametrize("change", [renamed, relabelled, repainted, unmasked])
def test_the_digest_changes_with(change, built, build, copied):
    change(copied)
    assert layout.digest(build(copied).frame) != layout.digest(built.frame)


def test_comes_back_from_its_file_as_it_was(built, tmp_path):
    layout.write(built.frame, tmp_path / "catalog.csv")
    pd.testing.assert_frame_equal(catalog.read(tmp_path / "catalog.csv"), built.frame)


@pytest.mark.parametrize(
    "name",
    ["NA", "null", "123", "007", "True", "1e5", 'a"b,c', " x ", "新しい", "🔩", "a\nb", "$5"],
)
def test_any_name_comes_back_from_the_file(tmp_path, name):
    touch(tmp_path, f"data/{name}/train/good/1.png", f"data/{name}/test/{name}/{name}.png")
    facts = {"width": 1, "height": 1, "mode": "L", "sha256": "ab", "phash": "cd"}
    frame = layout.scan(tmp_path / "data").assign(**facts)
    assert set(frame["category"]) == {name} and set(frame["defect_type"]) == {"good", name}
    layout.write(frame, tmp_path / "catalog.csv")
    pd.testing.assert_frame_equal(catalog.read(tmp_path / "catalog.csv"), frame)


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    touch(tmp_path, "c/train/good/1.png")
    (tmp_path / "c/train/good/\udcff.png").touch()
    with pytest.raises(InputError, match=r"/c/train/good/\\udcff\.png': the name is not UTF-8"):
        layout.scan(tmp_path)


@pytest.mark.parametrize(
    "file",
    [
        ".DS_Store", "Thumbs.db", "license.txt", "c/readme.txt", "c/.DS_Store", "c/train/Thumbs.db",
        "c/train/good/Thumbs.db", "c/train/good/.DS_Store", "c/train/good/._1.png",
        ".cache/train/good/1.png", "c/train/.thumbnails/1.png", "c/train/good/.git/1.png",
    ],
)  # fmt: skip
def test_what_is_no_image_of_the_data_set_is_left_out(tmp_path, file):
    touch(tmp_path, "c/train/good/1.png", file)
    assert layout.scan(tmp_path)["path"].tolist() == ["c/train/good/1.png"]


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path):
    touch(tmp_path, "c/train/good/1.png")
    (tmp_path / "c/train/good/2.png").symlink_to("gone.png")
    assert layout.scan(tmp_path)["path"].tolist() == ["c/train/good/1.png", "c/train/good/2.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a_folder_without_permission_is_named(tmp_path):
    touch(tmp_path, "c/train/good/1.png")
    (tmp_path / "c/train/good").chmod(0)
    with pytest.raises(InputError, match=r"c/train/good: can't be read \(Permission denied\)"):
        layout.scan(tmp_path)


def test_endings_count_in_any_case(tmp_path):
    touch(tmp_path, *(f"c/train/good/{n}" for n in ("1.PNG", "2.Jpg", "3.jpeg", "4.TIF", "5.gif")))
    assert len(layout.scan(tmp_path)) == 4


@pytest.mark.parametrize(
    ("mask", "image"),
    [
        ("1_mask.png", "1.png"),
        ("1.png", "1.png"),
        ("1_mask.bmp", "1.jpg"),
        ("1_MASK.png", None),
        ("1_mask.PNG", "1.png"),
        ("01_mask.png", None),
    ],
)
def test_a_mask_belongs_to_the_image_of_its_name(tmp_path, mask, image):
    touch(tmp_path, f"c/test/cut/{image or '1.png'}", f"c/ground_truth/cut/{mask}")
    expected = f"c/ground_truth/cut/{mask}" if image else ""
    assert layout.scan(tmp_path)["mask"].tolist() == [expected]


def test_good_images_have_no_mask(tmp_path):
    touch(tmp_path, "c/train/good/1.png", "c/test/good/1.png", "c/ground_truth/good/1_mask.png")
    assert layout.scan(tmp_path)["mask"].tolist() == ["", ""]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], r"data.root: .*/data holds no categories; expected <category>/train/good/\*\.png"),
        (["1.png"], "data holds no categories"),
        ([".hidden/train/good/1.png"], "data holds no categories"),
        (["c/1.png"], "/data/c: neither train nor test in it"),
        (
            ["c/train/Good/1.png"],
            "/data/c/train/Good: rename it to good, or its images would be defects",
        ),
        (["c/train/1.png"], r"/data/c/train/1\.png: expected in a folder such as .*c/train/good"),
        (["c/train/good/1.txt"], r"/data/c/train/good: no images in it; expected \.png"),
        (["c/train/readme.txt"], "/data/c: an empty category"),
        (["b/train/good/1.png", "c/test/good/x.txt"], "/data/c/test/good: no images in it"),
    ],
)
def test_a_folder_in_another_layout_is_refused_with_the_place(tmp_path, files, said):
    (tmp_path / "data").mkdir()
    touch(tmp_path / "data", *files)
    with pytest.raises(InputError, match=said) as caught:
        layout.scan(tmp_path / "data")
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.root: .*/nowhere does not exist; expected"):
        layout.scan(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    touch(tmp_path, "data.zip")
    with pytest.raises(InputError, match=r"data\.root: .*data\.zip is a file; expected a folder"):
        layout.scan(tmp_path / "data.zip")


@pytest.mark.parametrize("link", ["c", "b/test", "b/train/cut", "b/train/up", "b/ground_truth/cut"])
def test_a_link_to_a_folder_is_refused_since_dvc_does_not_look_behind_it(tmp_path, link):
    touch(tmp_path, "data/b/train/good/1.png", "data/b/ground_truth/1.txt", "else/1.png")
    (tmp_path / "data" / link).symlink_to(".." if link.endswith("up") else tmp_path / "else")
    with pytest.raises(InputError, match=f"data/{link}: a link to a folder, behind which DVC sees"):
        layout.scan(tmp_path / "data")


def test_the_folder_itself_may_be_a_link(tmp_path):
    touch(tmp_path, "data/c/train/good/1.png")
    (tmp_path / "link").symlink_to("data")
    assert len(layout.scan(tmp_path / "link")) == 1


def added(root: Path) -> None:
    save(np.zeros((4, 4, 3), np.uint8), root / "plain/train/good/new.png")


def touched(root: Path) -> None:
    os.utime(root / "bolt/ground_truth/scratch/000_mask.png", (1, 1))


def removed(root: Path) -> None:
    (root / "plain/train/good/000.bmp").unlink()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (added, "plain/train/good/new.png"),
        (touched, "bolt/ground_truth/scratch/000_mask.png"),
        (removed, "plain/train/good/000.bmp"),
    ],
)
def test_a_folder_that_changes_while_it_is_read_is_noticed(copied, change, named):
    before = layout.state(copied, layout.scan(copied))
    layout.check_unchanged(copied, before)
    change(copied)
    with pytest.raises(InputError, match=f"{named}: changed while it was read; run it again"):
        layout.check_unchanged(copied, before)
