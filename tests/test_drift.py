"""Drift: photographs that no longer look like those that the network knows."""

import os
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from twinhead import __main__ as commands
from twinhead.drift import command, comparison
from twinhead.errors import InputError


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


def test_undisturbed_days_alarm_no_oftener_than_promised():
    """A hundred of them; benchmarks/drift.py has a thousand, of real photographs."""
    rng, promised = np.random.default_rng(0), 0.05
    alarms = sum(compare(table(rng, 30), table(rng, 60), promised).drifted for _ in range(100))
    assert alarms <= 12  # with 99.9% certainty, if the rate is what is promised


def test_many_defects_are_no_drift():
    rng = np.random.default_rng(0)
    now, bad = table(rng, 100), table(rng, 100, score=20)
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
    assert set(command.said(given, ["bolt", "nut"], images)["category"]) == {command.ALL}
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
    plain, dim, soft = (comparison.measure(x).iloc[0] for x in (noise, noise // 2, blurred[None]))
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
    assert command.chosen(listed, None, 2) == [listed[1], listed[0]]
    with pytest.raises(InputError, match="no photograph is newer than 1h"):
        command.chosen(listed, "1h", None)


@pytest.fixture
def drift(finished, monkeypatch, capfd):
    """Run `twinhead drift` in the finished workspace: its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(finished.root)
        monkeypatch.setattr(sys, "argv", ["twinhead", "drift", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return ended.value.code, *capfd.readouterr()

    return run


def test_the_command_ends_as_cron_wants_it(drift, folder, tmp_path):
    """Dimmed photographs of the data set: 1, a plot, JSON, and what to do."""
    for file in (folder / "bolt/train/good").glob("*.png"):
        with Image.open(file) as image:
            image.point(lambda value: value // 3).save(tmp_path / file.name)
    plot, told = tmp_path / "drift.png", tmp_path / "drift.json"
    code, out, _ = drift(tmp_path, "--plot", plot, "--json", told, "--track")
    assert code == 1 and "DRIFT" in out and "twinhead review" in out and "kept in run" in out
    assert plot.read_bytes().startswith(b"\x89PNG") and '"drifted": 1.0' in told.read_text()
    for file in list(tmp_path.glob("*.png"))[3:]:
        file.unlink()
    code, out, err = drift(tmp_path, "--json", "-")
    assert code == 2 and "too few photographs of every category (8 needed)" in err and not out
    code, _, err = drift(Path("nowhere"))
    assert code == 2 and err.startswith("drift: error: nowhere")
