"""dvc.yaml against the code: a stage re-runs for all that it reads, and for nothing else."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

from twinhead import params, paths, registry, summary

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
    paths.FEATURES: "features",
    **dict.fromkeys([paths.MODEL, paths.CHECKPOINT, paths.HISTORY], "train"),
    **dict.fromkeys([paths.PREDICTIONS, paths.CHARTS, paths.HEAD_INPUTS], "evaluate"),
    paths.EMBEDDING: "embed",
    **dict.fromkeys([paths.EXPLANATIONS, paths.GRADCAM], "explain"),
    paths.REPORT: "report",
}
"""Which stage makes what twinhead.paths names."""
PERSISTENT = {paths.PIXELS, paths.MASKS, paths.DECODED, paths.REPORT}
"""What `index` reads of its own last run, and what may not come from DVC's run cache."""
NO_PRODUCTS = {
    paths.PARAMS,
    paths.COMPARISON,
    paths.TRAINING_STATE,
    paths.METRICS,
    paths.REPORTS,
    paths.PLOTS,
}
each_stage = pytest.mark.parametrize("name", STAGES)


def outs(name: str) -> dict[str, dict]:
    """A stage's outputs with their options."""
    listed = [out if isinstance(out, dict) else {out: {}} for out in STAGES[name]["outs"]]
    return {path: options for out in listed for path, options in out.items()}


def imported(source: Path) -> set[str]:
    """The dotted names that a file imports, anywhere in it: modules, or what is in them."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{source}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(source: Path) -> set[Path]:
    """The files of this package that a file asks for by name."""
    found = set()
    for name in imported(source):
        place = REPOSITORY.joinpath("src", *name.split("."))
        tried = (place, place.parent)  # the module itself, or the one that holds the name
        files = [f for p in tried for f in (p.with_suffix(".py"), p / "__init__.py") if f.is_file()]
        found |= set(files[:1])
    return found


def reached(source: Path) -> set[Path]:
    """All files of this package that importing a file runs, those of the packages included."""
    todo, seen = [source], set()
    while todo:
        new = ours(todo.pop())
        new |= {p / "__init__.py" for f in new for p in f.parents if (p / "__init__.py").is_file()}
        todo += new - seen
        seen |= new
    return seen


def beside(source: Path) -> set[Path]:
    """The files that a package has beside its modules, such as a style sheet."""
    if source.name != "__init__.py":
        return set()
    return {file for file in source.parent.glob("*.*") if file.suffix != ".py"}


def is_source(dependency: str) -> bool:
    return dependency.startswith(("src/", "stages/"))


@each_stage
def test_a_stage_depends_on_its_script_and_every_module_that_it_imports(name):
    script = REPOSITORY / "stages" / f"{name}.py"
    files = reached(script) | {script}
    if name == "report":  # it ships the served model's code
        served = REPOSITORY / "src/twinhead/served.py"
        files |= reached(served) | {served}
    files |= {found for file in files for found in beside(file)}
    expected = {file.relative_to(REPOSITORY).as_posix() for file in files}
    assert set(filter(is_source, STAGES[name]["deps"])) == expected


@each_stage
def test_file_stage_and_function_share_one_name(name):
    assert STAGES[name]["cmd"].split() == ["PYTHONPATH=src", "python", f"stages/{name}.py"]
    tree = ast.parse((REPOSITORY / "stages" / f"{name}.py").read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_script_is_a_stage():
    assert {file.stem for file in (REPOSITORY / "stages").glob("*.py")} == set(STAGES)


@each_stage
def test_a_stage_has_its_own_section_of_params(name):
    own = {"index": "data", "report": "tracking"}.get(name, name)
    assert own in {key.split(".")[0] for key in STAGES[name]["params"]}


def test_every_section_of_params_is_some_stage_s():
    keys = [key for stage in STAGES.values() for key in stage["params"]]
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
    assert PIPELINE["metrics"] == [paths.summary(name).as_posix() for name in summary.COLUMNS]
    for name in summary.COLUMNS:
        assert {paths.metrics(name).as_posix(), paths.summary(name).as_posix()} <= set(outs(name))


def test_plots_are_outputs():
    made = {out for name in STAGES for out in outs(name)}
    for plot in PIPELINE["plots"]:
        (described,) = [plot] if isinstance(plot, str) else plot.values()
        shown = [described] if isinstance(described, str) else described["y"]
        assert all({path, Path(path).parent.as_posix()} & made for path in shown)


def test_every_dependency_that_is_data_is_an_earlier_stage_s_output():
    made = {"${data.root}", paths.COMPARISON.as_posix()}
    for name, stage in STAGES.items():
        assert {dep for dep in stage["deps"] if not is_source(dep)} <= made, name
        made |= set(outs(name))


@each_stage
def test_a_stage_starts_without_the_heavy_libraries(name):
    """So a misspelt param is told in the first second."""
    heavy = "{'tensorflow', 'keras', 'mlflow'} & set(sys.modules)"
    code = f"import sys; sys.path.insert(0, 'stages'); import {name}; sys.exit(str({heavy} or 0))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert done.stderr.strip() == "0"


@pytest.mark.parametrize("name", ["sample", "index", "split"])
def test_what_needs_no_network_never_imports_one(name):
    files = reached(REPOSITORY / "stages" / f"{name}.py")
    used = {library.split(".")[0] for file in files for library in imported(file)}
    assert not used & {"tensorflow", "keras", "mlflow"}


def users(library: str) -> set[str]:
    """The files of ours that import a library."""
    return {
        file.relative_to(REPOSITORY / "src/twinhead").as_posix()
        for file in SOURCES
        if any(name.split(".")[0] == library for name in imported(file))
    }


def test_mlflow_is_known_where_runs_and_models_are_kept_alone():
    assert users("mlflow") == {"tracking.py", "registry.py", "served.py"}


def test_a_served_model_asks_for_every_library_that_its_code_imports():
    files = reached(REPOSITORY / "src/twinhead/served.py") | {REPOSITORY / "src/twinhead/served.py"}
    used = {library.split(".")[0] for file in files for library in imported(file)}
    foreign = used - sys.stdlib_module_names - {"twinhead", "mlflow"}
    names = {"PIL": "pillow", "yaml": "pyyaml"}
    assert {names.get(library, library) for library in foreign} == set(registry.NEEDED)


def test_the_library_knows_nothing_of_dvc():
    assert users("dvc") == set()


def test_pickle_is_read_by_the_guarded_reader_alone():
    assert users("pickle") <= {"backbones/weights.py"}
    assert not users("joblib") | users("dill") | users("cloudpickle")
    for source in SOURCES:
        code = source.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in code and "read_pickle" not in code, source


def test_imports_go_downward_only():
    TopologicalSorter({file: ours(file) for file in SOURCES}).prepare()  # refuses a cycle
