"""The embedded data set: its proportions, its bytes, and that its masks tell the truth."""

import hashlib
import platform
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinhead import sample
from twinhead.sample.defects import Defect
from twinhead.sample.picture import DRAW, take
from twinhead.sample.plan import LEAST_IMAGES, PUBLISHED

SIZE = 64
EVERYWHERE = "3c9d2164c362a17816b7225e4d5a1d0130adb3fcb810603ff25f989b4e674f9c"
"""Digest of the files' names and digests, as AVX2 computes them."""
DEFECTS = [(category, name) for category, row in PUBLISHED.items() for name in row[3]]


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.png"))
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rendered") / "sample"
    assert sample.render(root, LEAST_IMAGES, SIZE) == LEAST_IMAGES
    return root


def test_full_size_has_the_published_counts():
    table = sample.counts(5354)
    for category, (train, good, defective, types) in PUBLISHED.items():
        folders = dict(table[category])
        assert folders.pop("train/good") == train
        assert folders.pop("test/good") == good
        assert sum(folders.values()) == defective
        assert list(folders) == [f"test/{name}" for name in types] and len(types) >= 3
    sums = [sum(column) for column in list(zip(*PUBLISHED.values(), strict=True))[:3]]
    assert sums == [3629, 467, 1258]


@pytest.mark.parametrize("images", [LEAST_IMAGES, 600, 1234, 5354, 9999])
def test_counts_sum_to_the_images_asked_for(images):
    table = sample.counts(images)
    assert sum(sum(folders.values()) for folders in table.values()) == images
    assert all(sum(folders.values()) >= 24 for folders in table.values())
    assert all(
        number >= (1 if folder.endswith("good") else 2)
        for folders in table.values()
        for folder, number in folders.items()
    )


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match=rf"images is 100; expected at least {LEAST_IMAGES}"):
        sample.render(tmp_path / "sample", images=100)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [31, 1025])
def test_a_size_out_of_range_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match=f"size is {size}; expected 32 to 1024"):
        sample.render(tmp_path / "sample", size=size)


def test_a_folder_that_holds_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="isn't empty"):
        sample.render(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_files_are_those_of_the_plan(rendered):
    expected = set()
    for category, folders in sample.counts(LEAST_IMAGES).items():
        for folder, number in folders.items():
            for i in range(number):
                expected.add(f"{category}/{folder}/{i:03d}.png")
                if not folder.endswith("good"):
                    masks = folder.replace("test", "ground_truth")
                    expected.add(f"{category}/{masks}/{i:03d}_mask.png")
    assert set(digests(rendered)) == expected


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(rendered, tmp_path):
    sample.render(tmp_path / "alone", LEAST_IMAGES, SIZE, workers=1)
    assert digests(tmp_path / "alone") == digests(rendered)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of x86 processors")
def test_the_bytes_are_those_that_other_processors_gave(rendered):
    lines = "".join(f"{path} {digest}\n" for path, digest in digests(rendered).items())
    assert hashlib.sha256(lines.encode()).hexdigest() == EVERYWHERE


def test_an_image_is_what_its_place_size_and_seed_say_whatever_is_beside_it(rendered):
    image = take("screw", "test/scratch_neck", 1, SIZE, 42).image
    assert np.array_equal(image, Image.open(rendered / "screw/test/scratch_neck/001.png"))


def test_another_seed_gives_other_bytes():
    for category in PUBLISHED:
        first, second = (take(category, "train/good", 0, 32, seed).image for seed in (1, 2))
        assert not np.array_equal(first, second)


def test_no_two_images_are_alike(rendered):
    images = [d for path, d in digests(rendered).items() if "ground_truth" not in path]
    assert len(set(images)) == len(images) == LEAST_IMAGES


def test_masks_are_black_and_white_and_of_the_images_size(rendered):
    for path in rendered.glob("*/ground_truth/*/*.png"):
        mask = Image.open(path)
        assert mask.mode == "L" and mask.size == (SIZE, SIZE)
        assert set(np.unique(mask)) == {0, 255}, path


@pytest.mark.parametrize(("category", "name"), DEFECTS)
def test_a_defect_shows_under_its_mask_and_nowhere_else(category, name):
    for number in range(3):
        picture = take(category, f"test/{name}", number, SIZE, seed=7)
        change = abs(picture.image.astype(int) - picture.twin).max(axis=-1)
        assert picture.mask.sum() >= 4
        assert change[picture.mask].mean() > 12
        assert change[~picture.mask].max(initial=0) < 24
        assert picture.mask.mean() < 0.4


@pytest.mark.parametrize(("category", "name"), DEFECTS)
def test_a_defect_leaves_the_products_own_draws_alone(category, name):
    states = []
    for defect in (None, Defect(name, np.random.default_rng(1), 0.9)):
        rng = np.random.default_rng(0)
        DRAW[category](rng, 32, defect)
        states.append((rng.bit_generator.state, rng.bit_generator.seed_seq.n_children_spawned))
    assert states[0] == states[1] and states[0][1] == 0


def test_good_images_have_no_mask():
    for category in PUBLISHED:
        assert take(category, "test/good", 0, 32, 42).mask is None


def test_progress_counts_up_to_the_total(tmp_path):
    seen = []
    sample.render(
        tmp_path / "sample",
        LEAST_IMAGES,
        32,
        workers=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, LEAST_IMAGES) for i in range(1, LEAST_IMAGES + 1)]
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
