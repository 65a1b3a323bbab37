"""Outputs appear whole or not at all."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from twinhead import files
from twinhead.errors import InputError


def test_a_file_appears_when_all_of_it_is_written(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with files.whole(path) as part:
        part.write_text("a")
        assert not path.exists() and part.suffix == ".csv"
    assert path.read_text() == "a" and list(path.parent.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_old_one_with_nothing_of_it_left(tmp_path):
    path = tmp_path / "plots"
    path.mkdir()
    (path / "old.png").touch()
    with files.whole(path) as part:
        part.mkdir()
        (part / "new.png").touch()
        assert (path / "old.png").exists()
    assert [file.name for file in path.iterdir()] == ["new.png"]


@pytest.mark.parametrize("make", ["touch", "mkdir"])
def test_a_failure_leaves_what_was_there_and_nothing_of_its_own(tmp_path, make):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.whole(path) as part:
        getattr(part, make)()
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_command_left_is_swept_away(tmp_path):
    left = tmp_path / "plots.partial"
    left.mkdir()
    (left / "half.png").touch()
    with files.whole(tmp_path / "plots") as part:
        part.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["plots"]


def test_a_new_array_has_its_room_on_the_disk(tmp_path):
    array = files.new_array(tmp_path / "a.npy", np.float32, (300, 1000))
    assert (array.shape, array.dtype) == ((300, 1000), np.float32)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= array.nbytes


def test_a_new_array_has_its_room_also_where_the_system_cannot_allocate(tmp_path, monkeypatch):
    """As on macOS and Windows."""
    monkeypatch.delattr(files.os, "posix_fallocate")
    monkeypatch.setattr(files, "BLOCK", 1000)
    array = files.new_array(tmp_path / "a.npy", np.float32, (30, 100))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= array.nbytes
    array[...] = 7
    array.flush()
    assert (np.load(tmp_path / "a.npy") == 7).all()
    assert files.new_array(tmp_path / "empty.npy", bool, (0, 8, 8)).shape == (0, 8, 8)


def test_an_empty_array_is_an_array(tmp_path):
    assert files.new_array(tmp_path / "a.npy", bool, (0, 8, 8)).shape == (0, 8, 8)
    assert np.load(tmp_path / "a.npy", mmap_mode="r").shape == (0, 8, 8)


def test_no_two_threads_parse_a_header_at_once(tmp_path, monkeypatch):
    files.write_array(np.arange(3), tmp_path / "a.npy")
    alone, load = threading.Lock(), np.load

    def slow(*args, **kwargs):
        assert alone.acquire(blocking=False), "another thread is within"
        time.sleep(0.01)
        try:
            return load(*args, **kwargs)
        finally:
            alone.release()

    monkeypatch.setattr(np, "load", slow)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(files.load_array, [tmp_path / "a.npy"] * 8):
            assert list(found) == [0, 1, 2]


def test_metrics_have_nine_digits_and_no_number_that_json_lacks(tmp_path):
    files.write_json({"a": {"b": 1 / 3}, "n": None, "i": 7}, tmp_path / "m.json")
    written = json.loads((tmp_path / "m.json").read_text())
    assert written == {"a": {"b": 0.333333333}, "n": None, "i": 7}
    with pytest.raises(ValueError):
        files.write_json({"a": float("nan")}, tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text()) == written


def test_what_is_no_json_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"metrics.json is missing; run `dvc repro`"):
        files.read_json(tmp_path / "metrics.json")
    (tmp_path / "metrics.json").write_text('{\n<<<<<<< HEAD\n"auroc": 1\n}')
    with pytest.raises(InputError, match=r"metrics.json: not JSON \(git's conflict markers"):
        files.read_json(tmp_path / "metrics.json")
    (tmp_path / "metrics.json").write_text('{\n"auroc" 1\n}')
    with pytest.raises(InputError, match=r"metrics.json: not JSON \(.* line 2 column 9"):
        files.read_json(tmp_path / "metrics.json")
