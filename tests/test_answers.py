"""Answers on paper: what a person reads, and what a program reads."""

import csv
import json
import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from conftest import save

from twinhead.edge import Runtime
from twinhead.errors import InputError
from twinhead.export import decisions, manifest
from twinhead.export.decisions import Rules
from twinhead.serving import formats, models, predict

BOTH = ["category", "category_probability", "defect_probability", "defective", "known"]
ROWS = [
    {"path": "a.png", "category": "bolt", "category_probability": 0.99,
     "defect_probability": 0.875, "defective": True, "known": True},
    {"path": "größe, 2.png", "category": "nut", "category_probability": 0.5,
     "defect_probability": 0.0625, "defective": False, "known": False},
]  # fmt: skip


def test_the_table_has_a_line_for_each_photograph_under_a_heading():
    table = formats.Table(12, BOTH, ["bolt", "nut"])
    assert table.heading() == "photograph    category          defect"
    assert table.line(ROWS[0]) == "a.png         bolt       99.0%   87.5%  DEFECTIVE"
    assert table.line(ROWS[1]) == "größe, 2.png  nut        50.0%    6.2%  UNKNOWN"
    assert table.line(ROWS[1] | {"known": True}).endswith("  good")


def test_what_is_unknown_is_never_called_good_and_a_defect_stays_one():
    words = {
        (defective, known): formats.verdict({"defective": defective, "known": known})
        for defective in (True, False)
        for known in (True, False)
    }
    assert words == {(True, True): "DEFECTIVE", (True, False): "DEFECTIVE, UNKNOWN",
                     (False, True): "good", (False, False): "UNKNOWN"}  # fmt: skip
    assert formats.verdict({"defective": False}) == "good"  # the paper's network knows no better


@pytest.mark.parametrize(
    ("columns", "heading", "line"),
    [
        (BOTH[:2], "photograph    category", "a.png         bolt       99.0%"),
        (BOTH[2:], "photograph    defect", "a.png          87.5%  DEFECTIVE"),
    ],
)
def test_a_single_head_has_its_own_columns_alone(columns, heading, line):
    table = formats.Table(12, columns, ["bolt", "nut"])
    assert table.heading() == heading and table.line(ROWS[0]) == line


def write(file: Path, form: formats.Form, rows: list[dict], resume: bool = False) -> formats.Lines:
    lines = formats.Lines(file, form, resume)
    for row in rows:
        lines.write(row)
    lines.close()
    return lines


def test_csv_json_and_json_lines_hold_the_same_answers(tmp_path):
    write(tmp_path / "a.csv", formats.Csv(BOTH), ROWS)
    write(tmp_path / "a.jsonl", formats.JsonLines(), ROWS)
    with formats.json_array(tmp_path / "a.json") as array:
        for row in ROWS:
            array(row)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == ROWS
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert read == [{name: str(value) for name, value in row.items()} for row in ROWS]


def test_without_any_answer_the_columns_still_stand(tmp_path, capsys):
    write(formats.STDOUT, formats.Csv(["defect_probability", "defective"]), [])
    assert capsys.readouterr().out == "path,defect_probability,defective\n"
    with formats.json_array(formats.STDOUT):
        pass
    assert capsys.readouterr().out == "[]\n"


def test_a_json_file_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(InputError), formats.json_array(tmp_path / "a.json") as array:
        array(ROWS[0])
        raise InputError("the model has gone")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [formats.Csv(BOTH), formats.JsonLines()])
def test_a_file_that_is_gone_on_with_loses_its_half_line_and_repeats_none(tmp_path, form):
    file, whole = tmp_path / "a", tmp_path / "whole"
    odd = {**ROWS[0], "path": "=odd\n\x1b.png"}
    write(whole, form, [odd, *ROWS])
    write(file, form, [odd, ROWS[0]])
    os.truncate(file, file.stat().st_size - 3)  # killed within a line
    lines = write(file, form, [odd, *ROWS], resume=True)
    assert len(lines) == 1 and lines.defective == 1
    assert odd["path"] in lines and ROWS[0]["path"] not in lines
    assert file.read_bytes() == whole.read_bytes()
    write(tmp_path / "new", form, [odd, *ROWS], resume=True)
    assert (tmp_path / "new").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("path,defective\n", formats.Csv(BOTH), "has other columns"),
        (formats.Csv(BOTH).heading + "\na\n", formats.Csv(BOTH), "line 2 isn't an answer"),
        ("{}\n", formats.JsonLines(), "line 1 isn't an answer"),
        ("[]\n", formats.JsonLines(), "line 1 isn't an answer"),
    ],
)
def test_a_file_of_something_else_is_not_gone_on_with(tmp_path, text, form, said):
    (tmp_path / "a").write_text(text)
    with pytest.raises(InputError, match=said):
        formats.Lines(tmp_path / "a", form, resume=True)
    assert (tmp_path / "a").read_text() == text


def test_names_steer_no_terminal():
    answer = {**ROWS[0], "path": "\x1b[2J\u202e\x9b\n.png", "category": "\x1b]0;x\x07"}
    table = formats.Table(40, BOTH, [answer["category"]])
    csv_line = formats.Csv(BOTH).line(answer)
    json_line = formats.JsonLines().line(answer)
    for line in (table.line(answer), csv_line, json_line):
        assert line.isprintable()
    assert r"\x1b[2J\u202e\x9b\n.png" in csv_line
    assert json.loads(json_line) == answer


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)"])
def test_no_cell_is_a_formula(name):
    answer = {**ROWS[0], "path": name, "category": name}
    (cells,) = csv.reader([formats.Csv(BOTH).line(answer)])
    assert cells[:2] == [f"./{name}", f"'{name}"]


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        formats.check(tmp_path)
    with pytest.raises(InputError, match="a folder that doesn't exist"):
        formats.check(tmp_path / "nowhere/a.csv")
    formats.check(tmp_path / "a.csv")


def options(paths: list, **given: object) -> Namespace:
    """As the command line of `twinhead predict` gives them."""
    base = dict.fromkeys(("csv", "json", "jsonl", "overlays", "threshold", "resume", "check"))
    return Namespace(paths=list(map(str, paths)), **base | {"model": "nowhere"} | given)


def test_outputs_that_would_spoil_each_other_are_refused(tmp_path):
    file = tmp_path / "a"
    with pytest.raises(InputError, match="a is named for two outputs"):
        predict.predict(options([], csv=file, jsonl=tmp_path / "." / "a"))
    with pytest.raises(InputError, match="--resume and --threshold"):
        predict.predict(options([], csv=file, resume=True, threshold=0.3))
    assert not file.exists()


class Grey:
    """In a network's place: what is bright is a defect, and its own heat map."""

    names = ("defect", "anomaly_map")

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        heat = images.mean(axis=3, dtype=np.float32) / 255
        return {"defect": heat.max(axis=(1, 2))[:, None], "anomaly_map": heat}


def test_an_answer_stands_also_where_its_heat_map_cannot_be_drawn(tmp_path, monkeypatch, capsys):
    known = manifest.Manifest(1, [], Rules(0.5), 1.0, 4, 1, {}, {}, "of no file")
    monkeypatch.setattr(models, "_load", lambda place: Runtime(Grey(), known, manifest.FLOAT))
    for name in ("a.png", "b.png"):
        save(np.full((6, 8, 3), 200, np.uint8), tmp_path / "new" / name)
    heat, answers = tmp_path / "heat", tmp_path / "a.jsonl"
    given = options([tmp_path / "new"], jsonl=answers, overlays=heat)
    assert predict.predict(given) == predict.ALL_READ
    assert sorted(file.name for file in heat.iterdir()) == ["a.png.heat.png", "b.png.heat.png"]
    blocked = options([tmp_path / "new"], jsonl=answers, overlays=tmp_path / "new/a.png")
    capsys.readouterr()
    assert predict.predict(blocked) == predict.UNREADABLE
    rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png"]
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3 and "a.png.heat.png: can't be written" in err
    assert "2 photographs, 2 defective, 2 heat maps could not be drawn" in err


def test_a_threshold_that_is_given_asks_for_no_person():
    rules = Rules(0.5, review={"low": 0.2, "high": 0.8, "by_category": {}})
    given = {"defect": np.array([[0.6]])}
    assert decisions.read(given, [], rules)[0]["review"] is True
    assert decisions.read(given, [], rules, 0.3)[0]["review"] is False


def test_a_name_that_is_not_utf_8_can_be_printed():
    assert formats.printable(Path("a\udce4.png")) == "a\\xe4.png"
