"""The stores: read like an array, equal to those from nothing, and computed for what is new."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SIZE, built_in, photograph, save
from test_faults import at_most

from twinhead import files, sharding
from twinhead.backbones import extraction
from twinhead.dataset import features
from twinhead.dataset.store import INDEX, Store
from twinhead.errors import InputError

POOLED = features.POOLED


def written(path: Path, rows: np.ndarray) -> Store:
    with sharding.writing(path, rows.dtype, rows.shape[1:]) as writer:
        for row in rows:
            writer.add(sharding.key(row), row)
    return Store(path)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 4, 5), np.uint8)


@pytest.fixture(scope="module")
def store(rows: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return written(tmp_path_factory.mktemp("store") / "rows", rows)


@pytest.mark.parametrize(
    "index",
    [0, -1, 299, slice(None), slice(10, 90), slice(290, 900), slice(7, 7), slice(None, None, -7),
     np.array([5, 5, 299, 0]), [3, 1], np.array([], int), np.arange(300) % 2 == 0,
     (np.array([3, 200, 4]), np.array([0, 3, 1])), (slice(None), 0), (np.array([9, 1]), 2), (7, 1),
     (np.array([], int), np.array([], int)), (slice(20, 60), slice(1, 3))],
    ids=str,
)  # fmt: skip
def test_a_store_is_read_as_an_array_is(store, rows, index):
    found = store[index]
    np.testing.assert_array_equal(found, rows[index])
    assert found.dtype == rows.dtype and type(found) is np.ndarray


def test_rows_are_cut_where_their_keys_say(store):
    assert [keys for _, keys in store.shards] == sharding.cut(store.keys)


def test_a_store_knows_its_shape(store, rows):
    assert (store.shape, store.ndim, store.dtype) == (rows.shape, rows.ndim, rows.dtype)
    assert len(store) == len(store.keys) == len(rows) and len(store.shards) > 5


def test_a_row_beyond_the_last_is_refused(store):
    with pytest.raises(IndexError):
        store[300]


def test_what_is_read_is_one_s_own(store, rows):
    store[3][...] = 0
    assert (store[3] == rows[3]).all()


def test_an_empty_store_has_its_shape(tmp_path):
    store = written(tmp_path / "none", np.empty((0, 4, 4), bool))
    assert store.shape == (0, 4, 4) and store[:].shape == (0, 4, 4) and store.dtype == bool


def test_a_few_shards_are_mapped_at_a_time(store, rows, monkeypatch):
    monkeypatch.setattr("twinhead.dataset.store.OPEN", 2)
    few = Store(store.path)
    assert (few[:] == rows).all() and few._shard.cache_info().currsize == 2


@pytest.mark.parametrize("lost", [INDEX, "*.npy", ""])
def test_a_store_of_which_something_is_missing_is_named(store, tmp_path, lost):
    copy = Path(shutil.copytree(store.path, tmp_path / "store"))
    if lost:
        gone = next(copy.glob(lost))
        gone.unlink()
    else:
        shutil.rmtree(copy)
    with pytest.raises(InputError, match=r"store.* is missing; run `dvc repro`"):
        Store(copy)


def test_half_a_shard_is_named(store, tmp_path):
    copy = Path(shutil.copytree(store.path, tmp_path / "store"))
    half = next(copy.glob("*.npy"))
    half.write_bytes(half.read_bytes()[:200])
    with pytest.raises(InputError, match=f"{half.name}: not an array of numbers"):
        Store(copy)[:]


@pytest.mark.parametrize(
    "index",
    ["", "[]", "{}", '{"dtype": "|O", "shape": [], "shards": []}',
     '{"dtype": "|u1", "shape": [1], "shards": [["../../etc", ["a"]]]}'],
)  # fmt: skip
def test_an_index_of_something_else_is_refused(tmp_path, index):
    (tmp_path / INDEX).write_text(index)
    with pytest.raises(InputError, match="not a store of arrays"):
        Store(tmp_path)


def contents(path: Path) -> dict[str, bytes]:
    found = [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in found}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]} - {INDEX}


@pytest.mark.parametrize("seed", range(5))
def test_a_changed_store_is_that_from_nothing_and_few_shards_are_new(rows, tmp_path, seed):
    rng = np.random.default_rng(seed)
    new = rng.integers(0, 256, (10, 4, 5), np.uint8)
    at = int(rng.integers(0, len(rows)))
    changes = {
        "added": np.concatenate([rows[:at], new, rows[at:]]),
        "removed": np.delete(rows, rng.choice(len(rows), 3, replace=False), axis=0),
        "moved": np.roll(rows, at, axis=0),
        "repeated": np.concatenate([rows, rows[:1].repeat(200, axis=0)]),
    }
    for name, given in changes.items():
        written(tmp_path / name, rows)
        before = contents(tmp_path / name)
        written(tmp_path / name, given)
        written(tmp_path / f"{name} from nothing", given)
        after = contents(tmp_path / name)
        assert after == contents(tmp_path / f"{name} from nothing"), name
        places = {"added": 1, "removed": 3, "moved": 2, "repeated": 1}[name]
        rewritten = sum(len(keys) for shard, keys in dict(Store(tmp_path / name).shards).items()
                        if f"{shard}.npy" in changed(before, after))  # fmt: skip
        new_rows = {"added": 10, "repeated": 32}.get(name, 0)
        assert rewritten <= new_rows + places * 2 * sharding.MOST, name


def test_a_block_that_fails_leaves_the_store_as_it_was(rows, tmp_path):
    written(tmp_path / "store", rows)
    before = contents(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt), sharding.writing(tmp_path / "store") as writer:
        for row in rows[::-1]:
            writer.add(sharding.key(row), row)
        raise KeyboardInterrupt
    assert contents(tmp_path / "store") == before
    with pytest.raises(KeyboardInterrupt), sharding.writing(tmp_path / "new"):
        raise KeyboardInterrupt
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_sweep_leaves_the_new_store_whole(rows, tmp_path, monkeypatch, error):
    written(tmp_path / "store", rows)
    expected = contents(written(tmp_path / "expected", rows[::-1]).path)

    remove = files.remove

    def interrupted(path: Path) -> None:
        if path.suffix == ".npy" and ".partial" not in path.name:
            raise error
        remove(path)

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(files, "remove", interrupted)
        written(tmp_path / "store", rows[::-1])
    np.testing.assert_array_equal(Store(tmp_path / "store")[:], rows[::-1])
    written(tmp_path / "store", rows[::-1])
    assert contents(tmp_path / "store") == expected


def test_a_disk_that_takes_no_more_is_told_by_the_store_s_name(rows, tmp_path):
    written(tmp_path / "store", rows)
    before = contents(tmp_path / "store")
    with pytest.raises(OSError) as raised, at_most(300):
        written(tmp_path / "store", rows[::-1])
    assert raised.value.filename == str(tmp_path / "store")
    assert contents(tmp_path / "store") == before


def test_what_a_killed_block_left_is_swept_away(rows, tmp_path):
    expected = contents(written(tmp_path / "store", rows).path)
    (tmp_path / "store" / f"{'0' * 32}.npy").write_bytes(b"of no index")
    (tmp_path / "store" / f"{'0' * 32}.partial.npy").write_bytes(b"half")
    written(tmp_path / "store", rows)
    assert contents(tmp_path / "store") == expected


class Killed(BaseException):
    """As sudden as a signal: nothing is tidied up after it."""


@pytest.fixture
def extract() -> Callable[..., int]:
    """Build stores with a backbone of two arrays, the second of the first view alone."""

    def describe(batch: np.ndarray) -> dict[str, np.ndarray]:
        assert len(batch) == extraction.BATCH
        pooled = batch.mean(axis=(1, 2))
        return {POOLED: pooled, "patches": batch[:, ::8, ::8].astype(np.float16)}

    def run(
        images: Store, target: Path, views: int = 2, backbone=describe, on="NumPy", **options
    ) -> int:
        target.mkdir(exist_ok=True)
        places = target / "features", target / "extracted.csv"
        return extraction.build(
            backbone, [POOLED, "patches"], images, views, *places, **options, engine=on
        )

    run.describe = describe
    return run


@pytest.fixture
def many(copied: Path) -> Path:
    """The small data set with enough photographs for several shards, and two that are equal."""
    rng = np.random.default_rng(5)
    for number in range(90):
        image = photograph(rng, (90, 90, 90), (SIZE, SIZE), defective=False)[0]
        save(image, copied / f"plain/train/good/1{number:03}.png")
    shutil.copy(copied / "plain/train/good/1000.png", copied / "plain/test/good/1000.png")
    return copied


def add(root: Path) -> int:
    rng = np.random.default_rng(9)
    for number in range(10):
        image = photograph(rng, (90, 90, 90), (SIZE, SIZE), defective=False)[0]
        save(image, root / f"bolt/train/good/9{number:02}.png")
    return 10


def remove(root: Path) -> int:
    for file in sorted(root.glob("plain/train/good/1*.png"))[20:26]:
        file.unlink()
    return 0


def rename(root: Path) -> int:
    for file in sorted(root.glob("plain/train/good/1*.png"))[20:26]:
        file.rename(file.with_name(f"0 {file.name}"))
    return 0


def move(root: Path) -> int:
    (root / "plain").rename(root / "a new name")
    return 0


@pytest.mark.parametrize("change", [add, remove, rename, move])
def test_only_what_is_new_is_decoded_and_goes_through_the_backbone(many, tmp_path, extract, change):
    kept, nothing = tmp_path / "kept", tmp_path / "from nothing"
    total = extract(built_in(kept, many).pixels, kept)
    assert total == len(Store(kept / "pixels")) - 1  # two are equal
    new = change(many)
    again = built_in(kept, many)
    assert again.decoded == new and extract(again.pixels, kept) == new
    extract(built_in(nothing, many).pixels, nothing)
    assert contents(kept) == contents(nothing)
    stores = features.load(kept / "features")
    assert {name: store.shape[1:] for name, store in stores.items()} == {
        POOLED: (2, 3), "patches": (4, 4, 3),
    }  # fmt: skip
    assert stores["patches"].dtype == np.float16 and len(stores[POOLED]) == len(again.frame)


def test_equal_photographs_are_decoded_once(many, tmp_path):
    files_there = [file for file in many.rglob("*") if file.is_file()]
    for workers in (1, 7):
        built = built_in(tmp_path / f"{workers}", many, workers=workers)
        assert built.decoded == len(files_there) - 1
        rows = built.frame.index[built.frame["path"].str.endswith("/1000.png")]
        assert (built.pixels[rows[0]] == built.pixels[rows[1]]).all()


def test_other_views_engines_and_libraries_and_broken_files_are_computed_anew(
    built, tmp_path, extract, monkeypatch
):
    total = extract(built.pixels, tmp_path)
    expected = contents(tmp_path)
    assert extract(built.pixels, tmp_path) == 0 and contents(tmp_path) == expected
    broken = sorted((tmp_path / "features/patches").glob("*.npy"))[0]
    broken.write_bytes(broken.read_bytes()[:-1] + b"\xaa")
    shard = dict(built.pixels.shards)[broken.stem]
    assert extract(built.pixels, tmp_path) == len(set(shard))
    assert contents(tmp_path) == expected
    assert extract(built.pixels, tmp_path, views=1) == total
    assert extract(built.pixels, tmp_path, views=1, on="another engine") == total
    monkeypatch.setattr(extraction.keras, "__version__", "another")
    assert extract(built.pixels, tmp_path, views=1, on="another engine") == total


@pytest.mark.parametrize("name", ["extracted.csv", "features/pooled/index.json"])
def test_half_of_an_earlier_list_is_no_hindrance(built, tmp_path, extract, name):
    extract(built.pixels, tmp_path)
    expected, torn = contents(tmp_path), tmp_path / name
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    extract(built.pixels, tmp_path)
    assert contents(tmp_path) == expected


def test_a_killed_build_is_gone_on_with(many, tmp_path, extract, monkeypatch):
    images = built_in(tmp_path / "pixels", many).pixels
    total = extract(images, tmp_path / "whole")
    monkeypatch.setattr(Path, "unlink", lambda *given, **options: None)  # nothing is tidied up
    monkeypatch.setattr(Path, "rmdir", lambda *given: None)

    def kill(done: int, total: int) -> None:
        if done > 64:
            raise Killed

    with pytest.raises(Killed):
        extract(images, tmp_path / "killed", progress=kill)
    monkeypatch.undo()
    left = extract(images, tmp_path / "killed")
    assert 0 < left < total - 16
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_an_array_that_is_no_longer_wanted_goes(built, tmp_path, extract):
    extract(built.pixels, tmp_path)
    alone = {POOLED: extract.describe}
    places = tmp_path / "features", tmp_path / "extracted.csv"
    given = extract.describe, list(alone), built.pixels, 2
    assert extraction.build(*given, *places, engine="NumPy") == 0
    assert list(features.load(tmp_path / "features")) == [POOLED]


def test_views_are_flips_of_the_photograph(tmp_path):
    images = np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3)
    stored = written(tmp_path / "pixels", images)

    def grey(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {POOLED: batch[..., 0].reshape(len(batch), -1)}

    places = tmp_path / "f", tmp_path / "f.csv"
    extraction.build(grey, [POOLED], stored, 4, *places, engine="NumPy")
    views = features.load(tmp_path / "f")[POOLED][:].reshape(2, 4, 3, 3)
    grey = images[..., 0]
    for view, flipped in enumerate((grey, grey[:, :, ::-1], grey[:, ::-1], grey[:, ::-1, ::-1])):
        np.testing.assert_array_equal(views[:, view], flipped)
