"""Kills, full disks, little memory, locked stores, odd clocks: one line, and nothing is lost."""

import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, Workspace, begun, copied_files, forget_training, outputs
from matplotlib.figure import Figure
from test_pipeline import assert_complete, ran, runs

from twinhead import files, stage
from twinhead.plots import style

SECTION = "Faults"
TAKES = {"index": 1, "split": 1, "features": 8, "train": 8, "evaluate": 8, "embed": 7,
         "explain": 8, "export": 8, "plots": 3, "report": 3}  # fmt: skip
"""About as many seconds as each stage runs."""
HALF = re.compile("dvc.lock.*(validation failed|is invalid|corrupted)")
"""What DVC says of a lock file in whose writing it was killed."""
DAY = 86400
SAME = "; after that, the same bytes"


@pytest.fixture
def copy(finished: Workspace, killed: Future | None, tmp_path: Path) -> Workspace:
    return copied_files(finished, tmp_path / "copy")


@pytest.fixture
def copy_of_paper(paper: Workspace, tmp_path: Path) -> Workspace:
    return copied_files(paper, tmp_path / "copy")


def by_hand(copy: Workspace, *command: str, **options: str) -> subprocess.Popen[str]:
    """Start one of the stages without DVC, in a process group of its own."""
    return copy.start("python", "-u", *command, group=True, DVC_ROOT=str(copy.root), **options)


def errors(said: str) -> list[str]:
    assert "Traceback" not in said, said
    return [line for line in said.splitlines() if ": error: " in line]


def repro(workspace: Workspace, name: str = "", seconds: float = 0) -> tuple[int, str]:
    """`dvc repro report`, killed with all that it started so long after stage `name` began."""
    running, said = workspace.start("dvc", "repro", "report", group=True), ""
    for line in running.stdout:
        said += line
        if name and f"Running stage '{name}'" in line:
            time.sleep(seconds)
            os.killpg(running.pid, signal.SIGKILL)
            said += running.stdout.read()  # to its end: all of the group's processes are gone
            break
    running.wait()
    if HALF.search(said):
        # DVC writes this file in place and takes its time. In git's place: nothing is committed.
        (workspace.root / "dvc.lock").unlink()
        return repro(workspace, name, seconds)
    return running.returncode, said


KILLED = "test_in_another_folder_and_killed_in_every_stage_it_ends_as_one_never_killed"
MOMENTS = {name: random.uniform(0, seconds) for name, seconds in TAKES.items()}


def killed_in_every_stage(folder: Path, root: Path) -> tuple[Workspace, int, str]:
    other = begun(root / "another place", folder)
    for name, seconds in MOMENTS.items():
        repro(other, name, seconds)
    return other, *repro(other)


@pytest.fixture(scope="session")
def killed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Future | None]:
    """A pipeline that is killed again and again while other tests run, if its test is asked for."""
    root = tmp_path_factory.mktemp("killed")
    with ThreadPoolExecutor(1) as pool:
        asked = any(item.name == KILLED for item in request.session.items)
        yield pool.submit(killed_in_every_stage, folder, root) if asked else None


@pytest.mark.long
def test_a_lock_file_that_dvc_has_written_half_is_taken_from_git_again(workspace, case):
    before, lock = outputs(workspace), workspace.root / "dvc.lock"
    lock.write_text("")  # as DVC opens it before it writes
    refused = workspace.run("dvc", "repro", "report")
    assert refused.returncode != 0 and HALF.search(refused.stdout), refused.stdout
    workspace.git("checkout", "--quiet", "dvc.lock")
    assert ran(workspace.dvc("repro", "report")) == [] and outputs(workspace) == before
    outcome = "DVC refuses the file; after `git checkout dvc.lock` the next one works, nothing lost"
    case(SECTION, "`dvc repro` killed (-9) while DVC writes `dvc.lock`", outcome)


FULL = [(name, "full", place) for name, places in {
    "index": ["data", "metrics"], "split": ["data", "metrics"], "features": ["data"],
    "train": ["models", "reports", "metrics"], "evaluate": ["reports"], "embed": ["reports"],
    "explain": ["reports"], "export": ["models"], "plots": ["reports"], "report": ["reports"],
}.items() for place in places]  # fmt: skip
OTHERS = [("index", "read-only", "data"), ("split", "read-only", "metrics"),
          ("train", "read-only", "models"), ("index", "limit", 10_000),
          ("train", "limit", 2_000_000)]  # fmt: skip
FAULTS = {
    "full": "disk full under `{place}/` while `{name}` writes",
    "read-only": "`{place}/` is read-only for `{name}`",
    "limit": "a file of `{name}`'s outgrows the system's limit",
}


@pytest.fixture
def namespace(tmp_path: Path) -> list[str]:
    """The command that lets one mount disks that nobody else sees."""
    command = ["unshare", "--map-root-user", "--mount"]
    tried = [*command, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    try:
        done = subprocess.run(tried, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no namespaces here: {error}")
    if done.returncode:
        pytest.skip(f"no namespaces here: {done.stderr}")
    return command


@pytest.mark.long
def test_a_disk_that_takes_no_more_costs_one_line_that_names_the_output(
    paper, copy_of_paper, namespace, case
):
    copy = copy_of_paper

    tasks = sorted(FULL + OTHERS, key=lambda task: list(TAKES).index(task[0]))
    tasks += [(name, "none", "") for name in TAKES]
    room = str(Path(__file__).with_name("room.py"))
    done = copy.run(*namespace, "python", room, json.dumps(tasks), DVC_ROOT=str(copy.root))
    assert done.returncode == 0, done.stdout
    answers = json.loads((copy.root / "answers.json").read_text(encoding="utf-8"))
    for (name, kind, place), answer in zip(tasks, answers, strict=True):
        assert answer["spoilt"] == [], (name, kind, place)
        if kind == "none":
            assert answer["code"] == 0, answer["said"]
            continue
        (line,) = errors(answer["said"])
        assert answer["code"] == 1 and line.startswith(f"{name}: error: ")
        case(SECTION, FAULTS[kind].format(name=name, place=place), f"`{line}`{SAME}")
    assert outputs(copy) == outputs(paper)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


def write_model(path: Path) -> None:
    import keras

    from twinhead.model import network

    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(100)])
    network.save(model, path)


def write_text(path: Path) -> None:
    with files.whole(path) as part:
        part.write_text("<p>" * 9999, encoding="utf-8")


def write_figure(path: Path) -> None:
    with files.whole(path.parent) as folder:
        style.save(Figure(), folder / path.name)


WRITERS: dict[str, Callable[[Path], None]] = {
    "out/array.npy": lambda path: files.write_array(np.ones(9999), path),
    "out/table.csv": lambda path: files.write_table(pd.DataFrame({"a": range(9999)}), path),
    "out/metrics.json": lambda path: files.write_json({str(i): i for i in range(999)}, path),
    "out/page.html": write_text,
    "out/model.keras": write_model,
    "out/figures/figure.png": write_figure,
}


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_writes_a_file_the_error_names_it_and_the_earlier_one_stays(
    tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(parents=True)
    path.write_text("earlier")
    with pytest.raises(OSError) as raised, at_most(512):
        WRITERS[name](path)
    assert raised.value.errno == errno.EFBIG and name.startswith(raised.value.filename)
    assert path.read_text() == "earlier"
    assert [file for file in Path("out").rglob("*") if file.is_file()] == [path]


def test_an_array_has_the_bytes_that_numpy_gives_it(tmp_path):
    array = np.random.default_rng(0).random((7, 5), np.float32)
    np.save(tmp_path / "theirs.npy", array)
    files.write_array(array, tmp_path / "ours.npy")
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def test_a_file_in_the_place_of_a_folder_is_named(copy, case):
    shutil.rmtree(copy.root / "metrics")
    (copy.root / "metrics").touch()
    done = copy.run("python", "-m", "twinhead.stage", "split")
    (line,) = errors(done.stdout)
    assert done.returncode == 1
    case(SECTION, "a file where `split` needs the folder `metrics/`", f"`{line}`")


LITTLE = """
import resource, sys
from pathlib import Path
from twinhead import stage
from twinhead.ingest import decoding
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28, taken + 2**28))
sys.argv = ["twinhead.stage", "index"]
stage.main()
"""


def test_memory_that_the_images_do_not_fit_into_costs_one_line(copy, case):
    copy.set({"data": {"image_size": 2048}})
    before = outputs(copy)
    done = copy.run("python", "-c", LITTLE)
    (line,) = errors(done.stdout)
    assert done.returncode == 1 and outputs(copy) == before
    case(SECTION, "too little memory for `index`'s images", f"`{line}`")


class ResourceExhaustedError(Exception):
    """As TensorFlow calls what it raises when it gets no memory."""


def train() -> None:
    raise ResourceExhaustedError("OOM when allocating tensor\n[[{{node}}]]")


def embed() -> None:
    raise MemoryError


def test_a_stage_that_gets_no_memory_says_which_param_to_lower(case):
    for function in (train, embed):
        with pytest.raises(SystemExit) as ended:
            stage.run(function)
        name = f"too little memory in `{function.__name__}`"
        case(SECTION, name, f"`{ended.value.code}`")


@pytest.mark.parametrize(
    ("name", "there", "missing"),
    [
        ("split", [], "data/catalog.csv"),
        ("plots", [], "data/catalog.csv"),
        ("plots", ["data/catalog.csv"], "models/model.keras"),
    ],
)
def test_a_stage_without_what_it_reads_says_what_makes_it(
    tmp_path, monkeypatch, capfd, name, there, missing
):
    """In one line: the store isn't to blame."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "_heavy", False)  # put back after it
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    (tmp_path / "metrics").mkdir()
    shutil.copy(REPOSITORY / "metrics/index.json", tmp_path / "metrics")  # git has it
    for file in map(Path, there):
        file.parent.mkdir()
        file.touch()
    with pytest.raises(SystemExit) as ended:
        stage.run(stage.load(name))
    assert ended.value.code == (
        f"{name}: error: {missing}: No such file or directory;"
        " run `dvc repro` or `dvc checkout` first"
    )
    assert capfd.readouterr() == ("", "")


def test_a_defect_of_our_own_shows_its_traceback():
    def index() -> None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        stage.run(index)


@pytest.mark.long
def test_a_locked_store_costs_no_result_and_gets_the_run_later(finished, copy, case):
    store = sqlite3.connect(copy.root / "mlflow.db", isolation_level=None)
    store.execute("DELETE FROM tags WHERE key = 'twinhead.report'")
    store.execute("BEGIN EXCLUSIVE")
    reporting = by_hand(copy, "-m", "twinhead.stage", "report")
    said, _ = reporting.communicate()
    assert reporting.returncode == 0 and errors(said) == [], said
    assert len([line for line in said.splitlines() if "can't be used" in line]) == 1, said
    assert outputs(copy) == outputs(finished)
    store.rollback()
    store.close()
    tracking = by_hand(copy, "-m", "twinhead", "track")
    said, _ = tracking.communicate()
    assert tracking.returncode == 0, said
    run, *others = runs(copy)  # the copy is a workspace of its own, with the store of the first
    assert run.data.tags["twinhead.repeats"] in {other.info.run_id for other in others}
    assert run.info.status == "FINISHED" and "twinhead.report" in run.data.tags
    outcome = "the stage says so once and ends well some seconds later; `make track` sends the rest"
    case(SECTION, "MLflow's store is locked by another program", outcome)


@pytest.mark.long
def test_a_store_killed_while_it_is_made_is_made_anew(copy, case):
    """MLflow makes dozens of tables one by one, and couldn't go on where it was stopped."""
    file = copy.root / "mlflow.db"
    file.unlink()
    tracking = by_hand(copy, "-m", "twinhead", "track")
    part = copy.root / "mlflow.partial.db"
    while tracking.poll() is None and not part.exists():
        time.sleep(0.01)
    time.sleep(random.uniform(0, 2))
    os.killpg(tracking.pid, signal.SIGKILL)
    tracking.communicate()
    again = by_hand(copy, "-m", "twinhead", "track")
    said, _ = again.communicate()
    assert again.returncode == 0, said
    (run,) = runs(copy)
    assert run.info.status == "FINISHED"
    case(SECTION, "killed (-9) while MLflow's store is made", "the next command makes it anew")


@pytest.mark.long
def test_two_repros_at_once_end_as_one(finished, folder, tmp_path, case):
    other = begun(tmp_path / "two", folder)
    first = other.start("dvc", "repro", "split", group=True)
    for line in first.stdout:
        if "Running stage 'index'" in line:
            break
    os.killpg(first.pid, signal.SIGSTOP)  # it holds what it has
    try:
        second = other.run("dvc", "repro", "split")
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    said, _ = first.communicate()
    assert first.returncode == 0, said
    assert second.returncode != 0 and "Traceback" not in second.stdout
    assert "is busy, it is being blocked by" in second.stdout or "lock" in second.stdout
    names = [name for name in outputs(finished) if name.startswith(("data/splits", "data/pixels/"))]
    for name in names:
        assert (other.root / name).read_bytes() == (finished.root / name).read_bytes()
    outcome = "DVC refuses the second and names the process at work; the first ends well"
    case(SECTION, "two `dvc repro` at once", outcome)


CLOCK = f"""
import itertools, time
real, jumps = time.time, itertools.cycle([0, 3, -2, 400, -800])
time.time = lambda: real() + {DAY} * next(jumps)
time.time_ns = lambda: int(time.time() * 1e9)
"""


@pytest.mark.long
def test_a_clock_that_jumps_by_days_changes_no_byte(paper, copy_of_paper, tmp_path, case):
    copy = copy_of_paper
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    room = Path(__file__).parent
    code = f"import sys; sys.path.insert(0, {str(room)!r}); import room; sys.path[0] = 'src'\n"
    code += "print([room.run(name) for name in ('train', 'report')])"
    path = os.pathsep.join(["src", str(tmp_path)])
    forget_training(copy)
    done = by_hand(copy, "-c", code, PYTHONPATH=path)
    said, _ = done.communicate()
    assert done.returncode == 0 and said.count(": done in") == 2, said
    assert outputs(copy) == outputs(paper)
    case(SECTION, "the clock jumps by days, back and forth", "the same bytes")


@pytest.mark.long
def test_files_from_the_future_and_the_past_change_nothing(workspace, case):
    before = outputs(workspace)
    for number, name in enumerate(sorted(before)):
        when = time.time() + (1000 if number % 2 else -10000) * DAY
        os.utime(workspace.root / name, (when, when))
    assert ran(workspace.dvc("repro", "report")) == []
    assert ran(workspace.dvc("repro", "--force", "--single-item", "split")) == ["split"]
    assert outputs(workspace) == before
    case(SECTION, "files from the future and the past", "nothing runs; forced, the same bytes")


@pytest.mark.long
def test_ctrl_c_ends_a_stage_at_once_and_marks_its_run_as_killed(copy, case):
    before = outputs(copy)
    store = sqlite3.connect(copy.root / "mlflow.db", timeout=20)
    running = "SELECT count(*) FROM runs WHERE (status, lifecycle_stage) = ('RUNNING', 'active')"
    killed = "SELECT value FROM runs JOIN tags USING (run_uuid) WHERE status = 'KILLED'"
    # Another one each time: it takes seconds until each is at work.
    for name in ("train", random.choice(["evaluate", "embed", "explain", "report"])):
        begun = by_hand(copy, "-m", "twinhead.stage", name)
        while begun.poll() is None and not store.execute(running).fetchone()[0]:
            time.sleep(0.02)
        time.sleep(random.uniform(0.2, 0.5))
        assert interrupted(begun).splitlines()[-1] == f"{name}: interrupted"
        assert (f"{name}: interrupted",) in store.execute(killed).fetchall()
    assert outputs(copy) == before
    outcome = "one line, exit code 130 within 10 seconds, its run KILLED; nothing is lost"
    case(SECTION, "Ctrl-C in train, evaluate, embed, explain or report", outcome)


def interrupted(running: subprocess.Popen[str]) -> str:
    """Press Ctrl-C; return what was said by the end of the process."""
    os.killpg(running.pid, signal.SIGINT)
    started = time.monotonic()
    said, _ = running.communicate()
    assert time.monotonic() - started < 10, "2 seconds, on a machine that does nothing else"
    assert running.returncode == stage.INTERRUPTED and "Traceback" not in said, said
    return said


def test_ctrl_c_ends_what_has_no_run_at_once(copy, case):
    """Three of them somewhere in what they import, and `index` among many images."""
    before = outputs(copy)
    for name in ("features", "train", "evaluate"):
        begun = by_hand(copy, "-m", "twinhead.stage", name)
        time.sleep(random.uniform(0.2, 0.5))
        assert interrupted(begun) == f"{name}: interrupted\n"
    copy.set({"data": {"image_size": 2048}})
    known = set((copy.root / "data/pixels").iterdir())
    begun = by_hand(copy, "-m", "twinhead.stage", "index")
    while begun.poll() is None and set((copy.root / "data/pixels").iterdir()) == known:
        time.sleep(0.01)
    assert interrupted(begun) == "index: interrupted\n" and outputs(copy) == before
    assert not list((copy.root / "data").rglob("*partial*"))
    outcome = "one line, exit code 130 within 10 seconds; nothing is lost"
    case(SECTION, "Ctrl-C in index, or while another stage loads", outcome)


@pytest.mark.long
def test_in_another_folder_and_killed_in_every_stage_it_ends_as_one_never_killed(
    finished, killed, case
):
    other, code, said = killed.result()
    moments = MOMENTS
    assert code == 0, f"killed at {moments}: {said}"
    assert outputs(other) == outputs(finished), f"killed at {moments}"
    locks = [(place.root / "dvc.lock").read_text(encoding="utf-8") for place in (other, finished)]
    assert locks[0] == locks[1], f"killed at {moments}"
    (run,) = runs(other)
    assert_complete(other, run)
    outcome = "the next one ends with the bytes of one never killed, and with one complete run"
    case(SECTION, "`dvc repro` killed (-9) at a random moment of every stage", outcome)
