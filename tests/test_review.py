"""The loop: the page that asks, the table of answers, and what the data set makes of them."""

import csv
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import browser
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, SIZE, Built, photograph, save
from test_hostile_images import REFUSED

from twinhead import __main__ as commands
from twinhead import files, params, paths
from twinhead.dataset import pixels
from twinhead.errors import InputError
from twinhead.ingest import answers, decoding, layout, quality
from twinhead.partition import assignment, duplicates
from twinhead.review import held_out, improvement, queue, record

RED = ((150, 60, 50), (48, 48))
"""The colour and the size of a bolt."""


def row(digest: str, label: str = "good", **changes: str) -> dict[str, str]:
    """An answer's row."""
    given = {
        "path": "bolt/train/good/000.png", "sha256": digest, "category": "bolt", "label": label,
        "defect_type": {"good": "good", "defective": "scratch"}.get(label, ""), "who": "ann",
        "when": "2026-01-01T10:00:00+00:00", "replaces": "", "defect_probability": "0.5",
        "threshold": "0.4", "model": "0123456789ab",
    }  # fmt: skip
    return given | changes


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def answered(copied: Path, tmp_path: Path, monkeypatch) -> Callable[..., tuple]:
    """Index the copied data set with these answers, as the stage does."""
    monkeypatch.chdir(tmp_path)

    def index(*rows: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame, Built]:
        table = tmp_path / paths.ANSWERS
        table.unlink(missing_ok=True)
        for one in rows:
            record.append(one, table)
        given, found = answers.load(table), layout.scan(copied)
        listed, target = layout.add(found, given.new()), tmp_path / "built"
        target.mkdir(exist_ok=True)
        stored, masks, decoded = (target / name for name in ("pixels", "masks", "decoded.csv"))
        made = decoding.build(
            listed, copied, SIZE, stored, masks, decoded,
            left_out=given.left_out, unmasked=given.unmasked,
        )  # fmt: skip
        frame = given.apply(made.frame)
        built = Built(copied, frame, pixels.load(stored), pixels.load_masks(masks, frame), 0)
        odd = quality.collect(copied, listed, made, given.remarks(listed, frame))
        return frame, odd, built

    return index


def test_an_answer_holds_for_the_bytes_whatever_the_file_is_called(answered, copied):
    shown = copied / "bolt/train/good/003.png"
    given = row(digest_of(shown), "defective", path="bolt/train/good/003.png")
    shown.rename(shown.with_name("renamed.png"))
    frame, odd, _ = answered(given)
    (found,) = frame[frame["reviewed"] == "relabelled"].to_dict("records")
    assert found["path"] == "bolt/train/good/renamed.png" and odd.empty
    assert (found["defect_type"], found["defective"]) == ("scratch", 1)


def test_an_answer_that_agrees_changes_nothing_but_is_counted(answered, copied):
    frame, _, _ = answered(row(digest_of(copied / "bolt/train/good/003.png")))
    plain, _, _ = answered()
    assert list(frame["reviewed"][frame["reviewed"] != ""]) == ["confirmed"]
    assert frame.drop(columns="reviewed").equals(plain.drop(columns="reviewed"))


def test_a_defect_that_is_called_good_loses_its_mask(answered, copied):
    shown = "bolt/test/scratch/001.png"
    frame, _, built = answered(row(digest_of(copied / shown), path=shown))
    (number,) = frame.index[frame["path"] == shown]
    assert frame["mask"][number] == "" and number not in built.masks
    assert len(built.masks) == 7 and len(built.pixels) == len(frame)


def test_another_category_is_taken_over(answered, copied):
    frame, _, _ = answered(row(digest_of(copied / "bolt/train/good/003.png"), category="nut"))
    assert list(frame["path"][frame["category"] == "nut"]) == ["bolt/train/good/003.png"]


def test_what_is_not_usable_is_left_out_by_name(answered, copied):
    shown = "bolt/train/good/003.png"
    frame, odd, built = answered(row(digest_of(copied / shown), "unusable", path=shown))
    assert shown not in set(frame["path"]) and len(built.pixels) == len(frame)
    assert odd.to_dict("records") == [
        {"kind": "unusable image", "path": shown, "remark": "not usable, says ann"}
    ]


def new(name: str, seed: int, defective: bool, tmp_path: Path) -> tuple[Path, bytes]:
    image, _ = photograph(np.random.default_rng(seed), *RED, defective=defective)
    file = save(image, tmp_path / "line" / name)
    return file, file.read_bytes()


def test_a_new_photograph_is_taken_in_and_moves_no_other(answered, tmp_path):
    settings = params.Split(
        protocol="random", test_fraction=0.3, val_fraction=0.2, near_duplicates=0, seed=1,
        group_by="", train_defects=None,
    )  # fmt: skip
    before, _, _ = answered()
    group = duplicates.groups(before, 0)
    drawn = assignment.draw(before, group, settings)
    assignment.write(before, drawn, drawn, group, before["path"], settings, tmp_path / "splits.csv")
    rows = []
    for number in range(12):
        file, data = new(f"{number}.png", 100 + number, number % 2 == 0, tmp_path)
        copy = record.keep(data, file.name)
        label = "good" if number % 2 else "defective"
        rows.append(row(digest_of(file), label, path=copy.as_posix()))
    frame, odd, _ = answered(*rows)
    known = assignment.recall(tmp_path / "splits.csv", frame, settings)
    split = assignment.draw(frame, duplicates.groups(frame, 0), settings, known)
    own = frame["reviewed"] == "new"
    assert own.sum() == 12 and odd.empty and frame["defective"][own].sum() == 6
    assert set(split[own]) == {"train"}
    assert dict(zip(frame["path"][~own], split[~own], strict=True)) == dict(
        zip(before["path"], drawn, strict=True)
    )


def test_a_copy_never_takes_the_place_of_another(tmp_path):
    one, two = record.keep(b"one", "a.png", tmp_path), record.keep(b"two", "a.png", tmp_path)
    assert one != two and record.keep(b"one", "b/a.png", tmp_path) == one
    one.write_bytes(b"three")
    with pytest.raises(InputError, match="not the photograph that its name says"):
        record.keep(b"one", "a.png", tmp_path)
    assert one.read_bytes() == b"three"


def test_deleting_a_row_undoes_the_answer(answered, copied, tmp_path):
    given = row(digest_of(copied / "bolt/train/good/003.png"), "defective")
    frame, _, _ = answered(given)
    assert record.remove(given, tmp_path / paths.ANSWERS)
    assert not record.remove(given, tmp_path / paths.ANSWERS)
    assert answers.read(tmp_path / paths.ANSWERS).empty and (frame["reviewed"] != "").sum() == 1


@pytest.mark.parametrize("name", ["a\u2028b.png", 'a\nb "c".png', "a\x85,b.png", "a\fb.png"])
def test_an_answer_is_deleted_whatever_its_photograph_is_called(tmp_path, name):
    table = tmp_path / paths.ANSWERS
    first, wanted, last = (row(digit * 64, path=f"bolt/{digit}{name}") for digit in "123")
    for one in (first, last):
        record.append(one, table)
    before = table.read_bytes().replace(b"\n", b"\r\n", 1)  # another program's end of a line
    table.write_bytes(before)
    record.append(wanted, table)
    assert record.remove(wanted, table) and table.read_bytes() == before
    assert record.remove(first, table)
    assert answers.read(table).to_dict("records") == [last]


def test_a_later_answer_that_names_the_first_replaces_it():
    first = row("a" * 64)
    later = row("a" * 64, "defective", when="2026-01-02T10:00:00+00:00", replaces=first["when"])
    settled = answers.settle(pd.DataFrame([first, later]))
    assert list(settled.standing["label"]) == ["defective"] and settled.contradicted.empty


def git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


def test_two_reviewers_at_once_merge_without_a_conflict(tmp_path):
    table = tmp_path / paths.ANSWERS
    (tmp_path / ".gitattributes").write_bytes((REPOSITORY / ".gitattributes").read_bytes())
    record.append(row("0" * 64), table)
    git(tmp_path, "init", "--initial-branch=main")
    for branch, who in (("main", "ann"), ("bob", "bob")):
        if branch != "main":
            git(tmp_path, "switch", "-c", branch, "main~1")
        else:
            git(tmp_path, "add", ".")
            git(tmp_path, "commit", "-m", "before")
        for digit in "12":
            record.append(row(digit * 64, who=who), table)
        record.append(row("3" * 64, "good" if who == "ann" else "defective", who=who), table)
        git(tmp_path, "commit", "-am", who)
    git(tmp_path, "merge", "main")
    settled = answers.load(table)
    assert set(settled.standing.index) == {"0" * 64, "1" * 64, "2" * 64}
    assert list(settled.contradicted["who"].sort_values()) == ["ann", "bob"]


def test_many_at_once_lose_no_answer(tmp_path):
    table, rows = tmp_path / "answers.csv", [row(f"{n:064x}") for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: record.append(one, table), rows))
    assert set(answers.read(table)["sha256"]) == {one["sha256"] for one in rows}


KILLED = """
import sys, itertools
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_review import row
from twinhead.review import record
for number in itertools.count():
    record.append(row(f"{number:064x}"), Path(sys.argv[1]))
    print(number, flush=True)
"""


def test_killed_at_any_moment_every_confirmed_answer_is_there(tmp_path, case):
    table = tmp_path / "answers.csv"
    command = [sys.executable, "-c", KILLED, str(table), str(Path(__file__).parent)]
    path = {"PYTHONPATH": f"{REPOSITORY / 'src'}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | path) as run:
        assert run.stdout is not None
        confirmed = [run.stdout.readline() for _ in range(25)]
        run.send_signal(signal.SIGKILL)
        confirmed += run.stdout.readlines()
    kept = set(answers.read(table)["sha256"])
    assert {f"{int(line):064x}" for line in confirmed if line.endswith("\n")} <= kept
    record.append(row("f" * 64), table)
    case("Faults", "`review` killed (-9)", "every answer that the page confirmed is in the table")


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        answers.read(path)
    return str(error.value).removeprefix(f"{path}: ")


def test_a_table_that_cannot_be_read_is_refused_by_line(tmp_path, case):
    table = tmp_path / "answers.csv"
    record.append(row("0" * 64), table)
    whole = table.read_text(encoding="utf-8")

    def said(name: str, text: str) -> None:
        table.write_text(text, encoding="utf-8")
        found = refused(table)
        case("Data sets", f"answers: {name}", f"refused: `answers.csv: {found}`")
        with pytest.raises(InputError):
            record.append(row("1" * 64), table)
        assert table.read_text(encoding="utf-8") == text

    said("a half-written line", whole + whole.splitlines()[1][:80])
    said("a label that isn't one", whole.replace(",good,good,", ",fine,good,"))
    said("a defect without a kind", whole.replace(",good,good,", ",defective,,"))
    said("a digest that is none", whole.replace("0" * 64, "abc"))
    said("a path that leads out", whole.replace("bolt/train", "../train"))
    said("a probability that is none", whole.replace(",0.5,", ",nan,"))
    said("another table", "a,b\n1,2\n")


def test_a_last_line_without_its_end_is_an_answer_all_the_same(tmp_path):
    table = tmp_path / "answers.csv"
    record.append(row("0" * 64), table)
    table.write_text(table.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    record.append(row("1" * 64), table)
    assert len(answers.read(table)) == 2


def test_what_cannot_be_applied_is_said_by_name(answered, copied, case):
    shown = "bolt/train/good/003.png"
    digest = digest_of(copied / shown)
    _, odd, _ = answered(row("1" * 64, path="bolt/train/good/gone.png"))
    case("Data sets", "answers: an unknown path", remark(odd))
    _, odd, _ = answered(row("2" * 64, path=shown))
    case("Data sets", "answers: a photograph that changed since", remark(odd))
    frame, odd, _ = answered(
        row(digest, path=shown), row(digest, "defective", path=shown, who="bob")
    )
    assert not (frame["reviewed"] != "").any()
    case("Data sets", "answers: two that contradict", remark(odd))


def remark(odd: pd.DataFrame) -> str:
    (found,) = odd.to_dict("records")
    return (
        f"the folder's label holds; remark: `{found['kind']}: {found['path']}: {found['remark']}`"
    )


def test_a_reviewed_photograph_that_changed_is_refused(answered, tmp_path, case):
    file, data = new("0.png", 1, True, tmp_path)
    copy = record.keep(data, file.name)
    given = row(digest_of(file), "defective", path=copy.as_posix())
    copy.write_bytes(new("1.png", 2, True, tmp_path)[1])
    with pytest.raises(InputError) as error:
        answered(given)
    said = str(error.value).replace(copy.name, "x.png")
    case("Data sets", "answers: a file below data/reviewed that changed", f"refused: `{said}`")


@pytest.mark.parametrize("name", ["defect_probability", "threshold"])
@pytest.mark.parametrize("value", ["-0.1", "1.5", "inf", "much"])
def test_a_number_that_is_no_probability_is_refused(tmp_path, name, value):
    table = tmp_path / "answers.csv"
    files.write_table(pd.DataFrame([row("0" * 64, **{name: value})]), table)
    assert refused(table).startswith(f"line 2: {name} is '{value}'; expected a number from 0 to 1")
    files.write_table(pd.DataFrame([row("0" * 64, **{name: ""})]), table)
    assert len(answers.read(table)) == 1


@pytest.mark.parametrize("text", ["{}\r{}\r", "{}\n" + "x" * 140_000 + "\n"])
def test_what_is_no_table_is_refused_by_name(tmp_path, text):
    table = tmp_path / "answers.csv"
    head = ",".join(answers.COLUMNS)
    table.write_bytes(text.format(head, head).encode())
    assert refused(table).startswith("not a table of answers (")


def test_an_empty_folder_is_refused_before_the_network_is_loaded(tmp_path, monkeypatch, capsys):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["twinhead", "review", "photos", "--model", "nowhere"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 2 and "photos: no photographs in it" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["65536", "-1"])
def test_a_port_that_cannot_be_is_refused_before_the_network_is_loaded(port, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["twinhead", "review", "--port", port])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"review: error: --port is {port}; expected 0 to 65535\n"


def test_a_port_that_is_taken_is_named_before_the_network_is_loaded(monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["twinhead", "review", "--port", str(port)])
        with pytest.raises(SystemExit) as ended:
            commands.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"review: error: --port {port}: Address already in use\n"


def test_an_exported_model_is_refused_and_not_offered(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / paths.EDGE / "edge.json", tmp_path / "photos/0.png"):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"{}")
    given = ["twinhead", "review", "photos", "--model", "./models/edge"]
    for arguments, status in ((given, 2), (["twinhead", "review", "--help"], 0)):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            commands.main()
        assert ended.value.code == status
    out, err = capsys.readouterr()
    assert err == "review: error: review needs models/model.keras, not an export\n"
    assert "models/model.keras" in out and "edge" not in out


def test_the_queue_asks_first_what_contradicts_its_label():
    table = pd.DataFrame({
        "category": "bolt", "defective": [0, 0, 1, 1, np.nan, 0],
        "defect_probability": [0.01, 0.99, 0.99, 0.02, 0.9, 0.5],
        "contradicted": [False] * 5 + [True],
    })  # fmt: skip
    ordered = queue.order(table, 0.5)
    assert list(ordered.index[:4]) == [5, 1, 3, 4]
    assert list(ordered["reason"][:4]) == [
        queue.CONTRADICTION,
        queue.MISTAKE,
        queue.MISTAKE,
        queue.SUSPICIOUS,
    ]  # fmt: skip


def test_the_queue_lets_no_category_wait_for_another_s():
    table = pd.DataFrame({
        "category": ["a"] * 30 + ["b"] * 30,
        "defect_probability": [0.9] * 30 + [0.1] * 30,
    })  # fmt: skip
    first = queue.order(table, 0.5)["category"][:10]
    assert (first == "a").sum() == (first == "b").sum() == 5


@pytest.fixture(scope="module")
def network(finished):
    from twinhead.serving import predictor

    return predictor.load(finished.root / paths.MODEL)


@pytest.fixture
def sitting(finished, network, folder, tmp_path, monkeypatch):
    """Open a review of the finished workspace, or of a folder; its answers go to a new table."""
    from twinhead.review import photographs, server

    monkeypatch.chdir(finished.root)
    opened = []

    def begin(reviewed: Path | None = None, with_data: bool = True) -> server.Server:
        settings, table = params.load(), tmp_path / "answers.csv"
        known = photographs.workspace(settings) if with_data else None
        given, model = answers.read(table), held_out.digest(paths.MODEL)
        candidates = photographs.gather(network, model, known, reviewed, given)
        root = folder if with_data else None
        asked = server.Review(candidates, "ann", table, tmp_path / "reviewed", root)
        served = server.Server(asked)
        threading.Thread(target=served.serve_forever, daemon=True).start()
        opened.append(served)
        return served

    yield begin
    for served in opened:
        served.shutdown()
        served.server_close()


def ask(served, place: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    """Send a request as the page does, but for the headers given."""
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=60)
    own = {"Host": f"127.0.0.1:{served.server_port}", "Content-Type": "application/json"}
    sent = {name: text for name, text in (own | headers).items() if text}
    data = None if body is None else json.dumps(body)
    connection.request("GET" if data is None else "POST", place, data, sent)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def page(served, place: str = "") -> str:
    return f"/{served.token}/{place}"


def test_the_page_asks_about_train_and_val_and_never_about_test(sitting, finished):
    served = sitting()
    shown = set(served.review.candidates.table["path"])
    table = pd.read_csv(finished.root / paths.SPLITS)
    assert shown and not shown & set(table["path"][table["split"] == "test"])
    status, body = ask(served, page(served))
    assert status == 200 and b"<script src=" in body and b"http" not in body.split(b"state")[0]


def test_the_page_confirms_an_answer_that_the_table_has(sitting, tmp_path):
    served = sitting()
    number = int(served.review.candidates.table.index[0])
    asked = {"number": number, "label": "defective", "defect_type": "new kind"}
    status, body = ask(served, page(served, "answer"), asked)
    (found,) = answers.read(tmp_path / "answers.csv").to_dict("records")
    shown = served.review.candidates.table.loc[number]
    assert status == 200 and json.loads(body)["answered"] == 1
    assert found["sha256"] == shown["sha256"] and found["who"] == "ann"
    assert found["replaces"] == f"{shown['category']}/{shown['defect_type']}"
    assert ask(served, page(served, "undo"), {})[0] == 200
    assert answers.read(tmp_path / "answers.csv").empty
    assert ask(served, page(served, "undo"), {})[0] == 409


def test_an_answer_that_someone_deleted_is_not_undone(sitting, tmp_path):
    served = sitting()
    one, two = map(int, served.review.candidates.table.index[:2])
    for number in (one, two):
        ask(served, page(served, "answer"), {"number": number, "label": "good"})
    assert record.remove(served.review.given[-1][1], tmp_path / "answers.csv")
    status, body = ask(served, page(served, "undo"), {})
    assert status == 200 and json.loads(body)["number"] == two  # asked about again
    assert "isn't in the table any more" in json.loads(body)["warning"]
    status, body = ask(served, page(served, "undo"), {})
    assert status == 200 and json.loads(body)["number"] == one


def test_the_test_images_answers_are_kept_for_the_next_network(sitting, finished, tmp_path):
    served = sitting()
    number = int(served.review.candidates.table.index[0])
    ask(served, page(served, "answer"), {"number": number, "label": "good"})
    kept = pd.read_csv(tmp_path / "round.csv")
    said = pd.read_csv(finished.root / paths.PREDICTIONS)
    test = said[said["split"] == "test"]
    limits = test["category_predicted"].map(served.review.candidates.predictor.rules.threshold_of)
    assert np.allclose(kept["threshold"], limits)
    assert list(kept["path"]) == list(test["path"])
    assert np.allclose(kept["defect_probability"], test["defect_probability"])


def test_what_earlier_networks_said_stays_for_an_answer_that_is_undone(sitting, tmp_path):
    from twinhead.review import photographs

    served = sitting()
    number = int(served.review.candidates.table.index[0])
    ask(served, page(served, "answer"), {"number": number, "label": "good"})
    other = replace(served.review.candidates, model="f" * 12)
    photographs.snapshot(other, tmp_path / "round.csv")
    kept = pd.read_csv(tmp_path / "round.csv").groupby("model").size()
    assert len(kept) == 2 and kept.nunique() == 1


def test_pictures_come_by_number(sitting):
    served = sitting()
    assert ask(served, page(served, f"photograph/{'9' * 5000}"))[0] == 404
    number = int(served.review.candidates.table.index[0])
    for place, start in (
        (f"photograph/{number}", b"\xff\xd8"), (f"heat/{number}", b"\x89PNG"),
        (f"nearest/{number}/0", b"\xff\xd8"), (f"best/{number}/0", b"\xff\xd8"),
        (f"worst/{number}/0", b"\xff\xd8"),
    ):  # fmt: skip
        status, body = ask(served, page(served, place))
        assert status == 200 and body.startswith(start), place


def test_whoever_is_not_the_page_is_refused(sitting, tmp_path, case):
    served = sitting()
    number = int(served.review.candidates.table.index[0])
    asked = {"number": number, "label": "good"}
    strangers = {
        "a wrong token": dict(place="/wrong/answer"),
        "another origin": dict(Origin="http://example.org"),
        "another host (DNS rebinding)": dict(Host="example.org"),
        "a form of another site": {"Content-Type": "text/plain"},
        "another site's script": {"Sec-Fetch-Site": "cross-site"},
    }
    for name, sent in strangers.items():
        place = sent.pop("place", page(served, "answer"))
        status, _ = ask(served, place, asked, **sent)
        assert not (tmp_path / "answers.csv").exists()
        case("Security", f"`review` is asked by {name}", f"refused (HTTP {status})")
    assert served.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "place",
    ["photograph/../../params.yaml", "photograph/%2e%2e%2fparams.yaml", "params.yaml",
     "photograph/99999", "photograph/-1", "photograph/%C2%B2", "nearest/0/99", "../../etc/passwd"],
)  # fmt: skip
def test_nothing_else_is_served(sitting, place):
    served = sitting()
    assert ask(served, page(served, place))[0] in (403, 404)


@pytest.mark.parametrize(
    "asked",
    [{}, [], {"number": "0"}, {"number": 0, "label": "fine"}, {"number": True, "label": "good"},
     {"number": 0, "label": "defective", "defect_type": "../x"},
     {"number": 0, "label": "defective", "defect_type": "good"},
     {"number": 0, "label": "good", "category": ".."}],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_refused(sitting, asked, tmp_path):
    served = sitting()
    if isinstance(asked, dict) and asked.get("number") == 0 and asked["number"] is not True:
        asked["number"] = int(served.review.candidates.table.index[0])
    assert ask(served, page(served, "answer"), asked)[0] in (400, 404)
    assert not (tmp_path / "answers.csv").exists()


def test_a_folder_s_new_photographs_are_copied_when_they_are_answered(sitting, tmp_path):
    file, data = new("0.png", 5, True, tmp_path)
    served = sitting(tmp_path / "line")
    assert ask(served, page(served, "answer"), {"number": 0, "label": "good"})[0] == 200
    (found,) = answers.read(tmp_path / "answers.csv").to_dict("records")
    copy = tmp_path / "reviewed" / Path(found["path"]).name
    assert copy.read_bytes() == data and found["path"].startswith("data/reviewed/")
    assert file.read_bytes() == data


def test_a_folder_of_the_data_set_s_own_photographs_has_their_labels(sitting, folder):
    table = sitting(folder / "bolt/test/scratch").review.candidates.table
    assert set(table["defect_type"]) == {"scratch"} and (table["row"] >= 0).all()


def test_without_the_training_data_a_folder_is_reviewed_all_the_same(sitting, tmp_path):
    new("0.png", 5, True, tmp_path)
    served = sitting(tmp_path / "line", with_data=False)
    assert ask(served, page(served, "nearest/0/0"))[0] == 404
    assert ask(served, page(served, "heat/0"))[0] == 200
    assert ask(served, page(served, "answer"), {"number": 0, "label": "good"})[0] == 200


def test_a_page_left_open_while_the_data_changes(sitting, tmp_path, case):
    file, _ = new("0.png", 5, True, tmp_path)
    new("1.png", 6, True, tmp_path)
    served = sitting(tmp_path / "line")
    place = page(served, "answer")
    assert ask(served, place, {"number": 1, "label": "good"})[0] == 200
    file.write_bytes((tmp_path / "line/1.png").read_bytes())
    status, body = ask(served, place, {"number": 0, "label": "good"})
    assert status == 409 and len(answers.read(tmp_path / "answers.csv")) == 1
    said = json.loads(body)["error"].replace(f"{tmp_path}/", "")
    case("Data sets", "answers: a page left open while a photograph changes", f"refused: `{said}`")


def test_what_is_answered_is_not_asked_again_but_what_contradicts_is(sitting, tmp_path):
    table = sitting().review.candidates.table
    one, two = table["sha256"].iloc[1], table["sha256"].iloc[2]
    record.append(row(one), tmp_path / "answers.csv")
    for label, who in (("good", "ann"), ("defective", "bob")):
        record.append(row(two, label, who=who), tmp_path / "answers.csv")
    again = sitting().review.candidates.table
    assert one not in set(again["sha256"]) and again["sha256"].iloc[0] == two
    assert again["reason"].iloc[0] == queue.CONTRADICTION


def test_a_contradiction_about_a_photograph_of_an_earlier_review_is_asked_again(
    sitting, tmp_path, monkeypatch
):
    image, _ = photograph(np.random.default_rng(5), *RED, defective=True)
    file = save(image, tmp_path / "reviewed/0.png")
    monkeypatch.setattr(paths, "REVIEWED", file.parent)
    for label, who in (("good", "ann"), ("defective", "bob")):
        given = row(digest_of(file), label, who=who, path=file.as_posix())
        record.append(given, tmp_path / "answers.csv")
    served = sitting()
    table = served.review.candidates.table
    assert table["file"].iloc[0] == file and table["reason"].iloc[0] == queue.CONTRADICTION
    number = int(table.index[0])
    assert ask(served, page(served, f"heat/{number}"))[0] == 200
    assert ask(served, page(served, "answer"), {"number": number, "label": "good"})[0] == 200
    (settled,) = answers.load(tmp_path / "answers.csv").standing["path"]
    assert settled == file.as_posix() and len(list(file.parent.iterdir())) == 1


def test_a_kind_that_was_answered_before_is_offered_again(sitting, tmp_path):
    record.append(row("f" * 64, "defective", defect_type="rust"), tmp_path / "answers.csv")
    assert "rust" in sitting().review.state()["types"]["bolt"]


def test_an_answer_to_a_contradiction_settles_it(sitting, tmp_path):
    digest = sitting().review.candidates.table["sha256"].iloc[0]
    for label, time in (("good", "10"), ("defective", "11")):
        given = row(digest, label, when=f"2026-01-01T{time}:00:00+00:00")
        record.append(given, tmp_path / "answers.csv")
    served = sitting()
    number = int(served.review.candidates.table.index[0])
    ask(served, page(served, "answer"), {"number": number, "label": "good"})
    settled = answers.load(tmp_path / "answers.csv")
    assert settled.contradicted.empty and list(settled.standing["label"]) == ["good"]


def test_in_a_browser_by_keyboard_alone(sitting, tmp_path):
    """Good, defective with a new kind, undo, the same kind again, not usable, skip and undo.

    A skip while an answer is on its way does nothing: no photograph is lost by it.
    """
    program = browser.installed()
    if program is None:
        pytest.skip("no Chromium is installed")
    served = sitting()
    order = served.review.candidates.table
    ready = "document.getElementById('subject').getAttribute('aria-busy') === 'false'"
    with browser.Browser(program) as shown:
        for width, height, scheme in ((390, 800, "dark"), (1200, 800, "light")):
            shown.look(width, height, scheme)
            shown.open(served.address)
            shown.wait(ready)
            inside = "document.documentElement.scrollWidth <= innerWidth"
            assert shown.run(inside), f"wider than {width}"
            if width == 390:
                large = "document.getElementById('{}').clientWidth > 340"
                assert shown.run(large.format("photograph")) and not shown.run(large.format("heat"))
                shown.press("h")  # the map in the photograph's place
                shown.wait(large.format("heat"))
                assert not shown.run(large.format("photograph"))
        shown.run("press('g'); press('s')")
        shown.wait("document.getElementById('progress').textContent.startsWith('1 ')")
        shown.run("show(); press('x')")  # a photograph that isn't on the screen yet
        steps = [("d", None), ("dent", None), ("Enter", 2), ("u", 1), ("d", None), ("1", 2),
                 ("x", 3), ("s", None), ("g", 4), ("u", 3)]  # fmt: skip
        for key, answered in steps:
            shown.wait(ready)
            shown.press(key) if len(key) == 1 or key == "Enter" else shown.type(key)
            if answered is not None:
                shown.wait(
                    f"document.getElementById('progress').textContent.startsWith('{answered} ')"
                )
        assert not shown.errors()
        shown.press("q")
        shown.wait("!document.getElementById('end').hidden")
    found = answers.read(tmp_path / "answers.csv")
    assert list(found["sha256"]) == list(order["sha256"].iloc[:3])
    assert list(found["label"]) == ["good", "defective", "unusable"]
    assert found["defect_type"].iloc[1] == "dent"


def test_the_committed_table_is_empty():
    table = answers.read(REPOSITORY / paths.ANSWERS)
    with (REPOSITORY / paths.ANSWERS).open(encoding="utf-8") as file:
        assert tuple(next(csv.reader(file))) == answers.COLUMNS
    assert table.empty


def test_the_order_of_the_table_s_rows_means_nothing(tmp_path):
    rows = [row(f"{n:064x}", who=f"{n}") for n in range(5)]
    tables = [answers.settle(pd.DataFrame(given)) for given in (rows, rows[::-1])]
    assert tables[0].standing.equals(tables[1].standing)
    files.write_table(pd.DataFrame(rows), tmp_path / "answers.csv")
    assert answers.load(tmp_path / "answers.csv").standing.equals(tables[0].standing)


def told(probabilities: list[float], defective: list[int], split: str = "test") -> pd.DataFrame:
    return pd.DataFrame({
        "sha256": [f"{n:064x}" for n in range(len(defective))], "split": split, "category": "bolt",
        "defective": defective, "defect_probability": probabilities,
    })  # fmt: skip


def round_of(table: pd.DataFrame) -> pd.DataFrame:
    return table[["sha256", "defect_probability"]].assign(threshold=0.5, model="0123456789ab")


def given(*digests: str) -> pd.DataFrame:
    return answers.settle(pd.DataFrame([row(one) for one in digests])).standing.reset_index()


def test_a_round_that_helped_is_called_so():
    truth, rng = [0, 1] * 60, np.random.default_rng(0)
    before = told(list(rng.random(120)), truth)
    after = told([0.2 + 0.6 * kind for kind in truth], truth)
    found = improvement.compare(after.assign(threshold=0.5), given("f" * 64), round_of(before))
    area, misses = found.judged["test"]["auroc"], found.judged["test"]["misses"]
    assert area["after"] == 1 and 0 < area["low"] <= area["difference"] <= area["high"]
    assert misses["after"] == 0 and misses["before"] > 10 and misses["high"] < 0
    assert improvement.verdict(found).startswith("it helped")
    back = improvement.compare(before.assign(threshold=0.5), given("f" * 64), round_of(after))
    assert improvement.verdict(back).startswith("it did harm")


def test_photographs_of_one_lot_count_once():
    """Twenty of one lot that were misses and aren't: as single ones they would be sure."""
    truth = [0, 1] * 40
    before = told([0.4, 0.3] * 20 + [0.2, 0.7] * 20, truth)
    after = told([0.2, 0.7] * 40, truth)
    alone = after.assign(threshold=0.5)
    lots = alone.assign(group=[0, 1] * 20 + list(range(2, 42)))
    sure, unsure = (
        improvement.compare(table, given("f" * 64), round_of(before)) for table in (alone, lots)
    )
    assert improvement.verdict(sure).startswith("it helped")
    assert improvement.verdict(unsure).startswith("no sure difference")
    for name, low in (("misses", -20), ("false alarms", 0)):
        found, single = (x.judged["test"][name] for x in (unsure, sure))
        assert found["difference"] == single["difference"] == low
    assert unsure.judged["test"]["misses"]["high"] == 0 > sure.judged["test"]["misses"]["high"]


def test_equal_networks_differ_in_nothing():
    table = told([0.1, 0.9, 0.3, 0.8], [0, 1, 0, 1])
    found = improvement.compare(table.assign(threshold=0.5), given("f" * 64), round_of(table))
    assert found.judged["test"]["auroc"]["difference"] == 0
    assert improvement.verdict(found).startswith("no sure difference")


def test_without_a_test_image_of_both_nothing_is_said():
    table = told([0.1, 0.9], [0, 1])
    found = improvement.compare(table.assign(threshold=0.5), given("f" * 64), round_of(table[:0]))
    assert improvement.verdict(found).startswith("no test image was seen by both")


def test_only_images_that_both_have_seen_are_compared():
    table = told([0.1, 0.9, 0.3, 0.8], [0, 1, 0, 1])
    found = improvement.compare(
        table[1:].assign(threshold=0.5), given("f" * 64), round_of(table[:3])
    )
    assert (found.judged["test"]["images"], found.new_test, found.gone_test) == (2, 1, 1)


def test_answered_photographs_are_judged_by_what_was_said_before_the_answer():
    table = told([0.1], [0], split="train")
    found = improvement.compare(
        table.assign(threshold=0.3), given(f"{0:064x}"), round_of(table[:0])
    )
    alarms = found.judged["reviewed"]["false alarms"]
    assert (alarms["before"], alarms["after"], alarms["of"]) == (1, 0, 1)
    assert improvement.numbers(found)["reviewed_false_alarms_before"] == 1


def test_without_answers_there_was_no_round():
    table = told([0.1], [0])
    assert (
        improvement.compare(table.assign(threshold=0.3), given("f" * 64)[:0], round_of(table))
        is None
    )


def test_the_names_that_two_files_have_agree():
    from twinhead.model import detector, readings
    from twinhead.review import held_out

    assert (held_out.FINE, held_out.LEARNED) == (readings.FINE, readings.LEARNED)
    assert held_out.UNUSUAL == detector.UNUSUAL


@pytest.mark.filterwarnings("ignore:::PIL")
def test_hostile_photographs_are_left_out_by_name(sitting, tmp_path, case):
    new("good.png", 5, False, tmp_path)
    for number, make in enumerate(REFUSED.values()):
        (tmp_path / "line" / f"{number}.png").write_bytes(make())
    served = sitting(tmp_path / "line")
    assert len(served.review.candidates.unread) == len(REFUSED)
    assert ask(served, page(served, "photograph/0"))[0] == 200
    case("Images", "`review` meets each of those that are refused", "left out by name")
