"""dvc.yaml against the code: a stage re-runs for all that it reads, and for nothing else."""

import ast
import json
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

from twinhead import files, params, paths, stage
from twinhead.serving import code, registry

PIPELINE = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]
SOURCES = sorted((REPOSITORY / "src/twinhead").rglob("*.py"))
MAKERS = {
    paths.SAMPLE: "sample",
    **dict.fromkeys(
        [paths.CATALOG, paths.PIXELS, paths.MASKS, paths.DECODED, paths.LABELS, paths.REMARKS],
        "index",
    ),
    paths.SPLITS: "split",
    **dict.fromkeys([paths.FEATURES, paths.EXTRACTED], "features"),
    **dict.fromkeys([paths.MODEL, paths.CHECKPOINT, paths.HISTORY, paths.CROSSFIT], "train"),
    **dict.fromkeys([paths.PREDICTIONS, paths.CHARTS], "evaluate"),
    paths.EMBEDDING: "embed",
    **dict.fromkeys([paths.EXPLANATIONS, paths.HEAT_MAPS], "explain"),
    paths.EDGE: "export",
    paths.OVERLAYS: "plots",
    paths.REPORT: "report",
}
"""Which stage makes what twinhead.paths names."""
PERSISTENT = {
    *(paths.PIXELS, paths.MASKS, paths.DECODED, paths.FEATURES, paths.EXTRACTED),
    *(paths.SPLITS, paths.REPORT),
}
"""What a stage reads of its own last run, and what may not come from DVC's run cache."""
NO_PRODUCTS = {
    paths.PARAMS,
    paths.COMPARISON,
    paths.ADDED_BY_LABELS,
    paths.ANSWERS,
    paths.ROUND,
    paths.REVIEWED,
    paths.TRAINING_STATE,
    paths.METRICS,
    paths.REPORTS,
    paths.PLOTS,
}
each_stage = pytest.mark.parametrize("name", STAGES)
ARCHITECTURE = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")


def outs(name: str) -> dict[str, dict]:
    """A stage's outputs with their options."""
    listed = [out if isinstance(out, dict) else {out: {}} for out in STAGES[name]["outs"]]
    return {path: options for out in listed for path, options in out.items()}


def script(name: str) -> dict:
    """What a stage's script defines, by name."""
    return stage.load(name).__globals__


def is_source(dependency: str) -> bool:
    return dependency.startswith(("src/", "stages/"))


def within(file: Path, places: list[str]) -> bool:
    name = file.relative_to(REPOSITORY).as_posix()
    return any(name == place or name.startswith(f"{place}/") for place in places)


TELLS = [
    f"src/twinhead/{name}"
    for name in (
        "__init__.py",
        "cores.py",
        "errors.py",
        "heap.py",
        "params.py",
        "paths.py",
        "stage.py",
        "tracking",
        "validation.py",
        "yaml_file.py",
    )
]
"""Says what happens, or keeps memory, and decides nothing.

DVC knows a param's value and an output's place."""


def deciding(start: Path) -> set[Path]:
    """All files of this package that importing a file runs, but those behind what only tells."""
    todo, seen = [start], {start}
    while todo:
        found = code.imported(todo.pop())
        found |= {p / "__init__.py" for f in found for p in f.parents if within(f, ["src"])}
        found = {file for file in found if file.is_file()} - seen
        seen |= found
        todo += [file for file in found if not within(file, TELLS)]
    return seen


@each_stage
def test_a_stage_lists_the_folders_of_all_that_it_imports(name):
    script = REPOSITORY / "stages" / f"{name}.py"
    listed = list(filter(is_source, STAGES[name]["deps"]))
    unlisted = {f for f in deciding(script) if not within(f, listed + TELLS)}
    assert unlisted == set()


@each_stage
def test_a_stage_lists_no_folder_that_it_does_not_import(name):
    files = deciding(REPOSITORY / "stages" / f"{name}.py") | {REPOSITORY / f"stages/{name}.py"}
    for place in filter(is_source, STAGES[name]["deps"]):
        assert (REPOSITORY / place).exists() and any(within(file, [place]) for file in files), place


@each_stage
def test_the_page_on_architecture_names_what_a_stage_lists(name):
    (cell,) = re.findall(rf"^\| `{name}` \| (.+) \|$", ARCHITECTURE, re.MULTILINE)
    shown = [f"src/twinhead/{place.rstrip('/')}" for place in re.findall("`(.+?)`", cell)]
    listed = [place for place in STAGES[name]["deps"] if place.startswith("src/")]
    assert sorted(shown or ["src/twinhead"]) == sorted(listed)  # in words: all of it


@pytest.mark.parametrize("name", [place for place in TELLS if place.endswith(".py")])
def test_what_only_tells_brings_no_tracking_serving_or_report_into_a_stage(name):
    places = [f"src/twinhead/{folder}" for folder in ("tracking", "serving", "report", "plots")]
    assert not [file for file in code.needed(REPOSITORY / name) if within(file, places)]


def test_the_pipeline_is_a_page():
    lines = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 280


@each_stage
def test_file_stage_and_function_share_one_name(name):
    assert STAGES[name]["cmd"].split() == ["PYTHONPATH=src", "python", "-m", "twinhead.stage", name]
    tree = ast.parse((REPOSITORY / "stages" / f"{name}.py").read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_script_is_a_stage():
    assert {file.stem for file in (REPOSITORY / "stages").glob("*.py")} == set(STAGES)


@each_stage
def test_a_stage_that_has_params_has_a_section_of_its_own(name):
    own = {"index": "data", "report": "tracking"}.get(name, name)
    sections = {key.split(".")[0] for key in STAGES[name].get("params", [])}
    assert own in sections or not sections


def test_every_section_of_params_is_some_stage_s():
    keys = [key for name in STAGES for key in STAGES[name].get("params", [])]
    assert {key.split(".")[0] for key in keys} == set(params.Params.model_fields)


def test_everything_that_paths_names_is_the_output_of_its_stage():
    named = {path for path in vars(paths).values() if isinstance(path, Path)}
    assert named == set(MAKERS) | NO_PRODUCTS
    for path, name in MAKERS.items():
        assert path.as_posix() in outs(name)


@each_stage
def test_metrics_are_kept_in_git(name):
    for out, options in outs(name).items():
        kept = {"persist": True} if Path(out) in PERSISTENT else {}
        assert options == ({"cache": False} if out.startswith("metrics/") else kept), out
    known = {out for out in outs(name) if out.startswith("metrics/")}
    assert known <= {paths.metrics(name).as_posix(), paths.summary(name).as_posix()}


def test_dvc_s_tables_show_the_chosen_metrics_alone():
    columns = {name: script(name)["SUMMARY"] for name in ("evaluate", "explain", "embed", "train")}
    assert PIPELINE["metrics"] == [paths.summary(name).as_posix() for name in columns]
    named = [column for chosen in columns.values() for column in chosen]
    # DVC would put the file's path before a name that two files have.
    assert len(named) == len(set(named)) <= 12
    for name, chosen in columns.items():
        assert {paths.metrics(name).as_posix(), paths.summary(name).as_posix()} <= set(outs(name))
        measured = json.loads((REPOSITORY / paths.metrics(name)).read_text(encoding="utf-8"))
        found = files.chosen(measured, chosen)
        assert set(found) == set(chosen)
        assert all(isinstance(value, (int, float)) for value in found.values())


def test_what_metrics_lack_has_no_column():
    columns = {"f1": "test.defect.f1", "right": "test.category.accuracy"}
    assert files.chosen({"test": {"category": {"accuracy": 0.5}}}, columns) == {"right": 0.5}
    assert files.chosen({"test": {"defect": {"f1": None}}}, columns) == {}


def test_plots_are_outputs():
    made = {out for name in STAGES for out in outs(name)}
    for plot in PIPELINE["plots"]:
        (described,) = [plot] if isinstance(plot, str) else plot.values()
        shown = [described] if isinstance(described, str) else described["y"]
        assert all({path, Path(path).parent.as_posix()} & made for path in shown)


def test_what_computes_runs_again_in_another_environment():
    listed = {
        name for name, described in STAGES.items() if "requirements.lock" in described["deps"]
    }
    assert listed == STAGES.keys() - {"report"}  # which tells, and computes nothing


def test_every_dependency_that_is_data_is_an_earlier_stage_s_output():
    given = (paths.COMPARISON, paths.ADDED_BY_LABELS, paths.ANSWERS, paths.ROUND)
    made = {"${data.root}", "requirements.lock", *(path.as_posix() for path in given)}
    for name, described in STAGES.items():
        assert {dep for dep in described["deps"] if not is_source(dep)} <= made, name
        made |= set(outs(name))


def test_the_stages_start_without_the_heavy_libraries():
    """So a misspelt param is told in the first second. In one process: none of them may."""
    code = f"""
import sys
from twinhead import stage
found = {{}}
for name in {sorted(STAGES)}:
    stage.load(name)
    found[name] = {{"tensorflow", "keras", "mlflow"}} & set(sys.modules)
print({{name: libraries for name, libraries in found.items() if libraries}})
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "{}", done.stderr


@pytest.mark.parametrize("name", ["sample", "index", "split"])
def test_what_needs_no_network_never_imports_one(name):
    files = code.needed(REPOSITORY / "stages" / f"{name}.py")
    used = {library.split(".")[0] for file in files for library in code.names(file)}
    assert not used & {"tensorflow", "keras", "mlflow"}


def users(library: str) -> set[str]:
    """The files of ours that import a library."""
    return {
        file.relative_to(REPOSITORY / "src/twinhead").as_posix()
        for file in SOURCES
        if any(name.split(".")[0] == library for name in code.names(file))
    }


def test_mlflow_is_known_where_runs_and_models_are_kept_alone():
    assert users("mlflow") == {"serving/pyfunc.py", "serving/registry.py"} | {
        f"tracking/{name}.py" for name in ("bridge", "live", "metrics", "runs", "store")
    }


def test_a_served_model_asks_for_every_library_that_its_code_imports():
    shipped = code.needed(registry.SERVED)
    used = {library.split(".")[0] for file in shipped for library in code.names(file)}
    foreign = used - sys.stdlib_module_names - {"twinhead", "mlflow"}
    names = {"PIL": "pillow", "ruamel": "ruamel.yaml"}
    assert {names.get(library, library) for library in foreign} == set(registry.NEEDED)


def test_the_library_knows_nothing_of_dvc():
    assert users("dvc") == set()


def test_spark_and_pyarrow_are_known_to_the_spark_job_alone():
    assert {file.partition("/")[0] for file in users("pyspark") | users("pyarrow")} == {"spark"}


def test_pickle_is_read_by_the_guarded_reader_alone():
    assert users("pickle") <= {"backbones/weights.py"}
    assert not users("joblib") | users("dill") | users("cloudpickle")
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text and "read_pickle" not in text, source


def test_imports_go_downward_only():
    # The stage runner, started as a program, imports itself as the stages know it.
    arrows = {file: code.imported(file) - {file} for file in SOURCES}
    TopologicalSorter(arrows).prepare()  # refuses a cycle


def drawn() -> dict[str, set[str]]:
    """The arrows between folders in the page's diagram of imports."""
    diagram = ARCHITECTURE.partition("## Who may import whom")[2].split("```")[1]
    found: dict[str, set[str]] = {}
    for line in re.sub(r"\[.*?\]", "", diagram).splitlines():
        sides = [side.replace("&", " ").split() for side in line.split("-->")]
        for origins, targets in pairwise(sides):
            for origin in origins:
                found.setdefault(origin, set()).update(targets)
    return found


def test_the_diagram_of_imports_has_every_folder_and_nothing_that_is_not_imported():
    library = REPOSITORY / "src/twinhead"
    folders = {file.parent.name for file in library.glob("*/__init__.py")}
    arrows, imports = drawn(), {name: set() for name in folders}
    for file in SOURCES:
        if file.parent != library:
            places = [one.relative_to(library).parts for one in code.imported(file)]
            imports[file.parent.name] |= {place[0] for place in places if len(place) > 1}
    assert set().union(arrows, *arrows.values()) == folders | {"stages"}
    for name, imported in imports.items():
        reached, todo = {name}, [name]
        while todo:
            new = arrows.get(todo.pop(), set()) - reached
            reached |= new
            todo += new
        assert imported <= reached, name
        assert arrows.get(name, set()) <= imported, name
