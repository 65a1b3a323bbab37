"""The command line: what it prints, what it writes, how it ends."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPOSITORY, apart, environment
from PIL import Image

from twinhead import __main__ as commands
from twinhead import paths


@pytest.fixture(scope="module")
def load() -> Callable:
    """Loads each network once: that takes seconds."""
    from twinhead.serving import predictor

    load, loaded = predictor.load, {}

    def once(place: Path) -> predictor.Predictor:
        if not place.is_file():
            return load(place)
        content = place.read_bytes()
        if content not in loaded:
            loaded[content] = load(place)
        return loaded[content]

    return once


@pytest.fixture
def predict(finished, monkeypatch, capfd, load):
    """Run `twinhead predict` in the finished workspace: its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(finished.root)
        monkeypatch.setattr(sys, "argv", ["twinhead", "predict", *map(str, arguments)])
        monkeypatch.setattr("twinhead.serving.predictor.load", load)
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return ended.value.code, *capfd.readouterr()

    return run


def test_a_table_on_the_terminal(predict, folder):
    code, out, err = predict(folder / "bolt/test")
    heading, *lines = out.splitlines()
    assert code == 0 and heading.split() == ["photograph", "category", "defect"]
    assert len(lines) == 12 and lines[0].startswith(f"{folder}/bolt/test/big hole/000.png  bolt")
    verdicts = [line.split("%  ")[-1] for line in lines]
    assert set(verdicts) <= {"good", "DEFECTIVE", "UNKNOWN", "DEFECTIVE, UNKNOWN"}
    defective = sum("DEFECTIVE" in verdict for verdict in verdicts)
    counted = f"predict: 12 photographs, {defective} defective"
    assert err.startswith(counted) and len(err.splitlines()) == 1


def test_a_black_frame_is_never_called_good(predict, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "black.png")
    code, out, err = predict(tmp_path)
    assert code == 0 and out.split()[-1] in ("UNKNOWN", "DEFECTIVE")
    assert predict(tmp_path, "--check")[0] == 3
    assert ("UNKNOWN" in out) <= ("1 unlike anything that was trained on" in err)


def test_a_file_that_cannot_be_read_is_named_and_the_rest_goes_on(predict, folder, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    good = folder / "plain/test/good/000.bmp"
    code, out, err = predict(bad, good, tmp_path / "nowhere.png")
    assert code == 1 and len(out.splitlines()) == 2 and str(good) in out
    first, second, last = err.splitlines()
    assert first.startswith(f"predict: {bad}: can't be decoded")
    assert second == f"predict: {tmp_path}/nowhere.png: can't be read (No such file or directory)"
    assert last.startswith("predict: 1 photograph, ") and last.endswith("2 could not be read")


def test_csv_and_json_agree_with_the_pipeline(predict, finished, folder, tmp_path):
    written = tmp_path / "a.csv", tmp_path / "a.json"
    code, out, _ = predict(folder, "--csv", written[0], "--json", written[1])
    assert code == 0 and "photograph" in out
    table, rows = pd.read_csv(written[0]), json.loads(written[1].read_text(encoding="utf-8"))
    assert table.to_dict("records") == rows
    known = pd.read_csv(finished.root / paths.PREDICTIONS).set_index("path")
    for row in rows:
        expected = known.loc[Path(row["path"]).relative_to(folder).as_posix()]
        assert row["category"] == expected["category_predicted"]
        said, known_one = row["defect_probability"], expected["defect_probability"]
        assert said == pytest.approx(known_one, abs=apart(row["category"]))
        assert row["defective"] == bool(expected["defect_predicted"])
    assert len(rows) == len(known)


def test_a_dash_gives_the_terminal_to_the_answers_alone(predict, folder):
    code, out, err = predict(folder / "plain", "--json", "-")
    assert code == 0 and len(json.loads(out)) == 14 and "predict: 14 photographs" in err
    code, out, _ = predict(folder / "plain", "--csv", "-")
    assert code == 0 and out.startswith("path,category,") and len(out.splitlines()) == 15


def test_heat_maps_are_drawn_under_the_photographs_names(predict, folder, tmp_path):
    code, *_ = predict(folder / "bolt/test", "--overlays", tmp_path / "heat")
    names = {file.relative_to(tmp_path / "heat").as_posix() for file in tmp_path.rglob("*.png")}
    assert code == 0 and len(names) == 12 and "big hole/000.png.heat.png" in names
    assert Image.open(tmp_path / "heat/good/000.png.heat.png").size == (48, 48)


def test_many_files_are_told_on_the_way(predict, tmp_path, folder):
    image = folder / "bolt/test/good/000.png"
    for number in range(70):
        os.link(image, tmp_path / f"{number:03}.png")
    code, out, err = predict(tmp_path)
    assert code == 0 and len(out.splitlines()) == 71
    assert "predict: 70 of 70 images" in err


def test_a_script_can_ask_whether_there_are_defects(predict, folder):
    code, out, _ = predict(folder / "bolt/test", "--check")
    assert code == (3 if "DEFECTIVE" in out else 0) and "DEFECTIVE" in out


@pytest.mark.long
def test_a_model_of_the_registry_answers_as_the_workspace_s(predict, folder):
    file = folder / "bolt/test/good/000.png"
    code, out, _ = predict(file, "--model", "models:/twinhead@champion")
    assert code == 0 and out == predict(file)[1]
    code, _, err = predict(file, "--model", "models:/twinhead/99")
    assert code == 2 and err.startswith("predict: error: models:/twinhead/99: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}", "--model", "nowhere.keras"], "nowhere.keras is missing"),
        (["{empty}"], "no photographs in it"),
        (["{folder}", "{empty}/nowhere"], "nowhere: no such file or folder"),
        (["{empty}/*.png"], "*.png: nothing matches it"),
        (["{folder}", "--csv", "{empty}"], "is a folder; expected a file to write"),
        (["{folder}", "--csv", "-", "--json", "-"], "want the terminal; give all but one"),
        (["{folder}", "--resume"], "goes on with the file of --csv or --jsonl"),
        (["{folder}", "--json", "{empty}/a.json", "--resume"], "--csv or --jsonl"),
    ],
)
def test_what_cannot_be_done_at_all_is_one_line(predict, folder, tmp_path, arguments, said):
    code, out, err = predict(*(a.format(folder=folder, empty=tmp_path) for a in arguments))
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert err.startswith("predict: error: ") and said in err


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, and say on stderr if it imported TensorFlow."""
    code = (
        "import atexit, sys; from twinhead.__main__ import main;"
        "atexit.register(lambda: 'tensorflow' in sys.modules and print('HEAVY', file=sys.stderr));"
        f"sys.argv[1:] = {list(arguments)!r}; main()"
    )
    known = environment(PYTHONPATH=str(REPOSITORY / "src"))
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=known, capture_output=True, text=True
    )


COMMANDS = re.findall(r"^    (\w+) ", commands._parser().format_help(), re.MULTILINE)


def test_the_commands_are_those_that_the_module_says():
    assert re.findall(r"`(?:twinhead )?(\w+)`", commands.__doc__.partition("\n\n")[0]) == COMMANDS


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_every_command_explains_itself_at_once(command, tmp_path):
    done = run(*command, "--help", folder=tmp_path)
    assert done.returncode == 0 and "usage: twinhead" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("arguments", [["predict"], ["inspect"], [], ["predict", "nothing/"]])
def test_a_command_that_is_not_understood_costs_nothing(arguments, tmp_path):
    (tmp_path / "nothing").mkdir()
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and "HEAVY" not in done.stderr


def test_the_installed_command_is_this_one():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["twinhead"].partition(":")
    assert getattr(import_module(module), function) is commands.main


def test_a_photograph_anywhere_is_answered_whatever_its_size_and_mode(predict, tmp_path):
    for mode, size in (("L", (5, 300)), ("RGBA", (64, 64)), ("1", (33, 32)), ("I;16", (40, 40))):
        file = tmp_path / f"{mode[0]}{size[0]}.png"
        Image.new(mode, size, 1).save(file)
    code, out, _ = predict(tmp_path)
    assert code == 0 and len(out.splitlines()) == 5
