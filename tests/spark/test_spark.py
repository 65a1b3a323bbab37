"""`twinhead spark` on two workers of Spark's own: each photograph answered once, as by predict."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import mlflow
import pandas as pd
import pyarrow.dataset
import pyarrow.fs
import pytest
from conftest import REPOSITORY, Workspace
from test_hostile_images import READ, REFUSED

from twinhead import edge, paths
from twinhead.errors import InputError
from twinhead.spark import java, places, session, worker
from twinhead.spark.target import Target

pyspark = pytest.importorskip("pyspark", reason="pip install -r requirements-spark.lock")
try:
    java.check()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

MASTER = "local-cluster[2,1,1024]"
"""Two executors, each a process with one core and 1 GiB."""
MANY = 60
"""Copies of the photographs in a folder that keeps two workers busy for a while."""
EXECUTOR = "CoarseGrainedExecutorBackend"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Spark's files; such a master keeps its executors' folders beside them."""
    folder = tmp_path_factory.mktemp("spark")
    for file in Path(pyspark.__file__).parent.iterdir():
        (folder / file.name).symlink_to(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_HOME", str(folder))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        yield folder


@pytest.fixture
def spark(finished: Workspace, home: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `twinhead spark` with the pipeline's export."""

    def start(*arguments: object, **variables: str) -> subprocess.Popen[str]:
        command = ["python", "-m", "twinhead", "spark", "--master", MASTER]
        command += ["--conf", "spark.executor.memory=1g", *map(str, arguments)]
        ours = {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
        return finished.start(*command, **ours, **variables)  # the bucket's, of this process

    return start


@pytest.fixture
def many(folder: Path, tmp_path: Path) -> Path:
    """Some 3,500 photographs."""
    root = tmp_path / "many"
    for number in range(MANY):
        shutil.copytree(folder, root / f"{number:02}", copy_function=os.link)
    return root


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """What it has said; it must have ended so."""
    said, _ = process.communicate()
    assert process.returncode == code, said
    return said.splitlines()[-1]


def rows(target: Path) -> pd.DataFrame:
    """What a TARGET holds, sorted by path."""
    schema = pyarrow.schema([("category", pyarrow.string())])
    found = pyarrow.dataset.dataset(
        str(target), partitioning=pyarrow.dataset.partitioning(schema, flavor="hive")
    )
    table = found.to_table().to_pandas().astype(object)
    whole = table.where(table.notna(), None)
    return whole.sort_values(["path", "modified"], ignore_index=True)


def photographs(root: Path) -> list[str]:
    """Their paths, without masks."""
    files = (file for file in root.rglob("*") if file.is_file() and "ground_truth" not in str(file))
    return sorted(map(str, files))


def await_first_answers(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("photographs are answered\n"):
            return
    raise AssertionError("it has ended before")


def executors(parent: int) -> list[int]:
    """The processes of the executors that a driver has started."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "pid,ppid,args"], stdout=subprocess.PIPE, text=True
    )
    lines = [line.split(None, 2) for line in listed.stdout.splitlines()[1:]]
    family, found = {str(parent)}, []
    for _ in range(9):
        for pid, ppid, arguments in lines:
            if ppid in family and pid not in family:
                family.add(pid)
                found += [int(pid)] if EXECUTOR in arguments else []
    return found


def test_the_answers_are_those_of_predict(spark, finished, folder, tmp_path):
    source = Path(shutil.copytree(folder, tmp_path / "photos"))
    for number, data in enumerate([*READ.values(), *((make(), "") for make in REFUSED.values())]):
        (source / f"odd {number:02}.png").write_bytes(data[0])
    target, heat = tmp_path / "answers", tmp_path / "heat"
    process = spark(source, target, "--heatmaps", heat, "--model", "models:/twinhead@champion")
    said = ended(process, 1)

    def predicted(*arguments: str) -> tuple[dict[str, dict], list[str]]:
        file = tmp_path / "predicted.jsonl"
        done = finished.run(
            "python", "-m", "twinhead", "predict", str(source), "--jsonl", str(file), *arguments
        )
        lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        return {line.pop("path"): line for line in lines}, done.stdout.splitlines()

    exported, refusals = predicted("--model", str(paths.EDGE), "--overlays", f"{tmp_path}/drawn")
    trained, _ = predicted()
    found = rows(target)
    assert len(found) == len(exported) + len(REFUSED) == found["path"].nunique()
    assert f"{len(REFUSED)} could not be read" in said
    for row in found.to_dict("records"):
        path = row["path"]
        if path not in exported:
            assert f"predict: {path}: {row['error']}" in refusals and row["category"] is None
            continue
        assert row["error"] is None
        assert {name: row[name] for name in exported[path]} == exported[path]
        assert row["category"] == trained[path]["category"]
        assert row["defective"] == trained[path]["defective"]
        assert row["defect_probability"] == pytest.approx(
            trained[path]["defect_probability"], abs=1e-4
        )
        drawn = tmp_path / "drawn" / f"{Path(path).relative_to(source)}.heat.png"
        assert urlopen(row["heat_map"]).read() == drawn.read_bytes()


def test_a_second_run_answers_what_is_new(spark, copied, tmp_path):
    target = tmp_path / "answers"
    ended(spark(copied, target))
    first, before = rows(target), photographs(copied)
    new, changed, touched = (
        copied / "plain/test/good" / name for name in ("n.bmp", "000.bmp", "002.bmp")
    )
    shutil.copy(copied / "bolt/test/good/000.png", new)
    changed.write_bytes((copied / "bolt/test/good/001.png").read_bytes())
    os.utime(touched, ns=(1, 1))
    said = ended(spark(copied, target))
    assert said.startswith("spark: 2 photographs, ")
    assert said.endswith(f"; {len(before) - 1} had been answered before")
    second = rows(target)
    added = second[~second["modified"].isin(first["modified"])]
    assert sorted(added["path"]) == sorted(map(str, (new, changed)))
    assert len(second) == len(first) + 2 == second.groupby(["path", "digest"]).ngroups
    said = ended(spark(copied, target, "--master", "spark://nobody:1"))  # nothing is started
    assert said == f"spark: 0 photographs, 0 defective; {len(before) + 1} had been answered before"


def test_an_executor_is_killed_in_the_middle(spark, many, tmp_path):
    process = spark(many, tmp_path / "answers", "--commit", 128)
    await_first_answers(process)
    os.kill(executors(process.pid)[0], signal.SIGKILL)
    said = ended(process)
    found = rows(tmp_path / "answers")
    assert found["path"].tolist() == photographs(many) and found["error"].isna().all()
    assert said.startswith(f"spark: {len(found)} photographs")


def test_the_driver_is_killed_and_started_again(spark, many, tmp_path):
    target = tmp_path / "answers"
    process = spark(many, target, "--commit", 128)
    await_first_answers(process)
    process.kill()
    process.wait()
    answered = len(rows(target))
    said = ended(spark(many, target, "--commit", 128))
    found = rows(target)
    assert found["path"].tolist() == photographs(many)
    assert 0 < answered < len(found) and said.endswith(f"; {answered} had been answered before")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 on the loopback, which the environment describes."""
    server = pytest.importorskip("moto.server", reason="pip install -r requirements-services.lock")
    moto = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    for name, value in {
        "ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "test",
        "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1", "EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    places._s3.cache_clear()
    system = pyarrow.fs.S3FileSystem(
        endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True
    )
    system.create_dir("line-3")
    yield "line-3"
    places._s3.cache_clear()
    moto.stop()


def test_a_bucket_is_read_and_written_as_a_folder_is(spark, finished, folder, bucket, tmp_path):
    prefix = places.place(f"s3a://{bucket}/photos")
    assert not prefix.exists()
    for file in (*(folder / "bolt").rglob("*.png"), *(folder / "größe 2/train").rglob("*.jpg")):
        prefix.put(str(file.relative_to(folder)), file.read_bytes())
    prefix.put("bolt/.hidden/000.png", b"")
    prefix.put("bad.png", b"no picture")
    own = (folder / "bolt", folder / "größe 2/train")
    expected = [
        f"s3a://{bucket}/photos/{path.relative_to(folder)}"
        for path in map(Path, photographs(folder))
        if path.is_relative_to(own[0]) or path.is_relative_to(own[1])
    ]
    arguments = f"s3a://{bucket}/photos", f"s3a://{bucket}/answers", "--heatmaps"
    ended(spark(*arguments, f"s3a://{bucket}/heat"), 1)
    held = Target(places.place(f"s3a://{bucket}/answers"))
    rows = [row for row in held._stamps() if row[1]]
    assert sorted(path for path, *_ in rows) == sorted(
        [*expected, f"s3a://{bucket}/photos/bad.png"]
    )
    names = set(held.place.names())
    assert {"_twinhead.json", "category=__HIVE_DEFAULT_PARTITION__", "category=bolt"} <= names
    assert all(name.startswith("category=") for name in names - {"_twinhead.json"})
    system, _ = prefix.arrow()
    heat = pyarrow.fs.FileSelector(f"{bucket}/heat", recursive=True)
    drawn = [one for one in system.get_file_info(heat) if one.is_file]
    assert len(drawn) == len(expected) and all(one.path.endswith(".heat.png") for one in drawn)


@pytest.fixture(scope="module")
def opened(finished: Workspace, home: Path) -> Iterator[pyspark.sql.SparkSession]:
    """A session in this process, whose workers have the export as `model` and know the registry."""
    folder = finished.root / paths.EDGE
    files = [folder / name for name in ("edge.json", "float.xml", "float.bin")]
    registry = f"sqlite:///{finished.root / 'mlflow.db'}"
    given = {"spark.executor.memory": "1g", "spark.executorEnv.MLFLOW_TRACKING_URI": registry}
    mlflow.set_tracking_uri(registry)
    with session.started(MASTER, given, files, "model") as found:
        yield found


def test_a_worker_loads_the_model_once(opened, folder):
    found = places.place(str(folder))
    files = list(found.photographs())
    work = worker.Work(found, "model", "float", None)

    def counted(part: list) -> Iterator[tuple[int, int, int]]:
        from twinhead.spark import worker

        yield os.getpid(), worker.loaded.cache_info().misses, len(list(worker.answer(work, part)))

    for _ in range(3):
        last = session.ask(opened, counted, files)
    processes = {process for process, _, _ in last}
    assert len(processes) == 2 and {misses for _, misses, _ in last} == {1}


def examples(folder: Path) -> list[str]:
    """The last two pieces of Python in docs/spark.md, for the photographs in a folder."""
    page = (REPOSITORY / "docs/spark.md").read_text(encoding="utf-8")
    found = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[-2:]
    return [code.replace('"photos"', repr(str(folder))) for code in found]


def test_the_documented_udf_and_batch_function_answer_as_the_model(
    opened, finished, folder, tmp_path
):
    source = Path(shutil.copytree(folder / "bolt/test/good", tmp_path / "photos"))
    model, known = edge.load(finished.root / paths.EDGE), {"spark": opened}
    udf, batches = examples(source)

    def check(rows: list) -> None:
        assert len(rows) == len(list(source.glob("*.png")))
        for row in map(pyspark.sql.Row.asDict, rows):
            (expected,) = model.answer([row.pop("path").removeprefix("file:")])
            assert row == {
                name: pytest.approx(value, abs=1e-4) if isinstance(value, float) else value
                for name, value in expected.items()
            }

    exec(udf, known)
    check(known["answers"].collect())
    (source / "bad.png").write_bytes(b"no picture")
    exec(udf, known)  # which lists the photographs anew
    exec(batches, known)
    found = [row.asDict() for row in known["answers"].collect()]
    (bad,) = (row for row in found if row["error"])
    assert "photograph 1 of 1: can't be decoded" in bad["error"] and bad["known"] is None
    assert len(found) == len(list(source.iterdir()))
