"""`twinhead watch`: each photograph that comes is answered once, and none is lost."""

import json
import os
import shutil
import signal
import subprocess
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
import small
from conftest import SIZE, Workspace, environment
from test_hostile_images import REFUSED

from twinhead import edge, paths
from twinhead.errors import InputError
from twinhead.serving import answered, formats, photographs, watch
from twinhead.serving.answered import Answered

Answers = tuple[int, list[dict], str]


@pytest.fixture(scope="module")
def model(finished: Workspace) -> Path:
    return finished.root / paths.EDGE


@pytest.fixture
def arrival(tmp_path: Path) -> Path:
    """The folder that a camera writes to."""
    place = tmp_path / "line 3"
    place.mkdir()
    return place


@pytest.fixture
def started(model, arrival) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts `twinhead watch` on the folder, as on a small machine."""
    running: list[subprocess.Popen] = []

    def start(*options: object, **streams: object) -> subprocess.Popen:
        arguments = ("watch", arrival, "--model", model, *options)
        process = small.start(small.TWINHEAD, *arguments, folder=arrival.parent, **streams)
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line(process: subprocess.Popen) -> dict:
    """The next answer."""
    text = process.stdout.readline()
    assert text, process.stderr.read()
    return json.loads(text)


def end(process: subprocess.Popen, number: int = signal.SIGINT) -> Answers:
    process.send_signal(number)
    out, err = process.communicate()
    return process.returncode, [json.loads(text) for text in out.splitlines()], err


def drop(file: Path, arrival: Path, name: str) -> Path:
    return Path(shutil.copy(file, arrival / name))


def test_each_photograph_is_answered_when_it_comes(started, arrival, folder, model, tmp_path):
    good, odd = folder / "bolt/test/good/000.png", folder / "bolt/test/scratch/000.png"
    process = started("--heatmaps", tmp_path / "heat")
    drop(good, arrival, "a.png")
    first = line(process)
    (arrival / "later").mkdir()
    drop(odd, arrival / "later", "b.png")
    second = line(process)
    code, rest, said = end(process)
    assert code == 0 and rest == [] and "watch: 2 photographs, " in said
    lines = (tmp_path / "line 3.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(text) for text in lines] == [first, second]
    assert [first["path"], second["path"]] == ["a.png", "later/b.png"]
    answers = edge.load(model).answer([good, odd])
    for found, answer in zip((first, second), answers, strict=True):
        assert {name: found[name] for name in answer} == answer
    heat = {file.relative_to(tmp_path / "heat").as_posix() for file in tmp_path.rglob("*.heat.*")}
    assert heat == {"a.png.heat.png", "later/b.png.heat.png"}


def test_nothing_is_answered_twice_after_a_restart(started, arrival, folder):
    good = folder / "bolt/test/good/000.png"
    drop(good, arrival, "a.png")
    (arrival / "no picture.png").write_bytes(b"no picture")
    process = started("--patience", "0.2")
    assert {line(process)["path"] for _ in range(2)} == {"a.png", "no picture.png"}
    code, _, said = end(process, signal.SIGTERM)
    assert code == 0 and "no picture.png: can't be decoded" in said
    assert "watch: 1 photograph, " in said and said.endswith(", 1 could not be read\n")
    log = arrival.parent / "line 3.jsonl"
    with log.open("a") as lines:
        lines.write('{"path": "half')  # the power failed
    drop(good, arrival, "b.png")
    process = started("--patience", "0.2")
    assert line(process)["path"] == "b.png"
    drop(folder / "bolt/test/good/001.png", arrival, "a.png")  # another photograph
    assert line(process)["path"] == "a.png"
    code, rest, said = end(process)
    assert code == 0 and rest == [] and "; 2 were answered before" in said
    rows = [json.loads(text) for text in log.read_text(encoding="utf-8").splitlines()]
    assert [row["path"] for row in rows][2:] == ["b.png", "a.png"] and len(rows) == 4
    assert next(row for row in rows if "error" in row)["path"] == "no picture.png"


def test_a_photograph_that_is_cut_off_is_waited_for_then_named_and_answered_once_whole(
    started, arrival, folder
):
    whole = (folder / "bolt/test/good/000.png").read_bytes()
    (arrival / "a.png").write_bytes(whole[: len(whole) // 2])
    process = started("--patience", "0.2")
    assert "can't be decoded" in line(process)["error"]
    (arrival / "a.png").write_bytes(whole)
    assert "category" in line(process)
    assert end(process)[0] == 0


def test_what_may_still_be_written_is_not_called_unreadable(arrival, folder):
    whole = (folder / "bolt/test/good/000.png").read_bytes()
    file = arrival / "a.png"
    file.write_bytes(whole[:50])
    watched = watch.Folder(arrival, Answered(), patience=1e6)
    assert watched.ready() == []  # seen once
    ((name, arriving),) = watched.ready()
    assert watched.read(name, arriving, SIZE) is None
    assert watched.ready() == []  # it has been tried as it is
    file.write_bytes(whole)
    assert watched.ready() == []  # it has changed
    ((name, arriving),) = watched.ready()
    assert watched.read(name, arriving, SIZE).shape == (SIZE, SIZE, 3)
    watched.done(name)
    assert watched.ready() == watched.ready() == []
    os.utime(file, ns=(1, 1))
    watched.ready()
    (pair,) = watched.ready()
    file.unlink()
    assert watched.read(*pair, SIZE) is None and watched.ready() == []


def ready(watched: watch.Folder) -> list[str]:
    """What is new in two looks."""
    watched.ready()
    return [name for name, _ in watched.ready()]


def test_of_many_photographs_few_are_remembered_and_those_that_fail_make_way(arrival, monkeypatch):
    monkeypatch.setattr(watch, "WAITING", 2)
    for number in range(5):
        (arrival / f"{number}.png").write_bytes(b"")
        os.utime(arrival / f"{number}.png", ns=(number, number))

    def read(file: Path, size: int) -> str:
        if file.stem in "01":
            raise OSError  # as where a share is away
        return file.stem

    monkeypatch.setattr(watch.images, "read", read)
    watched, given = watch.Folder(arrival, Answered(), patience=0), []
    for _ in range(12):
        for name, arriving in watched.ready():
            assert len(watched._arriving) <= 2
            if (found := watched.read(name, arriving, SIZE)) is not None:
                given.append(found)
                watched.done(name)
    assert given == ["2", "3", "4"]


def test_more_unreadable_photographs_than_are_remembered_are_all_named(arrival, monkeypatch):
    monkeypatch.setattr(watch, "WAITING", 3)
    for number in range(12):
        (arrival / f"{number:02}.png").write_bytes(b"no picture")
    watched, given, until = watch.Folder(arrival, Answered(), patience=0.05), [], monotonic() + 30
    while len(given) < 12 and monotonic() < until:
        for name, arriving in watched.ready():
            if isinstance(watched.read(name, arriving, SIZE), InputError):
                given.append(name)
                watched.done(name)
    assert sorted(given) == [f"{number:02}.png" for number in range(12)]


def test_a_folder_that_cannot_be_listed_is_named_once(arrival, monkeypatch, capsys):
    def walk(folder: Path, onerror: Callable, followlinks: bool) -> Iterator:
        onerror(PermissionError(13, "Permission denied", f"{folder}/locked"))
        yield str(folder), [], []

    monkeypatch.setattr(photographs.os, "walk", walk)
    watched = watch.Folder(arrival, Answered(), patience=0)
    assert watched.ready() == watched.ready() == []
    said = capsys.readouterr().err
    assert said == f"watch: {arrival}/locked: can't be listed (Permission denied)\n"
    with pytest.raises(InputError, match="locked: can't be listed"):
        list(photographs.find([str(arrival)]))


def test_a_photograph_is_known_by_its_number_however_many_there_are(monkeypatch):
    monkeypatch.setattr(answered, "RECENT", 8)
    found, numbers = Answered(), [Answered.number(str(number)) for number in range(100)]
    for number in [*numbers, *numbers]:
        found.add(number)
    assert len(found) == 100 and all(number in found for number in numbers)
    assert Answered.number("100") not in found
    assert 0 not in found and 2**64 - 1 not in found


def test_a_share_that_was_away_is_not_answered_again(arrival, folder):
    drop(folder / "bolt/test/good/000.png", arrival, "a.png")
    watched = watch.Folder(arrival, Answered(), patience=0)
    assert ready(watched) == ["a.png"]
    watched.done("a.png")
    mounted = arrival.rename(arrival.with_name("mounted"))
    arrival.mkdir()  # the empty mount point
    assert ready(watched) == []
    arrival.rmdir()
    mounted.rename(arrival)
    assert ready(watched) == []


def test_a_name_that_is_not_utf_8_is_known_after_a_restart(arrival, tmp_path):
    name = os.fsdecode(b"\xe4.png")
    (arrival / name).write_bytes(b"no picture")
    watched = watch.Folder(arrival, Answered(), patience=0)
    watched.ready()
    ((_, arriving),) = watched.ready()
    size, changed = arriving.stamp
    row = {"path": formats.spelt(name), "bytes": size, "modified": changed, "error": "-"}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(row)}\n", encoding="utf-8")
    before = watch.Log(tmp_path / "a.jsonl").answered()
    assert ready(watch.Folder(arrival, before, patience=0)) == []


def test_one_that_changes_while_it_cannot_be_decoded_is_looked_at_anew(arrival):
    file = arrival / "a.png"
    file.write_bytes(b"no picture")
    watched = watch.Folder(arrival, Answered(), patience=0)
    watched.ready()
    ((name, arriving),) = watched.ready()
    file.write_bytes(b"no picture, longer")
    assert watched.read(name, arriving, SIZE) is None
    watched.ready()
    ((name, arriving),) = watched.ready()
    assert isinstance(watched.read(name, arriving, SIZE), InputError)


def test_names_steer_no_terminal_and_drawings_are_no_photographs(started, arrival, folder):
    good = folder / "bolt/test/good/000.png"
    for name in ("x.png.heat.png", "x.png.heat.partial.png", ".hidden.png", "notes.txt"):
        drop(good, arrival, name)
    drop(good, arrival, "\x1b[2J\x9b.png")
    process = started()
    text = process.stdout.readline()
    assert text.rstrip("\n").isprintable() and json.loads(text)["path"] == "\x1b[2J\x9b.png"
    code, rest, said = end(process)
    assert code == 0 and rest == [] and "\x1b" not in said


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="no namespaces here",
)
def test_a_full_disk_loses_nothing(arrival, folder, model, tmp_path):
    script = """
        mount -t tmpfs -o size=100k none "$1"
        head -c 200000 /dev/zero > "$1/filler" 2> "$2/filled"
        shift 2
        "$@" > "$0/seen" 2> "$0/said" &
        while ! grep -q 'waiting until there is room' "$0/said"; do sleep 0.1; done
        cp "$0/disk/a.jsonl" "$0/before"
        rm "$0/disk/filler"
        while ! [ -s "$0/seen" ]; do sleep 0.1; done
        kill -TERM $!
        wait $! || exit
        cp "$0/disk/a.jsonl" "$0/after"
    """
    (tmp_path / "disk").mkdir()
    drop(folder / "bolt/test/good/000.png", arrival, "a.png")
    log = tmp_path / "disk/a.jsonl"
    watching = small.command(small.TWINHEAD, "watch", arrival, "--model", model, "--jsonl", log)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, tmp_path, tmp_path / "disk", tmp_path, *watching],
        env=environment(PYTHONPATH=str(small.REPOSITORY / "src")),
        timeout=60,
    )
    said = (tmp_path / "said").read_text(encoding="utf-8")
    assert done.returncode == 0, said
    assert said.count("No space left on device; waiting until there is room") == 1
    assert "there is room again" in said and (tmp_path / "before").read_bytes() == b""
    assert (tmp_path / "after").read_bytes() == (tmp_path / "seen").read_bytes()
    assert json.loads((tmp_path / "after").read_text(encoding="utf-8"))["path"] == "a.png"


def test_what_cannot_be_watched_is_told_at_once(arrival, tmp_path):
    log = watch.Log(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="another `twinhead watch` writes it"):
        watch.Log(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text("a table\n")
    with pytest.raises(InputError, match="line 1 isn't an answer of `twinhead watch`"):
        log.answered()
    with pytest.raises(InputError, match="--jsonl -: the answers need a file"):
        watch.watch(Namespace(folder=arrival, jsonl=formats.STDOUT))
    code, out, err = small.run(
        small.TWINHEAD, "watch", tmp_path / "nowhere", "--model", "models/edge", folder=tmp_path
    )
    assert code == 2 and out == "" and err.startswith("watch: error: ")
    assert "is no folder; expected the one that photographs come to" in err


def test_hostile_photographs_are_named_and_the_next_one_is_answered(started, arrival, folder, case):
    for number, make in enumerate(REFUSED.values()):
        (arrival / f"{number}.png").write_bytes(make())
    process = started("--patience", "0.2")
    refused = {row["path"] for row in (line(process) for _ in REFUSED) if "error" in row}
    assert refused == {f"{number}.png" for number in range(len(REFUSED))}
    drop(folder / "bolt/test/good/000.png", arrival, "good.png")
    assert line(process)["path"] == "good.png"
    assert end(process)[0] == 0
    case("Images", "`watch` meets each of those that are refused", "named; the next is answered")
