"""The stores of pixels and masks: row i is catalog row i, and nothing is decoded twice."""

from pathlib import Path

import conftest
import numpy as np
import pandas as pd
import pytest
from conftest import CATEGORIES, SIZE, built_in

from twinhead.dataset import pixels
from twinhead.errors import InputError
from twinhead.ingest import decoding, images, layout


def test_row_i_is_catalog_row_i(built):
    assert built.pixels.shape == (len(built.frame), SIZE, SIZE, 3)
    assert built.pixels.dtype == np.uint8
    for row in range(0, len(built.frame), 7):
        expected = images.read(built.root / built.frame["path"][row], SIZE)
        assert (built.pixels[row] == expected).all()


def test_colours_and_categories_agree(built):
    for category, (colour, *_) in CATEGORIES.items():
        rows = (built.frame["category"] == category) & (built.frame["defective"] == 0)
        mean = built.pixels[np.flatnonzero(rows)].mean(axis=(0, 1, 2))
        assert np.abs(mean - colour).max() < 4


def test_masks_are_found_by_the_image_s_number(built):
    rows = np.flatnonzero(built.frame["mask"] != "")
    assert list(built.masks) == rows.tolist() and len(rows) == 8
    for row, mask in built.masks.items():
        assert mask.shape == (SIZE, SIZE) and mask.dtype == bool
        bright = built.pixels[row].min(axis=2) > 200  # a defect is a bright disc
        assert (bright == mask).mean() > 0.95 and mask.any()


@pytest.mark.parametrize("workers", [1, 7])
def test_the_number_of_workers_changes_nothing(built, build, workers):
    again = build(built.root, workers=workers)
    assert again.frame.equals(built.frame)
    assert (again.pixels[:] == built.pixels[:]).all()
    assert all((again.masks[row] == mask).all() for row, mask in built.masks.items())


def test_progress_ends_at_the_total(built, build):
    told = []
    build(built.root, progress=lambda done, total: told.append((done, total)))
    total = len(built.frame)
    assert told == [(done, total) for done in range(1, total + 1)]


def test_no_masks_at_all_is_an_ordinary_case(build, copied):
    for mask in copied.glob("bolt/ground_truth/*/*"):
        mask.unlink()
    found = build(copied)
    assert found.masks == {} and (found.frame["mask"] == "").all()


def test_a_mask_that_marks_nothing_is_no_mask(build, copied):
    empty = images.Image.new("L", (48, 48))
    empty.save(copied / "bolt/ground_truth/scratch/000_mask.png")
    found = build(copied)
    assert len(found.masks) == 7 and all(mask.any() for mask in found.masks.values())


def test_all_bad_files_are_told_at_once_and_nothing_is_left(copied, tmp_path):
    bad = ["bolt/test/scratch/001.png", "größe 2/train/good/003.jpg"]
    for file in bad:
        (copied / file).write_bytes((copied / file).read_bytes()[:300])
    bad.insert(0, "bolt/ground_truth/big hole/000_mask.png")
    (copied / bad[0]).write_bytes(b"")
    with pytest.raises(InputError) as caught:
        built_in(tmp_path / "built", copied)
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        str(copied / file) for file in bad
    ]
    assert not list((tmp_path / "built").iterdir())


@pytest.fixture
def decodings(monkeypatch):
    """The names of the files that are decoded from here on."""
    decoded = []
    for name in ("upright", "decode_mask"):

        def listed(data, path, *size, original=getattr(images, name)):
            decoded.append(path.name)
            return original(data, path, *size)

        monkeypatch.setattr(images, name, listed)
    return decoded


def stored(target):
    files = [file for file in target.rglob("*") if file.is_file()]
    return {str(file.relative_to(target)): file.read_bytes() for file in files}


def test_only_new_files_are_decoded_and_the_bytes_are_those_from_nothing(
    copied, tmp_path, decodings
):
    held_back = {path: path.read_bytes() for path in copied.glob("bolt/*/*/00[13]*.png")}
    for path in held_back:
        path.unlink()
    built_in(tmp_path / "built", copied)
    for path, data in held_back.items():
        path.write_bytes(data)
    decodings.clear()
    built_in(tmp_path / "built", copied)
    assert sorted(decodings) == sorted(path.name for path in held_back)
    built_in(tmp_path / "scratch", copied)
    assert stored(tmp_path / "built") == stored(tmp_path / "scratch")


def test_nothing_is_decoded_twice_whatever_the_files_are_called(copied, tmp_path, decodings):
    built_in(tmp_path / "built", copied)
    (copied / "plain/train/good/000.bmp").rename(copied / "plain/test/good/moved.bmp")
    decodings.clear()
    built_in(tmp_path / "built", copied)
    assert decodings == []


def test_what_was_stored_is_taken_over_only_if_it_is_as_it_was_written(copied, tmp_path, decodings):
    built = built_in(tmp_path / "built", copied)
    pixels = built.pixels[:]
    last = built.pixels.shards[-1][0]
    with (tmp_path / f"built/pixels/{last}.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xaa")
    decodings.clear()
    again = built_in(tmp_path / "built", copied)
    assert decodings == [Path(built.frame["path"].iat[-1]).name]
    assert (again.pixels[:] == pixels).all()


def test_pixels_of_another_size_are_decoded_anew(copied, tmp_path, monkeypatch, decodings):
    built_in(tmp_path / "built", copied)
    monkeypatch.setattr(conftest, "SIZE", 2 * SIZE)
    decodings.clear()
    assert built_in(tmp_path / "built", copied).pixels.shape[1] == 2 * SIZE
    assert len(decodings) == sum(path.is_file() for path in copied.rglob("*"))


TORN = ["pixels/index.json", "pixels/*.npy", "masks/index.json", "masks/*.npy", "decoded.csv"]


@pytest.mark.parametrize("name", TORN)
def test_half_of_an_earlier_build_is_no_hindrance(built, copied, tmp_path, name):
    whole = built_in(tmp_path / "built", copied)
    before = stored(tmp_path / "built")
    torn = next((tmp_path / "built").glob(name))
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    again = built_in(tmp_path / "built", copied)
    assert stored(tmp_path / "built") == before
    assert (again.pixels[:] == built.pixels[:]).all() and again.frame.equals(whole.frame)


def test_a_failing_index_leaves_what_was_there(copied, tmp_path):
    built_in(tmp_path / "built", copied)
    before = stored(tmp_path / "built")
    (copied / "bolt/train/good/000.png").write_bytes(b"")
    with pytest.raises(InputError):
        built_in(tmp_path / "built", copied)
    assert stored(tmp_path / "built") == before


def spoilt(root: Path) -> dict[str, str]:
    """Two images and two masks that can't be used: what is said of each."""
    (root / "bolt/test/scratch/001.png").write_bytes(b"")
    (root / "plain/train/good/004.bmp").write_bytes(b"no picture")
    (root / "bolt/ground_truth/scratch/002_mask.png").write_bytes(b"")
    conftest.save(np.zeros((48, 24), np.uint8), root / "bolt/ground_truth/big hole/000_mask.png")
    return {
        "bolt/ground_truth/big hole/000_mask.png": "24 × 48 pixels, but its image has 48 × 48",
        "bolt/ground_truth/scratch/002_mask.png": "the file is empty",
        "bolt/test/scratch/001.png": "the file is empty",
        "plain/train/good/004.bmp": "not a PNG, JPEG, BMP or TIFF file",
    }


def test_bad_images_and_masks_are_skipped_if_that_is_wanted(built, copied, tmp_path):
    said = spoilt(copied)
    target = tmp_path / "skipped"
    target.mkdir()
    names = [target / name for name in ("pixels", "masks", "decoded.csv")]
    found = decoding.build(layout.scan(copied), copied, SIZE, *names, on_bad="skip")
    assert {path: why for _, path, why in found.skipped}.keys() == said.keys()
    for kind, path, why in found.skipped:
        assert kind == ("mask" if "ground_truth" in path else "image") and said[path] in why
    gone = built.frame["path"].isin(said)
    expected = built.frame[~gone].reset_index(drop=True)
    expected.loc[expected["mask"].isin(said), "mask"] = ""
    pd.testing.assert_frame_equal(found.frame, expected)
    stored_pixels, stored_masks = pixels.load(names[0]), pixels.load_masks(names[1], found.frame)
    assert (stored_pixels[:] == built.pixels[~gone]).all() and len(stored_masks) == 8 - 3
    by_path = dict(zip(built.frame["path"], built.frame.index, strict=True))
    for number, mask in stored_masks.items():
        assert (mask == built.masks[by_path[found.frame["path"][number]]]).all()


def test_skipping_leaves_what_a_folder_without_them_gives_and_knows_it_again(
    copied, tmp_path, decodings
):
    spoilt(copied)
    built_in(tmp_path / "built", copied, on_bad="skip")
    decodings.clear()
    built_in(tmp_path / "built", copied, on_bad="skip")
    assert len(decodings) == 5  # what is not used is not kept
    for path in ("bolt/test/scratch/001.png", "plain/train/good/004.bmp"):
        (copied / path).unlink()
    for path in ("bolt/ground_truth/scratch/002", "bolt/ground_truth/big hole/000"):
        (copied / f"{path}_mask.png").unlink()
    (copied / "bolt/ground_truth/scratch/001_mask.png").unlink()  # whose image is gone
    built_in(tmp_path / "scratch", copied)
    assert stored(tmp_path / "built") == stored(tmp_path / "scratch")


def test_a_folder_of_bad_images_alone_is_refused_even_so(tmp_path):
    for name in ("1.png", "2.png"):
        (tmp_path / "data/c/train/good").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/c/train/good" / name).write_bytes(b"no picture")
    with pytest.raises(InputError) as caught:
        built_in(tmp_path / "built", tmp_path / "data", on_bad="skip")
    assert len(str(caught.value).splitlines()) == 2


def test_a_mask_may_be_its_image_s_in_another_size(copied, tmp_path):
    marked = np.zeros((97, 97), np.uint8)
    marked[40:60, 40:60] = 255
    conftest.save(marked, copied / "bolt/ground_truth/scratch/000_mask.png")
    assert len(built_in(tmp_path / "built", copied).masks) == 8
