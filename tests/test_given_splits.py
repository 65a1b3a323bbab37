"""The data's own splits.csv: taken as it is, or refused in one line; and what split remembers."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Workspace, begun, photograph, save

from twinhead import stage
from twinhead.errors import InputError
from twinhead.ingest import layout

ONE, OTHER = "bolt/train/good/000.png", "bolt/test/scratch/001.png"


def given(root: Path, *lines: str) -> pd.Series:
    """What a splits.csv of these lines gives each image, by path."""
    text = "\n".join(("path,split", *lines)) + "\n"
    (root / "splits.csv").write_text(text, encoding="utf-8")
    return layout.scan(root).set_index("path")["given"]


def test_without_a_file_nothing_is_given(folder):
    assert (layout.scan(folder)["given"] == "").all()


def test_what_is_listed_is_given_whatever_its_name(copied):
    name = "größe 2/test/riß/003.jpg"
    found = given(copied, f"{ONE},val", f'"{name}",test', "", f"{OTHER},train")
    assert found[found != ""].to_dict() == {ONE: "val", name: "test", OTHER: "train"}


def test_a_spreadsheet_s_file_is_read_too(copied):
    text = f"\ufeffnote,path,split\r\nx,{ONE},val\r\n"
    (copied / "splits.csv").write_bytes(text.encode())
    assert layout.scan(copied).set_index("path")["given"][ONE] == "val"


WRONG = {
    "an unknown split": [f"{ONE},validation"],
    "a path that is no image": ["bolt/train/good/900.png,test"],
    "a path listed twice": [f"{ONE},test", f"{OTHER},val", f"{ONE},test"],
    "a line of too many values": [f"{ONE},test,1,2"],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_line_that_cannot_be_meant_is_named(case, copied, name):
    with pytest.raises(InputError) as caught:
        given(copied, *WRONG[name])
    said = str(caught.value).replace(f"{copied}/", "")
    case("Folders and files", f"`splits.csv` with {name}", f"refused: `{said}`")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a table"),
        (b"file,split\n", "expected the columns path and split; found file, split"),
        ("path,split\ngröße,test\n".encode("latin-1"), "expected text in UTF-8"),
        (b'path,split\n"a,test\n', "not a table"),
    ],
)
def test_a_file_that_is_no_such_table_is_one_line(copied, content, said):
    (copied / "splits.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"splits\.csv: {said}") as caught:
        layout.scan(copied)
    assert len(str(caught.value).splitlines()) == 1


def test_a_fifo_is_not_waited_for(copied):
    os.mkfifo(copied / "splits.csv")
    with pytest.raises(InputError, match=r"splits\.csv: can't be read \(a device, socket or FIFO"):
        layout.scan(copied)


def test_a_file_that_changes_meanwhile_is_noticed(copied):
    found = layout.scan(copied)
    before = layout.state(copied, found)
    layout.check_unchanged(copied, before)
    given(copied, f"{ONE},val")
    with pytest.raises(InputError, match=r"splits\.csv: changed while it was read"):
        layout.check_unchanged(copied, before)


@pytest.fixture
def workspace(tmp_path, copied, monkeypatch) -> Workspace:
    """A repository of its own, in which the stages can be run one by one."""
    made = begun(tmp_path / "twinhead", copied)
    monkeypatch.chdir(made.root)
    return made


def ran(capsys: pytest.CaptureFixture) -> tuple[pd.Series, str]:
    """Each image's split after `index` and `split`, and what they said."""
    for name in ("index", "split"):
        stage.load(name)()
    table = pd.read_csv("data/splits.csv", keep_default_na=False).set_index("path")
    return table["split"], capsys.readouterr().out


def test_images_that_come_go_or_are_renamed_move_no_other(workspace, copied, capsys):
    before, _ = ran(capsys)
    rng = np.random.default_rng(5)
    for number in range(900, 912):
        save(
            photograph(rng, (150, 60, 50), (48, 48), False)[0],
            copied / f"bolt/train/good/{number}.png",
        )
    (copied / "bolt/train/good/003.png").rename(copied / "bolt/train/good/aaa.png")
    (copied / "bolt/test/good/002.png").unlink()
    after, said = ran(capsys)
    stayed = after.rename({"bolt/train/good/aaa.png": "bolt/train/good/003.png"})
    kept = before.index.intersection(stayed.index)
    assert len(kept) == len(before) - 1 and (before[kept] == stayed[kept]).all()
    assert f"split: {len(kept)} images stay where the last draw put them; 12 are new" in said
    written = Path("data/splits.csv").read_bytes()
    ran(capsys)
    assert Path("data/splits.csv").read_bytes() == written


def test_a_split_of_ones_own_goes_through_the_stages(workspace, copied, capsys, case):
    first, _ = ran(capsys)
    own = first.map({"train": "test", "val": "train", "test": "val"})
    given(copied, *(f"{path},{split}" for path, split in own.items()))
    split, said = ran(capsys)
    assert split.equals(own) and f"split: {len(own)} images stand where splits.csv says\n" in said
    case(
        "Data sets",
        "`splits.csv` in `data.root`",
        "used: what it lists stands where it says, the rest is drawn",
    )
    lots = {"split": {"group_by": "bolt/(.*)/"}}
    workspace.set(lots)
    with pytest.raises(InputError, match=r"splits\.csv: .* but they are one group") as caught:
        ran(capsys)
    case("Data sets", "`splits.csv` that parts a group", f"refused: `{caught.value}`")


def test_lots_that_no_path_names_are_refused(workspace, case, capsys):
    workspace.set({"split": {"group_by": "sheet(.)"}})
    with pytest.raises(InputError) as caught:
        ran(capsys)
    case("Data sets", "`split.group_by` that matches no path", f"refused: `{caught.value}`")
    workspace.set({"split": {"group_by": "^(bolt)/"}})
    split, said = ran(capsys)
    assert split[split.index.str.startswith("bolt")].nunique() == 1
    (line,) = [line for line in said.splitlines() if "one group" in line]
    case("Data sets", "a group of more than a third of a category", f"used, and said: `{line}`")
