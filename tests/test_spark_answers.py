"""What `twinhead spark` needs no Spark for: a Java, the places, the Parquet files of answers."""

import errno
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest

from twinhead import __main__ as commands
from twinhead.errors import InputError
from twinhead.spark import java, places, session
from twinhead.spark import target as targets
from twinhead.spark.target import Target, schema

MODEL = {"model": "a digest", "precision": "float"}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(places.place(str(tmp_path / "answers")))


def row(path: str, digest: str | None = "d", modified: int = 1, **more: object) -> dict:
    return {"path": path, "digest": digest, "bytes": 9, "modified": modified, "error": None} | more


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "there is none in PATH, and JAVA_HOME names none"),
        ("echo 'openjdk version \"11.0.2\"' >&2", "is Java 11"),
        ("echo 'java version \"1.8.0_9\"' >&2", "is Java 8"),
        ("echo nothing >&2", "doesn't say its version"),
        (
            "case $1 in -version) echo 'openjdk version \"21\"' >&2;; *) exit 1;; esac",
            "lacks the module jdk.incubator.vector",
        ),
    ],
)
def test_the_lack_of_a_java_is_said(tmp_path, monkeypatch, script, said):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        (tmp_path / "java").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "java").chmod(0o755)
    with pytest.raises(InputError, match="Spark needs a Java, 17 or newer") as caught:
        java.check()
    assert str(caught.value).endswith(said) and "\n" not in str(caught.value)


def test_without_pyspark_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setattr(sys, "argv", ["twinhead", "spark", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 2 and not (tmp_path / "out").exists()
    told = "spark: error: pyspark isn't installed: in a clone of Twinhead, pip install '.[spark]'\n"
    assert capsys.readouterr().err == told


def test_rows_lie_by_category_and_are_read_again(target):
    names = ["a/b=c", "größe 2", "100%"]
    rows = [row(f"/{name}", category=name, defective=True) for name in names]
    with target.taken(MODEL):
        target.commit([*rows, row("/bad", None, error="can't be read (gone)")])
    folders = {file.parent.name for file in Path(target.place.root).rglob("*.parquet")}
    assert folders == {"category=a%2Fb%3Dc", "category=größe 2", "category=100%25",
                       "category=__HIVE_DEFAULT_PARTITION__"}  # fmt: skip
    found = pyarrow.dataset.dataset(target.place.root, partitioning="hive").to_table().to_pylist()
    assert {one["path"]: one["category"] for one in found} == {f"/{n}": n for n in names} | {
        "/bad": None
    }
    assert all(set(schema().names) < set(one) for one in found)


def test_a_file_is_known_by_its_size_and_time_and_by_its_content(target):
    with target.taken(MODEL):
        target.commit([row("/a", "d"), row("/gone", None)], [row("/a", "d", modified=2)])
        known = target.known()
    a, b, c = (places.File("/a", 9, modified) for modified in (1, 2, 3))
    assert [known.answered(file) for file in (a, b, c)] == [True, True, False]
    assert [known.changed(file) for file in (a, b, c)] == [False, False, True]
    assert known.same("/a", "d") and not known.same("/a", "e") and not known.same("/b", "d")
    gone = places.File("/gone", 9, 1)  # tried again by the next run, and no second row
    assert not known.answered(gone) and not known.changed(gone) and known.same("/gone", None)


def test_each_of_many_files_is_known(target):
    paths = [f"/{number}" for number in range(3000)]
    with target.taken(MODEL):
        target.commit([row(path, category="x") for path in paths])
        known = target.known()
    assert all(known.answered(places.File(path, 9, 1)) for path in paths)
    assert not any(known.same(path, "e") for path in paths)


def test_a_half_written_file_is_no_answer(target):
    with target.taken(MODEL):
        target.commit([row("/a", category="x")])
        unfinished = Path(target.place.root, places.UNFINISHED, "1 part.parquet")
        unfinished.write_bytes(b"PAR1")
    with target.taken(MODEL):
        assert not unfinished.exists() and target.known().same("/a", "d")


def test_a_target_is_of_one_model_and_of_one_run(target):
    def take(model: dict[str, str]) -> None:
        with target.taken(model):
            pass

    with target.taken(MODEL), pytest.raises(InputError, match="another run is writing there"):
        take(MODEL)
    with pytest.raises(InputError, match="has the answers of another model"):
        take(MODEL | {"precision": "int8"})
    Path(target.place.root, "_twinhead.json").unlink()
    Path(target.place.root, "notes.txt").touch()
    with pytest.raises(InputError, match="holds something else"):
        take(MODEL)


def test_a_broken_file_in_the_target_is_named(target):
    with target.taken(MODEL):
        target.commit([row("/a", category="x")])
        (file,) = Path(target.place.root).rglob("*.parquet")
        file.write_bytes(b"no Parquet file")
        with pytest.raises(InputError, match=rf"{file.name}: not a file of answers"):
            target.known()


def test_what_two_processes_write_at_one_time_is_whole(tmp_path):
    place = places.place(str(tmp_path))
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=place.put, args=("a/b.png", bytes(10**6))) for _ in "12"]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
        assert one.exitcode == 0
    assert (tmp_path / "a/b.png").read_bytes() == bytes(10**6)


@pytest.mark.parametrize("name", ["s3a://", "hdfs://host/photos"])
def test_a_place_of_another_kind_is_refused(name):
    with pytest.raises(InputError, match=name):
        places.place(name)


def test_the_cause_of_an_error_is_told_in_one_line():
    told = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collect.
: org.apache.spark.SparkException: Job aborted: Lost task 1.0:\
 org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 1, in main
twinhead.errors.InputError: model/float.bin is missing; copy the whole folder

	at org.apache.spark.api.python.BasePythonRunner
"""
    assert session.cause(Exception(told)) == "model/float.bin is missing; copy the whole folder"
    assert session.cause(Exception(told.replace("twinhead.errors.InputError", "OSError"))) == (
        "OSError: model/float.bin is missing; copy the whole folder"
    )
    assert session.cause(Exception("at a loss\nand more")) == "at a loss"


def test_a_folder_that_cannot_be_listed_is_refused_by_name(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").touch()
    scandir = os.scandir

    def shut(path: str) -> Any:
        if str(path).endswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", shut)
    with pytest.raises(InputError, match=r"b: can't be listed \(Permission denied\)"):
        list(places.place(str(tmp_path)).photographs())


def test_what_cannot_be_written_leaves_no_part(tmp_path):
    place = places.place(str(tmp_path))
    with pytest.raises(OSError, match="too long"):
        place.put("x" * 300, b"png")
    assert not list((tmp_path / places.UNFINISHED).iterdir())


def test_a_run_that_begins_meanwhile_with_another_model_is_not_mixed_in(target, monkeypatch):
    lock, other = targets._lock, MODEL | {"precision": "int8"}

    @contextmanager
    def late(place: places.Place) -> Iterator[None]:
        target.place.put(targets.BEGUN, json.dumps(other).encode())
        with lock(place):
            yield

    monkeypatch.setattr(targets, "_lock", late)
    with pytest.raises(InputError, match="another model"), target.taken(MODEL):
        pass
    assert json.loads(target.place.take(targets.BEGUN)) == other
