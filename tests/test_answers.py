"""Answers on paper: what a person reads, and what a program reads."""

import csv
import json
from pathlib import Path

import pytest

from twinhead.errors import InputError
from twinhead.serving import formats

BOTH = ["category", "category_probability", "defect_probability", "defective", "known"]
ROWS = [
    {"path": "a.png", "category": "bolt", "category_probability": 0.99,
     "defect_probability": 0.875, "defective": True, "known": True},
    {"path": "größe, 2.png", "category": "nut", "category_probability": 0.5,
     "defect_probability": 0.0625, "defective": False, "known": False},
]  # fmt: skip


def test_the_table_has_a_line_for_each_photograph_under_a_heading():
    table = formats.Table([row["path"] for row in ROWS], BOTH, ["bolt", "nut"])
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
    assert words == {(True, True): "DEFECTIVE", (True, False): "DEFECTIVE",
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
    table = formats.Table([row["path"] for row in ROWS], columns, ["bolt", "nut"])
    assert table.heading() == heading and table.line(ROWS[0]) == line


def test_csv_and_json_hold_the_same_answers(tmp_path):
    formats.write_csv(ROWS, BOTH, tmp_path / "a.csv")
    formats.write_json(ROWS, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == ROWS
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert read == [{name: str(value) for name, value in row.items()} for row in ROWS]


def test_without_any_answer_the_columns_still_stand(tmp_path, capsys):
    formats.write_csv([], ["defect_probability", "defective"], formats.STDOUT)
    assert capsys.readouterr().out == "path,defect_probability,defective\n"


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        formats.check(tmp_path)
    with pytest.raises(InputError, match="a folder that doesn't exist"):
        formats.check(tmp_path / "nowhere/a.csv")
    formats.check(tmp_path / "a.csv")


def test_a_name_that_is_not_utf_8_can_be_printed():
    assert formats.printable(Path("a\udce4.png")) == "a\\xe4.png"
