"""Duplicates: the same photograph however it was saved, and no two products taken for one."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from twinhead.ingest import phash
from twinhead.partition import duplicates, hamming

SHARE = 0.1


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Forty products of one kind, each with its own shadows, grain and disc."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        image = np.full((160, 192, 3), 120.0)
        for cells, strength in ((8, 60), (40, 20)):
            blotches = Image.fromarray(
                rng.uniform(-strength, strength, (cells, cells)).astype(np.float32)
            )
            image += np.asarray(blotches.resize((192, 160), Image.Resampling.BICUBIC))[..., None]
        image += rng.normal(0, 3, image.shape)
        found.append(Image.fromarray(image.clip(0, 255).astype(np.uint8)))
    return found


def table(pictures: list[Image.Image], category: str = "a") -> pd.DataFrame:
    hashes = [phash.of(picture) for picture in pictures]
    digests = [picture.tobytes().hex()[:4000] for picture in pictures]
    return pd.DataFrame({"category": category, "phash": hashes, "sha256": digests})


def resaved(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return Image.open(file).convert("RGB")


CHANGES = {
    "saved as JPEG": resaved,
    "made smaller": lambda picture: picture.resize((96, 80), Image.Resampling.LANCZOS),
    "less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.85),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.05),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_photograph_saved_in_another_way_is_a_duplicate(pictures, change):
    again = [CHANGES[change](picture) for picture in pictures[:10]]
    group = duplicates.groups(table([*pictures, *again]), SHARE)
    assert group[40:].tolist() == list(range(10)) and group[:40].tolist() == list(range(40))


def test_different_products_are_none(pictures):
    assert duplicates.groups(table(pictures), SHARE).tolist() == list(range(40))


def test_duplicates_of_duplicates_are_one_group_named_by_the_first(pictures):
    frame = table(pictures[:5])
    bits = np.array(list(f"{int(frame['phash'][3], 16):01024b}"))
    for row in (4, 2):  # each differs from the one before in 80 of 1,024 bits
        flipped = np.random.default_rng(row).choice(1024, 80, replace=False)
        bits[flipped] = np.where(bits[flipped] == "1", "0", "1")
        frame.loc[row, "phash"] = f"{int(''.join(bits), 2):0256x}"
    assert duplicates.groups(frame, SHARE).tolist() == [0, 1, 2, 2, 2]


def test_with_0_only_equal_bytes_count(pictures):
    frame = table([*pictures, pictures[7]])
    frame.loc[3, "phash"] = frame["phash"][2]
    assert duplicates.groups(frame, 0).tolist() == [*range(40), 7]


def test_a_copy_in_another_category_is_found(pictures):
    frame = pd.concat([table(pictures), table([resaved(pictures[5])], "b")], ignore_index=True)
    assert duplicates.groups(frame, SHARE)[40] == 5


def test_products_that_all_look_alike_to_the_hash_are_not_taken_for_one():
    # one board in a fixture, photographed forty times: all that differs is a dot and the noise
    rng = np.random.default_rng(1)
    board = rng.uniform(0, 255, (64, 64, 3))
    boards = [board + rng.normal(0, 6, board.shape) for _ in range(40)]
    frame = table([Image.fromarray(b.clip(0, 255).astype(np.uint8)) for b in boards])
    words = duplicates.words_of(frame["phash"])
    apart = [hamming.distances(words, np.roll(words, by, axis=0)) for by in range(1, 20)]
    assert np.median(apart) < SHARE * 1024
    assert duplicates.groups(frame, SHARE).tolist() == list(range(40))


def test_blocks_change_nothing(pictures, monkeypatch):
    again = [resaved(picture) for picture in pictures[::3]]
    frame = table([*pictures, *again]).sample(frac=1, random_state=0, ignore_index=True)
    expected = duplicates.groups(frame, SHARE)
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    assert duplicates.groups(frame, SHARE).equals(expected) and expected.duplicated().sum() == 14


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (64, 64), (129, 2000)])
def test_any_size_has_a_hash(size):
    assert (
        len(bytes.fromhex(phash.of(Image.new("RGB", size, (9, 9, 9))))) * 8 == phash.FREQUENCIES**2
    )


@pytest.mark.parametrize("others", [0, 1, 5])
def test_in_a_category_of_few_images_a_copy_is_found_too(pictures, others):
    frame = table([pictures[0], *map(resaved, pictures[:1]), *pictures[1 : 1 + others]])
    assert duplicates.groups(frame, SHARE).tolist() == [0, 0, *range(2, 2 + others)]


def test_photographs_of_one_hash_are_one_group(pictures):
    frame = table([*pictures, Image.new("RGB", (9, 9)), Image.new("RGB", (9, 8))])
    assert duplicates.groups(frame, SHARE).tolist() == [*range(40), 40, 40]
