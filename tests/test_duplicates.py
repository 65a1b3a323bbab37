"""Duplicates: the same photograph however it was saved, and no two products taken for one."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.sparse.csgraph import connected_components

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


def test_order_changes_nothing(pictures):
    again = [resaved(picture) for picture in pictures[::3]]
    frame = table([*pictures, *again])
    group, mixed = duplicates.groups(frame, SHARE), frame.sample(frac=1, random_state=0)
    joined = duplicates.groups(mixed, SHARE)
    assert group.duplicated().sum() == 14
    assert (group[joined].to_numpy() == group[joined.index].to_numpy()).all()


def one_by_one(words: np.ndarray, limits: np.ndarray) -> list[int]:
    """The components as each pair gives them: the definition."""
    apart = np.array([hamming.distances(words, words[[row]]) for row in range(len(words))])
    near = apart <= np.minimum(limits[:, None], limits[None, :])
    number = connected_components(near, directed=False)[1]
    return pd.Series(range(len(words))).groupby(number).transform("min").tolist()


def strings(rng: np.random.Generator, number: int, clusters: int, alive: float, words: int = 16):
    """Bit strings around some centres, of which a part of the bits is alive; chains among them."""
    centres = rng.integers(0, 2, (clusters, 64 * words))
    flips = rng.random((number, 64 * words)) < 0.5 * (rng.random(64 * words) < alive)
    bits = centres[rng.integers(0, clusters, number)] ^ flips
    for row in range(1, number, 3):  # each near an earlier one, some exactly at the limit
        source, far = rng.integers(0, row), rng.integers(0, 110)
        bits[row] = bits[source]
        bits[row, rng.choice(64 * words, min(far, 64 * words), replace=False)] ^= 1
    return np.packbits(bits.astype(np.uint8), axis=1).view(np.uint64)


@pytest.mark.parametrize("plan", [None, (0, 1), (1, 4), (2, 5), (3, 7), (4, 6)], ids=str)
@pytest.mark.parametrize(("clusters", "alive"), [(300, 1), (1, 1), (4, 0.4), (2, 0.1), (1, 0.02)])
def test_what_is_found_is_what_comparing_each_pair_finds(monkeypatch, clusters, alive, plan):
    if plan:
        monkeypatch.setattr(hamming, "CHOICES", [plan])
        monkeypatch.setattr(hamming, "COMPARE", np.inf)
    rng = np.random.default_rng(clusters)
    words = strings(rng, 300, clusters, alive)
    limits = rng.choice([-1, 0, 20, 60, 85, 100, 102], 300)
    assert hamming.components(words, limits).tolist() == one_by_one(words, limits)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 5), st.integers(1, 3),
    st.sampled_from(hamming.CHOICES), st.floats(0, 1),
)  # fmt: skip
def test_none_is_missed_whatever_the_strings(seed, number, clusters, words, plan, alive):
    rng = np.random.default_rng(seed)
    found = strings(rng, number, clusters, alive, words)
    limits = rng.integers(-1, 64 * words + 1, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "CHOICES", [plan])
        patch.setattr(hamming, "COMPARE", np.inf)
        assert hamming.components(found, limits).tolist() == one_by_one(found, limits)


def test_thousands_that_are_nearly_one_are_no_millions_of_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    words = np.repeat(rng.integers(0, 2**63, (1, 16), np.uint64), 20_000, axis=0)
    words[:, 0] ^= rng.integers(0, 2**16, 20_000, np.uint64)
    measured, distances = [], hamming.distances

    def counted(some, others):
        measured.append(len(some))
        return distances(some, others)

    monkeypatch.setattr(hamming, "distances", counted)
    assert not hamming.components(words, np.full(20_000, 102)).any()
    assert sum(measured) < 500 * len(words)


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
