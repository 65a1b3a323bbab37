"""params.yaml: every value is checked; an error names the key, the value and what is allowed."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, environment

from twinhead import params
from twinhead.errors import InputError

SHIPPED = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
SEEDS = [f"{section}.seed" for section in ("sample", "split", "train", "embed", "explain")]
Load = Callable[..., params.Params]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load the shipped params with some of them changed: load({"train.epochs": 3})."""

    def changed(changes: dict[str, object]) -> params.Params:
        tree = copy.deepcopy(SHIPPED)
        for key, value in changes.items():
            *sections, name = key.split(".")
            section = tree
            for part in sections:
                section = section[part]
            section[name] = value
        return load_text(tmp_path, yaml.safe_dump(tree))

    return changed


def load_text(tmp_path: Path, text: str | bytes) -> params.Params:
    file = tmp_path / "params.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return params.load(file)


def test_the_shipped_params_are_those_of_the_design():
    settings = params.load(REPOSITORY / "params.yaml").model_dump()
    designed = {
        "data": {"root": "data/raw/sample", "on_bad_image": "stop"},
        "split": {
            "protocol": "random", "test_fraction": 0.2, "val_fraction": 0.1,
            "near_duplicates": 0.1, "group_by": "", "train_defects": None, "seed": 42,
        },
        "model": {"tasks": ["category", "defect"]},
        "train": {
            "epochs": 20, "batch_size": 32, "learning_rate": 0.001,
            "loss_weights": {"category": 1.0, "defect": 2.0}, "patience": 5, "precision": "float32",
            "augmentation": {"flip": True, "brightness": 0.2, "contrast": [0.8, 1.2]}, "seed": 42,
        },
        "evaluate": {"bootstrap": 1000},
        "embed": {"layer": "shared", "perplexity": 30, "iterations": 1000, "seed": 42},
        "explain": {"head": "defect", "images_per_category": 3, "seed": 42},
        "tracking": {"experiment": "twinhead"},
    }  # fmt: skip
    for section, values in designed.items():
        assert {name: settings[section][name] for name in values} == values, section


@pytest.mark.parametrize(
    ("key", "lowest", "below"),
    [
        ("sample.size", 32, 31),
        ("data.image_size", 16, 15),
        ("split.test_fraction", 0.01, 0),
        ("split.val_fraction", 0.01, 0),
        ("split.near_duplicates", 0, -0.01),
        ("split.train_defects", 0, -1),
        ("train.epochs", 1, 0),
        ("train.batch_size", 1, 0),
        ("train.learning_rate", 1e-12, 0),
        ("train.loss_weights.category", 1e-12, 0),
        ("train.loss_weights.defect", 1e-12, -1),
        ("train.patience", 1, 0),
        ("train.augmentation.brightness", 0, -0.01),
        ("evaluate.bootstrap", 100, 99),
        ("embed.perplexity", 1.01, 1),
        ("embed.iterations", 250, 249),
        ("embed.max_images", 100, 99),
        ("sample.images", 1, 0),
        ("explain.images_per_category", 1, 0),
        *((seed, 0, -1) for seed in SEEDS),
    ],
)
def test_a_value_below_its_limit_is_refused(load: Load, key, lowest, below):
    load({key: lowest})
    with pytest.raises(InputError, match=rf"params\.yaml: {key} is {below}; .*greater than"):
        load({key: below})


@pytest.mark.parametrize(
    ("key", "highest", "above"),
    [
        ("sample.images", 100_000, 100_001),
        ("sample.size", 1024, 1025),
        ("data.image_size", 2048, 2049),
        ("split.test_fraction", 0.89, 1),
        ("split.val_fraction", 0.79, 1.5),
        ("split.near_duplicates", 0.5, 0.51),
        ("split.train_defects", 1_000_000, 1_000_001),
        ("train.augmentation.brightness", 1, 1.01),
        ("train.epochs", 10_000, 10_001),
        ("train.batch_size", 4096, 4097),
        ("train.learning_rate", 1e6, 1.1e6),
        ("train.loss_weights.category", 1e6, 1.1e6),
        ("train.loss_weights.defect", 1e6, 1.1e6),
        ("train.patience", 10_000, 10_001),
        ("evaluate.bootstrap", 10_000, 10_001),
        ("embed.perplexity", 1000, 1001),
        ("embed.iterations", 20_000, 20_001),
        ("embed.max_images", 20_000, 20_001),
        ("explain.images_per_category", 1000, 1001),
        *((seed, 2**31 - 1, 2**31) for seed in SEEDS),
    ],
)
def test_a_value_above_its_limit_is_refused(load: Load, key, highest, above):
    load({key: highest})
    with pytest.raises(InputError, match=rf"params\.yaml: {key} is {above}(\.0)?; .*less than"):
        load({key: above})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.root", ""),
        ("data.root", 7),
        ("data.root", None),
        ("data.image_size", "224"),
        ("data.image_size", 224.0),
        ("data.image_size", True),
        ("data.on_bad_image", "ignore"),
        ("data.on_bad_image", False),
        ("split.protocol", "rnadom"),
        ("split.near_duplicates", None),
        ("split.train_defects", 1.0),
        ("split.train_defects", "all"),
        ("split.train_defects", True),
        ("split.group_by", None),
        ("split.group_by", 7),
        ("split.seed", float("nan")),
        ("split.test_fraction", True),
        ("split.test_fraction", "0.2"),
        ("split.test_fraction", float("nan")),
        ("model.backbone", "resnet"),
        ("model.tasks", "defect"),
        ("model.tasks", ["colour", "defect"]),
        ("train.learning_rate", "abc"),
        ("train.learning_rate", float("inf")),
        ("train.learning_rate", -float("inf")),
        ("train.learning_rate", 10**400),
        ("train.learning_rate", [0.1]),
        ("train.learning_rate", None),
        ("train.precision", "float16"),
        ("train.augmentation.flip", 1),
        ("train.augmentation.flip", "yes"),
        ("train.augmentation.contrast", [0.8]),
        ("train.augmentation.contrast", [0.8, 1, 1.2]),
        ("train.augmentation.contrast", 1),
        ("embed.layer", ""),
        ("explain.head", "both"),
        ("tracking.experiment", ""),
        ("train", None),
        ("train", 3),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_key_and_value(load: Load, key, value):
    with pytest.raises(InputError) as caught:
        load({key: value})
    (line,) = str(caught.value).splitlines()
    assert f"params.yaml: {key}" in line
    assert str(value[0] if isinstance(value, list) else value)[:20] in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split.test_fraction": 0.6, "split.val_fraction": 0.4}, "split: test_fraction .*below 1"),
        ({"model.tasks": ["category"]}, "explain.head is defect, but model.tasks lacks it"),
        ({"model.tasks": []}, "tasks must name category, defect or both"),
        ({"model.tasks": ["defect", "defect"]}, "each once"),
        ({"train.augmentation.contrast": [1.2, 0.8]}, r"contrast must be \[lowest, highest\]"),
        ({"embed.max_images": 100, "embed.perplexity": 34}, "max_images must be above 3"),
        ({"embed.layer": "pooled"}, "embed.layer is pooled, which efficientnet_lite0 .*deviation"),
        (
            {"embed.layer": "deviation", "model.tasks": ["category"], "explain.head": "category"},
            "doesn't have; expected shared or category_hidden",
        ),
        (
            {"model.backbone": "cnn", "train.batch_size": 4096, "data.image_size": 1024},
            "train.batch_size is 4096 with data.image_size 1024: more than 268,435,456 pixels",
        ),
        ({"data.root": "~/photos"}, r"data\.root is '~/photos'; .* nothing here expands a ~"),
        ({"tracking.experiment": "line/3"}, "without / and :, which MLflow refuses for a model"),
        ({"train.augmentation.contrast": [0, 1]}, r"contrast\.0 is 0.*greater than 0"),
    ],
)
def test_values_that_contradict_each_other_are_refused(load: Load, changes, said):
    with pytest.raises(InputError, match=said):
        load(changes)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("train.epoch", r"train\.epoch is unknown; did you mean epochs\?"),
        ("train.augmentation.brigthness", r"brigthness is unknown; did you mean brightness\?"),
        ("evalute", r"evalute is unknown; did you mean evaluate\?"),
        ("data.zzz", r"data\.zzz is unknown; known here: root, image_size, tiles, on_bad_image"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(load: Load, key, said):
    with pytest.raises(InputError, match=said):
        load({key: 1})


def test_all_faults_are_told_at_once(load: Load):
    with pytest.raises(InputError) as caught:
        load({"train.epochs": 0, "embed.layer": 3, "data.rot": "x"})
    named = [line.split(": ")[1].split(" ")[0] for line in str(caught.value).splitlines()]
    assert sorted(named) == ["data.rot", "embed.layer", "train.epochs"]


def test_contradictions_are_told_beside_faults_of_other_sections(load: Load):
    with pytest.raises(InputError) as caught:
        load({"model.tasks": ["category"], "train.epochs": 0})
    assert [line.partition(": ")[2][:12] for line in str(caught.value).splitlines()] == [
        "train.epochs", "explain.head"
    ]  # fmt: skip


def test_a_missing_number_that_may_be_null_is_named_with_what_it_takes(tmp_path: Path):
    split = {name: value for name, value in SHIPPED["split"].items() if name != "train_defects"}
    said = r"split\.train_defects is missing; expected null or an integer and at least 0"
    with pytest.raises(InputError, match=said):
        load_text(tmp_path, yaml.safe_dump(SHIPPED | {"split": split}))


@pytest.mark.parametrize("section", SHIPPED)
def test_a_missing_section_is_named(tmp_path: Path, section):
    rest = {name: values for name, values in SHIPPED.items() if name != section}
    with pytest.raises(
        InputError, match=rf"params\.yaml: {section} is missing; expected a section"
    ):
        load_text(tmp_path, yaml.safe_dump(rest))


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[1, 2]", "just words"])
def test_a_file_without_sections_is_refused(tmp_path: Path, text):
    with pytest.raises(InputError, match=r"params\.yaml: expected sections such as data"):
        load_text(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data:\n  root: [unclosed\ntrain: 1\n", " at line 3: expected ',' or ']', but got ':'"),
        ("data:\n\troot: x\n", r" at line 2: found character '\t' that cannot start any token"),
        ("data: !!python/object/apply:os.system [true]\n", " at line 1: could not determine a con"),
        ("data: !!int many\n", " at line 1: 'many' is no int"),
        ("a: 2026-13-45\n", " at line 1: '2026-13-45' is no timestamp"),
        ("a: " + "1" * 5000, " at line 1: '1111"),
        ("a: &x 1\nb: *x\n", " at line 2: an alias, *, isn't read here"),
        ("a: {<<: {b: 1}}\n", " at line 1: could not determine a constructor for the tag"),
        ("? [a, {b: c}]\n: 1\n", " at line 1: a list or a section can't be a key"),
        ("a: 1\n---\na: 2\n", " at line 2: but found another document"),
        ("[" * 20_000, ": nested too deeply"),
        ("- " * 20_000, ": nested too deeply"),
        (b"data: \xff\xfe\n", ": expected text in UTF-8"),
        (b"data: \0\n", ": "),
    ],
)
def test_broken_yaml_is_refused_with_its_line(tmp_path: Path, text, said):
    with pytest.raises(InputError) as caught:
        load_text(tmp_path, text)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/params.yaml: not valid YAML{said}") and line.isprintable()


def test_a_file_of_aliases_is_refused_before_it_grows(tmp_path: Path):
    rows = ["a0: &a0 {x: 1}"] + [
        f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 60)
    ]
    with pytest.raises(InputError, match="at line 2: an alias"):
        load_text(tmp_path, "\n".join(rows))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: {root: x, root: y}\n", "root is given twice, at lines 1 and 1"),
        (yaml.safe_dump(SHIPPED) + "data: {}\n", "data is given twice, at lines "),
        ("a: 1\na: 2\nb: 1\nb: 2\n", "b is given twice, at lines 3 and 4"),
    ],
)
def test_a_key_that_is_given_twice_is_named_with_its_lines(tmp_path: Path, text, said):
    with pytest.raises(InputError, match=rf"params\.yaml: {said}"):
        load_text(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "data: " + "{x: " * 40 + "1" + "}" * 40,
        "train: [" + ", ".join(["many"] * 9000) + "]",
        '"' + "k" * 50_000 + '": 1',
        '"a\\nb\\u202e": 1',
        "data: " + "1" * 4000,
        "? [a, {b: c}]\n: 1",
        "1: 2\nnull: 3\n2026-01-01: 4",
    ],
)
def test_a_fault_stays_a_short_line_whatever_was_written(tmp_path: Path, text):
    with pytest.raises(InputError) as caught:
        load_text(tmp_path, text)
    lines = str(caught.value).splitlines()
    assert len(lines) <= params.MAX_FAULTS + 1
    for line in lines:
        assert line.startswith(f"{tmp_path}/params.yaml: ") and line.isprintable()
        assert len(line) < 600


def test_params_are_checked_before_anything_slow_is_imported():
    """All faults in the first second."""
    code = (
        "import sys; from twinhead import params; params.load()\n"
        "print(sorted({'numpy', 'pandas', 'PIL', 'mlflow', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment(PYTHONPATH="src"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


CASES = {
    "a value of the wrong kind": {"train.epochs": "many"},
    "a value beyond its limit": {"train.batch_size": 1_000_000},
    "not a number, or infinite": {"train.learning_rate": float("nan")},
    "a misspelt key": {"train.epoch": 30},
    "both heads explained, one trained": {"model.tasks": ["category"]},
    "nothing left to train on": {"split.test_fraction": 0.5, "split.val_fraction": 0.5},
    "a layer that the network doesn't have": {"embed.layer": "pooled"},
    "a batch that no memory holds": {
        "model.backbone": "cnn", "train.batch_size": 4096, "data.image_size": 1024,
    },
    "a home folder written as ~": {"data.root": "~/photos"},
    "a `split.group_by` that is no regular expression": {"split.group_by": "lot(\\d+"},
    "a `split.group_by` without a group": {"split.group_by": "lot\\d+"},
    "fewer than no labelled defects": {"split.train_defects": -1},
    "an experiment that can't name a model": {"tracking.experiment": "line/3"},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_setting_that_cannot_be_meant_is_one_line(case, load: Load, tmp_path: Path, name):
    with pytest.raises(InputError) as caught:
        load(CASES[name])
    case("Params", name, f"refused: `{shown(caught, tmp_path)}`")


FILES = {
    "a file of an earlier version": yaml.safe_dump(
        SHIPPED | {"data": {"root": "data/raw/sample", "image_size": 448}}
    ),
    "a key given twice": "data:\n  root: photos\n  root: others\n",
    "a tab in front of a key": "data:\n\troot: photos\n",
    "an empty file": "",
    "text in another encoding": "root: größe".encode("latin-1"),
    "code in a YAML tag": "data: !!python/object/apply:os.system [true]\n",
    "aliases that multiply (a YAML bomb)": "a: &a [1, 1]\nb: [*a, *a]\n",
    "brackets a thousand deep": "[" * 20_000,
    "a file of megabytes": "# nothing\n" * 200_000,
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_one_line(case, tmp_path: Path, name):
    with pytest.raises(InputError) as caught:
        load_text(tmp_path, FILES[name])
    said = shown(caught, tmp_path).splitlines()
    more = f" and {len(said) - 1} more lines" if said[1:] else ""
    case("Params", name, f"refused: `{said[0]}`{more}")


def test_what_is_no_file_is_refused_at_once(case, tmp_path: Path):
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(InputError) as caught:
        params.load(tmp_path / "params.yaml")
    case("Params", "a folder in its place", f"refused: `{shown(caught, tmp_path)}`")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError) as caught:
        params.load(tmp_path / "pipe.yaml")
    case("Params", "a FIFO in its place", f"refused: `{shown(caught, tmp_path)}`")


def test_many_faults_at_once_are_all_told(case, load: Load, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        load({"train.epochs": 0, "evalute": 1, "data.root": "", "model.tasks": ["category"]})
    said = shown(caught, tmp_path).splitlines()
    assert len(said) == 4
    case("Params", "four faults in one file", f"refused in the first second, in {len(said)} lines")


def shown(caught: pytest.ExceptionInfo, tmp_path: Path) -> str:
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"no\.yaml: can't be read \(No such file"):
        params.load(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-05", 1e-5), ("1e-3", 1e-3), ("2E+2", 200), ("5", 5), ("1.5e-4", 1.5e-4)],
)
def test_a_number_may_be_written_as_dvc_writes_it(tmp_path: Path, text, value):
    changed = yaml.safe_dump(SHIPPED).replace("learning_rate: 0.001", f"learning_rate: {text}")
    assert load_text(tmp_path, changed).train.learning_rate == value


def test_params_cannot_be_changed_after_loading():
    with pytest.raises(ValueError, match="frozen"):
        params.load(REPOSITORY / "params.yaml").train.epochs = 1
