"""Drift: photographs that no longer look like those that the network knows."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import browser
import numpy as np
import pandas as pd
import pytest
import shared
from conftest import REPOSITORY, Built, Workspace, save
from PIL import Image, ImageFilter
from test_report import HOSTILE, Checked

from twinhead import __main__ as commands
from twinhead import paths
from twinhead.drift import answers, command, comparison, page
from twinhead.errors import InputError
from twinhead.export import manifest, reference
from twinhead.export.decisions import Rules


def table(rng: np.random.Generator, count: int, **shifts: float) -> pd.DataFrame:
    """Photographs of two categories, normally distributed; `shifts` in spreads."""
    columns = {name: rng.normal(shifts.get(name, 0.0), 1, 2 * count) for name in
               ("score", "unusual", "brightness", "sharpness")}  # fmt: skip
    return pd.DataFrame(columns | {"category": ["bolt", "nut"] * count})


def compare(
    now: pd.DataFrame, reference: pd.DataFrame, rate: float = comparison.FALSE_ALARMS
) -> comparison.Drift:
    return comparison.compare(now, reference, lambda category: 2.0, 3.0, rate)


@pytest.mark.parametrize(
    ("measure", "shift"), [("brightness", -1), ("sharpness", -1), ("score", 1), ("unusual", 1)]
)
def test_what_shifts_is_named(measure, shift):
    rng = np.random.default_rng(0)
    found = compare(table(rng, 200, **{measure: shift}), table(rng, 200))
    drifted = found.table[found.table["drifted"]]
    assert set(drifted["measure"]) == {measure} and set(drifted["category"]) == {"bolt", "nut"}
    assert comparison.ADVICE[measure] in comparison.advice(found, "photos")


def test_what_is_more_usual_than_usual_is_no_drift():
    """As the photographs of training are, to the network that has learned from them."""
    rng = np.random.default_rng(0)
    assert not compare(table(rng, 200, score=-1, unusual=-1), table(rng, 200)).drifted


def test_unknown_photographs_are_drift():
    rng = np.random.default_rng(0)
    now = table(rng, 200)
    now.loc[:40, "unusual"] = 9.0
    found = compare(now, table(rng, 200))
    assert comparison.UNKNOWN in set(found.table["measure"][found.table["drifted"]])


def test_where_most_are_unknown_the_advice_begins_with_what_the_camera_shows():
    rng = np.random.default_rng(0)
    for strange, first in ((400, comparison.UNKNOWN), (41, "brightness")):
        now = table(rng, 200, brightness=-3)
        now.loc[: strange - 1, "unusual"] = 9.0
        said = comparison.advice(compare(now, table(rng, 200)), "photos")
        assert said.startswith(comparison.ADVICE[first])
        assert comparison.ADVICE["brightness"] in said


def test_another_product_that_is_called_defective_is_told_as_unknown():
    rng = np.random.default_rng(0)
    now = table(rng, 100, score=20, unusual=20, brightness=-3)
    found = compare(now, table(rng, 200))
    assert found.alarms == found.unknown == 1
    assert comparison.UNKNOWN in set(found.table["measure"][found.table["drifted"]])
    assert comparison.advice(found, "photos").startswith(comparison.ADVICE[comparison.UNKNOWN])


def test_undisturbed_days_alarm_no_oftener_than_promised():
    """A hundred of them; benchmarks/drift.py has a thousand, of real photographs."""
    rng, promised = np.random.default_rng(0), 0.05
    alarms = sum(compare(table(rng, 30), table(rng, 60), promised).drifted for _ in range(100))
    assert alarms <= 12  # with 99.9% certainty, if the rate is what is promised


def test_many_defects_are_no_drift():
    rng = np.random.default_rng(0)
    now, bad = table(rng, 100), table(rng, 100, score=20, unusual=20)
    assert not compare(pd.concat([now, bad]), table(rng, 200)).drifted


def test_a_lamp_that_makes_everything_defective_is_drift():
    rng = np.random.default_rng(0)
    found = compare(table(rng, 100, score=20, brightness=-3), table(rng, 200))
    drifted = found.table[found.table["drifted"]]
    assert set(drifted["measure"]) == {"brightness"} and found.alarms == 1
    assert "score" not in set(found.table["measure"])


def test_each_category_is_held_to_its_own_threshold():
    """Of nuts, what is called defective is clear of the rest: only at their own threshold."""
    rng = np.random.default_rng(0)
    now, usual = table(rng, 200), table(rng, 200)
    lot = now.index[now["category"] == "nut"][:80]
    now.loc[lot, ["score", "sharpness"]] = 10.0
    thresholds = {"bolt": 20.0, "nut": 5.0}
    own = comparison.compare(now, usual, thresholds.__getitem__, 3.0)
    assert not own.drifted and own.alarms == 80 / 400
    assert comparison.compare(now, usual, lambda category: 20.0, 3.0).drifted


def test_without_a_category_head_all_are_one_category():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    given = {"defect": np.zeros((2, 1)), "unusual": np.zeros((2, 1))}
    assert set(command.said(given, ["bolt", "nut"], images)["category"]) == {answers.ALL}
    told = command.said(given | {"category": np.eye(2)}, ["bolt", "nut"], images)
    assert list(told["category"]) == ["bolt", "nut"]


def test_of_few_photographs_nothing_is_said():
    rng = np.random.default_rng(0)
    found = compare(table(rng, 3, score=9), table(rng, 200))
    assert found.few == {"bolt": 3, "nut": 3} and not found.drifted


def test_all_p_values_together_are_held_to_one_rate():
    assert comparison.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def test_dimming_and_blur_move_their_own_measure():
    noise = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3)).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(noise[0]).filter(ImageFilter.GaussianBlur(1)))
    plain, dim, soft = (reference.measure(x).iloc[0] for x in (noise, noise // 2, blurred[None]))
    assert dim["brightness"] < 0.6 * plain["brightness"]
    assert dim["sharpness"] == pytest.approx(plain["sharpness"], abs=0.1)
    assert soft["sharpness"] < plain["sharpness"] - 1
    assert soft["brightness"] == pytest.approx(plain["brightness"], abs=0.01)


def test_a_time_is_a_date_or_so_long_ago():
    now = datetime(2026, 1, 31, 12)
    assert command.moment("2026-01-30", now) == datetime(2026, 1, 30).timestamp()
    assert command.moment("12h", now) == datetime(2026, 1, 31).timestamp()
    assert command.moment("2w", now) == datetime(2026, 1, 17, 12).timestamp()
    with pytest.raises(InputError, match="--since is 'yesterday'"):
        command.moment("yesterday", now)


def test_the_newest_are_chosen(tmp_path):
    listed = [tmp_path / f"{number}.png" for number in range(4)]
    for number, file in enumerate(listed):
        file.write_bytes(b"")
        os.utime(file, (1000 * (4 - number),) * 2)
    kept = command.chosen(listed, None, 2)
    assert list(kept["file"]) == [listed[1], listed[0]] and list(kept["modified"]) == [3000, 4000]
    with pytest.raises(InputError, match="no photograph is newer than 1h"):
        command.chosen(listed, "1h", None)


def test_the_reference_is_the_good_images_as_they_were_cross_fitted(built: Built):
    given = built.frame[["path", "category", "defective"]].sample(frac=1, random_state=0)
    # The table has a `score` of its own, before the calibration.
    given = given.assign(defect_probability=range(len(given)), unusual=1.0, score=-7.0)
    found = reference.collect(given, built.frame, built.pixels)
    good = given[given["defective"] == 0]
    assert tuple(found) == reference.COLUMNS
    assert list(found["score"]) == list(good["defect_probability"])
    assert list(found["category"]) == list(good["category"])
    looks = reference.measure(built.pixels[good.index.to_numpy()])
    np.testing.assert_allclose(found[list(reference.LOOKS)], looks, rtol=1e-5)
    for other in (given.iloc[:0], given.drop(columns="unusual"), given.assign(defective=1)):
        assert reference.collect(other, built.frame, built.pixels) is None


def listed(folder: Path, files: dict[str, str]) -> manifest.Manifest:
    return manifest.Manifest(1, [], Rules(0.5), None, 32, 1, files, {}, "")


def test_an_export_without_its_reference_is_named(tmp_path):
    with pytest.raises(InputError, match=r"has no reference.csv .* as the paper's isn't"):
        reference.read(tmp_path, listed(tmp_path, {}))
    reference.write(pd.DataFrame({"category": ["001"], "score": [0.1]}), tmp_path)
    known = listed(tmp_path, manifest.digests(tmp_path, [reference.FILE]))
    assert reference.read(tmp_path, known)["category"][0] == "001"  # a name, no number
    (tmp_path / reference.FILE).write_text("category,score\n001,0.2\n")
    with pytest.raises(InputError, match=r"reference.csv isn't the file that edge.json lists"):
        reference.read(tmp_path, known)
    (tmp_path / reference.FILE).unlink()
    with pytest.raises(InputError, match=r"reference.csv is missing; copy the whole folder"):
        reference.read(tmp_path, known)


Drift = Callable[..., tuple[int, str, str]]


@pytest.fixture
def drift(finished, monkeypatch, capfd) -> Drift:
    """Run `twinhead drift`, in the finished workspace or elsewhere: exit code, stdout, stderr."""

    def run(*arguments: object, there: Path = finished.root) -> tuple[int, str, str]:
        monkeypatch.chdir(there)
        monkeypatch.setattr(sys, "argv", ["twinhead", "drift", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return ended.value.code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def dimmed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good photographs of one category under a failing lamp; tests only read it."""
    place = tmp_path_factory.mktemp("at the line") / "line 3"
    place.mkdir()
    for file in (folder / "bolt/train/good").glob("*.png"):
        with Image.open(file) as image:
            image.point(lambda value: value // 3).save(place / file.name)
    return place


def test_the_answers_are_in_float_as_the_reference_is(drift, dimmed, monkeypatch):
    load, exported, asked = command.edge.load, command.models.exported, []

    def loaded(folder: Path, precision: str) -> object:
        asked.append(precision)
        return load(folder, "float")

    monkeypatch.setattr(command.edge, "load", loaded)
    monkeypatch.setattr(
        command.models, "exported", lambda *given: replace(exported(*given), precision="int8")
    )
    assert drift(dimmed)[0] == 1 and asked == ["float"]


def test_the_command_ends_as_cron_wants_it(drift, dimmed, finished, tmp_path):
    """Dimmed photographs of the data set: 1, a plot, JSON, and what to do."""
    plot, told, own = tmp_path / "drift.png", tmp_path / "drift.json", tmp_path / "twinhead"
    shared.copy_workspace(finished.root, own)  # whose run gets the numbers
    code, out, _ = drift(dimmed, "--plot", plot, "--json", told, "--track", there=own)
    assert code == 1 and "DRIFT" in out and "twinhead review" in out and "kept in run" in out
    assert plot.read_bytes().startswith(b"\x89PNG") and '"drifted": 1.0' in told.read_text()
    code, out, err = drift(dimmed, "--last", 3, "--json", "-")
    assert code == 2 and "too few photographs of every category (8 needed)" in err and not out
    code, _, err = drift(Path("nowhere"))
    assert code == 2 and err.startswith("drift: error: nowhere")


def test_at_the_line_an_export_is_enough(drift, finished, dimmed, tmp_path):
    """As a folder, in a registered model's folder, and by the registry's name; no workspace."""
    exported = finished.root / paths.EDGE
    _, expected, _ = drift(dimmed)
    assert drift(dimmed, "--model", exported, there=tmp_path) == (1, expected, "")
    shutil.copytree(exported, tmp_path / "model/artifacts/edge")
    assert drift(dimmed, "--model", "model", there=tmp_path) == (1, expected, "")
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{finished.root}/mlflow.db"}
    done = Workspace(tmp_path).run(
        *("python", "-m", "twinhead", "drift", str(dimmed), "--model", "models:/twinhead@champion"),
        PYTHONPATH=str(REPOSITORY / "src"), **store,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, expected)
    code, _, err = drift(dimmed, there=tmp_path)
    assert code == 2 and "models/edge: no exported model; expected" in err


def line(name: str, day: int, **answer: object) -> str:
    """A line of `twinhead watch`, of a photograph of noon."""
    modified = int(datetime(2026, 1, day, 12).timestamp() * 1e9)
    return json.dumps({"path": name, "bytes": 9, "modified": modified} | answer) + "\n"


def test_the_page_tells_what_watch_has_answered(drift, dimmed):
    good = {"category": "bolt", "defective": False, "known": True}
    watched = [line(f"{n}.png", 1 + n // 4, **good | {"defective": n < 3}) for n in range(12)]
    watched += [line("c.png", 3, **good | {"known": False}), line("d.png", 3, error=HOSTILE)]
    watched.append('{"path": "half')
    log, made = dimmed.with_name("line 3.jsonl"), dimmed.with_name("page.html")
    log.write_text("".join(watched))
    try:
        code, _, _ = drift(dimmed, "--page", made)
        found, kept = made.read_text(encoding="utf-8"), log.read_text()
        drift(dimmed, "--page", made, "--jsonl", log, "--since", "2026-01-02")
        later = made.read_text(encoding="utf-8")
    finally:
        log.unlink()
    assert code == 1 and kept == "".join(watched)
    checked = Checked(found)
    assert checked.open == [] and checked.scripts == [] and checked.seen.count("script") == 1
    assert all(re.match("data:image/png;base64,|#", link) for link in checked.links)
    assert checked.seen.count("img") == 1 and "&lt;script&gt;" in found and "<b>Drift of " in found
    assert "brightness (bolt)" in found
    rows = [re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall("<tr>.*?</tr>", found)]
    texts = [[re.sub("<[^>]*>", "", cell) for cell in cells] for cells in rows]
    assert texts[1:4] == [
        ["2026-01-03", "6", "0.0%", "20.0%", "1"],
        ["2026-01-02", "4", "0.0%", "0.0%", "0"],
        ["2026-01-01", "4", "75.0%", "0.0%", "0"],
    ]
    assert texts[5][0] == "bolt" and "brightness" in texts[5][1]
    assert texts[5][2:] == ["13", "23.1%", "7.7%"]
    assert "2026-01-02" in later and "2026-01-01" not in later


def test_without_answers_of_watch_the_page_has_its_own(drift, dimmed, tmp_path):
    place = Path(shutil.copytree(dimmed, tmp_path / "line"))
    (place / "z.png").write_bytes(b"no picture")
    code, _, err = drift(place, "--page", tmp_path / "page.html")
    found = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert code == 1 and "z.png: can't be decoded" in err
    assert "1 photograph could not be read" in found and "z.png: can&#39;t be decoded" in found
    code, _, _ = drift(place, "--last", 4, "--page", tmp_path / "page.html")
    found = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert code == 2 and "Nothing can be said of drift:</b>" in found and "<img" not in found


def test_outputs_that_cannot_be_are_refused_before_a_photograph_is_read(drift, tmp_path):
    photo = tmp_path / "line"
    photo.mkdir()
    (photo / "a.png").write_bytes(b"no picture")
    log = tmp_path / "line.jsonl"
    log.write_text("no answer\n")
    for arguments, fault in (
        (["--page", tmp_path / "none/page.html"], "lies in a folder that doesn't exist"),
        (["--page", "-"], "--page -: a page needs a file"),
        (["--plot", tmp_path / "a.svg"], "a.svg: expected a name that ends with .png"),
        (["--plot", tmp_path / "a"], "a: expected a name that ends with .png"),
        (["--page", log], "line.jsonl is named for two outputs"),
        (["--page", "a.html", "--jsonl", "none.jsonl"], "none.jsonl: no such file"),
        (["--jsonl", log], "--jsonl: only --page shows"),
        (["--page", tmp_path / "a.html"], "line.jsonl: line 1 isn't an answer of `twinhead watch`"),
    ):
        code, out, err = drift(photo, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and fault in err, arguments
    assert log.read_text() == "no answer\n" and not (tmp_path / "a.html").exists()


def test_in_a_browser_the_page_fits_a_phone(tmp_path):
    program = browser.installed()
    if program is None:
        pytest.skip("no Chromium is installed")
    rng = np.random.default_rng(0)
    found = compare(table(rng, 40, brightness=-2), table(rng, 40))
    told = pd.DataFrame({"modified": np.arange(30) * 86_400.0, "defective": False, "known": True})
    told = told.assign(category=["bolt", "nut" * 30] * 15, error="")
    plot = save(np.zeros((300, 1200, 3), np.uint8), tmp_path / "plot.png")
    about = page.About(Path("line/" + "long" * 40), "models/edge", datetime(2026, 1, 31))
    (tmp_path / "page.html").write_text(page.page(found, told, plot, about), encoding="utf-8")
    with browser.Browser(program) as shown:
        for width, scheme in ((390, "dark"), (1200, "light")):
            shown.look(width, 800, scheme)
            shown.open((tmp_path / "page.html").as_uri())
            inside = "document.documentElement.scrollWidth <= innerWidth"
            assert shown.run(inside), f"wider than {width}"
        assert not shown.errors()
