"""What a command line names becomes photographs: found in order, decoded ahead, none lost."""

import itertools
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import save

from twinhead.errors import InputError
from twinhead.ingest import images
from twinhead.serving import photographs

GREY = np.full((6, 8, 3), 90, np.uint8)


def find(*names: str | Path) -> list[str]:
    return [path.as_posix() for path in photographs.find([str(name) for name in names])]


@pytest.fixture
def inside(tmp_path, monkeypatch) -> Path:
    """An empty folder, and the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_gives_all_photographs_below_it_sorted(inside):
    for name in ("p/b.png", "p/a/z.JPG", "p/a/y.tif", "p/c.bmp"):
        save(GREY, Path(name))
    for name in ("p/.hidden.png", "p/.git/a.png", "p/b.png.heat.png"):
        save(GREY, Path(name))
    Path("p/notes.txt").write_text("no photograph")
    assert find("p") == ["p/b.png", "p/c.bmp", "p/a/y.tif", "p/a/z.JPG"]


def test_masks_of_a_folder_in_mvtec_ads_layout_are_no_photographs(folder):
    found = list(photographs.find([str(folder)]))
    assert len(found) == sum(1 for path in folder.rglob("*.*") if "ground_truth" not in path.parts)
    assert not any("ground_truth" in path.parts for path in found)


def test_masks_that_are_asked_for_by_name_are_looked_at(folder):
    assert find(folder / "bolt/ground_truth")


def test_a_pattern_is_filled_in_where_the_shell_has_not_done_it(inside):
    for name in ("p/1.png", "p/2.png", "p/q/3.png"):
        save(GREY, Path(name))
    assert find("p/*.png") == ["p/1.png", "p/2.png"]
    assert find("p/**/*.png") == ["p/1.png", "p/2.png", "p/q/3.png"]


def test_a_file_that_looks_like_a_pattern_is_that_file(inside):
    save(GREY, Path("a[1].png"))
    save(GREY, Path("a1.png"))
    assert find("a[1].png") == ["a[1].png"]


def test_what_is_named_twice_is_looked_at_once(inside):
    save(GREY, Path("p/a.png"))
    assert find("p/a.png", "p", "p/*") == ["p/a.png"]


def test_a_photograph_that_does_not_exist_is_left_for_reading_to_tell(inside):
    assert find("nowhere.png") == ["nowhere.png"]


@pytest.mark.parametrize(
    ("name", "fault"),
    [("no*where.png", "nothing matches it"), ("nowhere", "no such file or folder")],
)
def test_a_pattern_or_folder_that_gives_nothing_is_an_error(inside, name, fault):
    with pytest.raises(InputError, match=re.escape(f"{name}: {fault}")):
        find(name)


def test_a_folder_without_photographs_is_an_error(inside):
    Path("empty").mkdir()
    with pytest.raises(InputError, match="empty: no photographs in it; expected .png"):
        find("empty")


def test_links_are_followed_and_those_that_lead_back_end(inside):
    save(GREY, Path("elsewhere/a.png"))
    Path("p").mkdir()
    os.symlink(inside / "elsewhere", "p/linked")
    os.symlink(inside / "p", "p/back")
    assert find("p") == ["p/linked/a.png"]


def test_files_are_decoded_in_order_and_a_bad_one_stands_in_its_place(inside):
    files = [save(GREY + number, Path(f"{number}.png")) for number in range(7)]
    files[3].write_bytes(b"")
    parts = list(photographs.decoded(files, size=4, count=3))
    assert [len(part) for part in parts] == [3, 3, 1]
    together = list(itertools.chain(*parts))
    assert [file for file, _ in together] == files
    assert "3.png: can't be decoded (the file is empty)" in str(together[3][1])
    shades = [found[0, 0, 0] for number, (_, found) in enumerate(together) if number != 3]
    assert shades == [90, 91, 92, 94, 95, 96]


def test_no_more_than_two_lists_are_held_however_many_files_there_are(inside, monkeypatch):
    read, guard = [], threading.Lock()

    def counted(file: Path, size: int) -> Path:
        with guard:
            read.append(file)
        return file

    monkeypatch.setattr(images, "read", counted)
    files = [Path(f"{number}.png") for number in range(50)]
    for number, _ in enumerate(photographs.decoded(files, size=4, count=5), start=1):
        assert len(read) <= 5 * (number + 1)
    assert len(read) == 50
