"""What the tests share: a small data set in MVTec AD's layout, made once, and what comes of it."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import cases
import numpy as np
import pandas as pd
import pytest
import shared
import warm
import yaml
from cases import case  # noqa: F401
from PIL import Image

from twinhead import evaluation, heap, params
from twinhead.dataset import pixels
from twinhead.dataset.store import Store
from twinhead.ingest import decoding, layout
from twinhead.partition import assignment, duplicates


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-cases", action="store_true", help="write docs/robustness.md anew")
    parser.addoption("--each", action="store_true", help="test_edits.py: one edit at a time")


def pytest_configure(config: pytest.Config) -> None:
    heap.keep_freed()
    config.addinivalue_line("markers", "case: its outcome is a row of docs/robustness.md")
    config.addinivalue_line("markers", "long: it runs pipelines of its own; `make test-long`")
    config.stash[cases.KEY] = cases.Table(config.getoption("--write-cases"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """These have targets of their own, which install more packages."""
    apart = collection_path.name in ("services", "spark") and collection_path.is_dir()
    wanted = any(collection_path.name in argument for argument in config.args)
    return True if apart and not wanted else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Modules that need the pipeline begin early, as they take a worker longest; of these the edits
    # of the code come last: they register models that other tests would find. Two workers take
    # modules in turn: while one makes the pipeline, the other has what trains by itself.
    long = {item.module.__name__ for item in items if needs_pipeline(item)}
    first = min(long, default="")
    order = [first, "test_training", "test_datasets", "test_network"]
    items.sort(
        key=lambda item: (
            order.index(item.module.__name__) if item.module.__name__ in order else len(order),
            item.module.__name__ not in long,
            item.module.__name__ == "test_edits",
            needs_pipeline(item),
        )
    )
    for item in items:
        if "case" in getattr(item, "fixturenames", ()):
            item.add_marker("case")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if forking.cache_info().currsize:
        forking().close()
    table = session.config.stash[cases.KEY]
    if (sent := getattr(session.config, "workeroutput", None)) is not None:
        sent["cases"] = table.seen
        return
    paths = everything(session.config)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = bool(reporter and reporter.stats.get("skipped"))
    table.finish(paths and exitstatus == 0, skipped)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what one of several workers has seen."""
    table = node.config.stash[cases.KEY]
    for section, rows in getattr(node, "workeroutput", {}).get("cases", {}).items():
        table.seen[section] |= rows


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After a run of all tests of which some were skipped: the rows that nobody has tried here."""
    config = terminalreporter.config
    if not everything(config) or not terminalreporter.stats.get("skipped"):
        return
    for rows in config.stash[cases.KEY].unseen().values():
        for name in rows:
            terminalreporter.write_line(f"not tried on this machine: {name}")


def everything(config: pytest.Config) -> bool:
    """Whether all tests of which some may be a case are run."""
    chosen = config.option.markexpr in ("", "case") and not config.option.keyword
    return config.args == config.getini("testpaths") and chosen


def needs_pipeline(item: pytest.Item) -> bool:
    return "finished" in getattr(item, "fixturenames", ())


REPOSITORY = Path(__file__).parents[1]
SIZE = 32
"""Pixels a side of the decoded images."""
CATEGORIES = {
    "bolt": ((150, 60, 50), (48, 48), ".png", {"scratch": 4, "big hole": 4}),
    "größe 2": ((60, 140, 60), (56, 40), ".jpg", {"riß": 8}),
    "plain": ((60, 70, 160), (33, 37), ".bmp", {}),
}
"""By name: colour, width and height, file type, images by defect type. `bolt` alone has masks."""
TRAIN_GOOD, TEST_GOOD = 10, 4


@dataclass(frozen=True)
class Built:
    root: Path
    frame: pd.DataFrame
    pixels: Store
    masks: pixels.Masks
    decoded: int


@pytest.fixture(scope="session", autouse=True)
def compiled_forms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep those of the tests' networks out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINHEAD_CACHE", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three categories of noisy, coloured images; a defect is a bright disc. Tests only read it."""
    return shared.made_once(tmp_path_factory, "inspected", render)


def render(root: Path) -> None:
    rng = np.random.default_rng(0)
    for category, (colour, size, ending, kinds) in CATEGORIES.items():
        good = {"train/good": TRAIN_GOOD, "test/good": TEST_GOOD}
        for kind, images in (good | {f"test/{name}": n for name, n in kinds.items()}).items():
            for number in range(images):
                # A TIFF here and there: file types may be mixed.
                name = f"{number:03}{'.tiff' if category == 'plain' and number % 2 else ending}"
                image, disc = photograph(rng, colour, size, defective=not kind.endswith("good"))
                save(image, root / category / kind / name)
                if category == "bolt" and disc.any():
                    mask = root / category / "ground_truth" / Path(kind).name
                    save(np.uint8(255) * disc, mask / f"{number:03}_mask.png")


def photograph(
    rng: np.random.Generator, colour: tuple[int, int, int], size: tuple[int, int], defective: bool
) -> tuple[np.ndarray, np.ndarray]:
    """An image of (width, height) = size, uint8, and the mask of its defect, bool."""
    width, height = size
    image = colour + rng.normal(0, 12, (height, width, 3))
    y, x = np.ogrid[:height, :width]
    at = rng.uniform(0.3, 0.7, 2) * (height, width)
    disc = defective & (np.hypot(y - at[0], x - at[1]) < min(size) / 5)
    image[disc] = 245
    return image.clip(0, 255).astype(np.uint8), disc


def save(image: np.ndarray, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """The data set's own copy for a test that changes it."""
    return Path(shutil.copytree(folder, tmp_path / "copied"))


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Built]:
    """Catalog and pixels of a folder, as `index` makes them."""
    return lambda root, **options: built_in(tmp_path / "built", root, **options)


@pytest.fixture(scope="session")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_in(tmp_path_factory.mktemp("built"), folder)


def built_in(target: Path, root: Path, **options: object) -> Built:
    target.mkdir(exist_ok=True)
    stored, masks, decoded = (target / name for name in ("pixels", "masks", "decoded.csv"))
    made = decoding.build(layout.scan(root), root, SIZE, stored, masks, decoded, **options)
    found = pixels.load_masks(masks, made.frame)
    return Built(root, made.frame, pixels.load(stored), found, made.decoded)


@pytest.fixture(scope="session")
def split(built: Built) -> pd.Series:
    settings = params.Split(
        protocol="random", test_fraction=0.3, val_fraction=0.2, near_duplicates=0.1, seed=1,
        group_by="", train_defects=None,
    )  # fmt: skip
    group = duplicates.groups(built.frame, settings.near_duplicates)
    return assignment.assign(built.frame, group, settings)


@pytest.fixture(scope="session")
def predictions(built: Built, split: pd.Series) -> pd.DataFrame:
    """What a poor network might have answered: 3 of 4 categories right, defects half seen."""
    rng, table = np.random.default_rng(3), built.frame[["path"]].assign(split=split)
    table[["category", "defect_type", "defective"]] = built.frame[
        ["category", "defect_type", "defective"]
    ]
    named, wrong = table["category"].to_numpy(), rng.random(len(table)) < 0.25
    table["category_predicted"] = np.where(wrong, rng.permutation(named), named)
    table["category_probability"] = rng.uniform(0.5, 1, len(table))
    table["defect_probability"] = 0.3 * table["defective"] + rng.uniform(0, 0.7, len(table))
    return table


def judge(
    predictions: pd.DataFrame,
    resamples: int = 100,
    crossfit: pd.DataFrame | None = None,
    rule: str = "f1",
    value: float | None = None,
    review: float | None = None,
) -> dict:
    """`evaluation.judge` with these settings; cross-fitted answers where some are given."""
    settings = params.Evaluate.model_construct(
        operating_point=params.OperatingPoint(rule=rule, value=value, review=review),
        bootstrap=resamples,
    )
    return evaluation.judge(
        predictions, predictions.iloc[:0] if crossfit is None else crossfit, settings
    )


@pytest.fixture(scope="session")
def metrics(predictions: pd.DataFrame) -> dict:
    return judge(predictions)


def apart(category: str) -> float:
    """How much two engines' defect probabilities may differ.

    `plain` is judged by good images alone, which hardly differ: the last digits of distances count.
    """
    return 2e-4 if category == "plain" else 1e-4


SHRUNK = {
    "data": {"image_size": SIZE},
    "model": {"memory": 50},
    "train": {"epochs": 2},
    "evaluate": {"bootstrap": 100},
    "embed": {"iterations": 250},
    "explain": {"images_per_category": 1},
    "export": {"int8": False},  # tests/test_edge.py has it
}
"""What makes the pipeline fast enough to be tested; all else is as shipped."""
STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
FOREIGN = re.compile("AWS_|MLFLOW_|DVC_|GIT_|PG[A-Z]")


def environment(**variables: str) -> dict[str, str]:
    """A user's environment, whatever this process has set: MLflow writes its store into its own."""
    kept = {name: text for name, text in os.environ.items() if not FOREIGN.match(name)}
    return kept | variables


def free_port() -> int:
    """One of the loopback, on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@cache
def forking() -> warm.Programs:
    return warm.Programs(Path(tempfile.mkdtemp(prefix="warm")))


@dataclass(frozen=True)
class Workspace:
    """A git and DVC repository with the whole pipeline, as a user has it."""

    root: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a user would; Python and DVC by forks, which begin sooner."""
        started = self.start(*command, programs=forking().folder, **variables)
        said, _ = started.communicate()
        return subprocess.CompletedProcess(command, started.returncode, said)

    def start(
        self,
        *command: str,
        group: bool = False,
        stdout: int | IO[str] = subprocess.PIPE,
        programs: Path = Path(sys.executable).parent,
        **variables: str,
    ) -> subprocess.Popen[str]:
        """Start it, without waiting for its end; as a process group of its own, if asked.

        programs: the folder where it looks first for `python` and `dvc`.
        """
        places = (programs, Path(sys.executable).parent, os.environ["PATH"])
        path = os.pathsep.join(map(str, places))
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=environment(**{"PATH": path, "PYTHONPATH": "src"} | variables),
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=group,
        )

    def dvc(self, *arguments: str) -> str:
        """Run a DVC command that must succeed; return what it says."""
        done = self.run("dvc", *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def git(self, *arguments: str) -> None:
        name = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        done = self.run("git", *name, *arguments)
        assert done.returncode == 0, done.stdout

    def restore(self) -> None:
        """Take the last commit's files and outputs again, as a user does after a failure."""
        self.git("reset", "--quiet", "--hard")
        self.dvc("checkout", "--quiet", "--force", "--with-deps", "report")

    def set(self, changes: dict[str, dict[str, object]]) -> None:
        """Change params.yaml, by section."""
        file = self.root / "params.yaml"
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
        for section, values in changes.items():
            tree[section] |= values
        file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="session")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository in which `dvc repro report` has run once, and its results are committed."""

    def make(place: Path) -> None:
        workspace = begun(place / "twinhead", folder)
        workspace.dvc("repro", "report")
        workspace.git("add", ".")
        workspace.git("commit", "--quiet", "--message", "First results")

    made = shared.made_once(tmp_path_factory, "finished", make) / "twinhead"
    workspace = Workspace(tmp_path_factory.mktemp("workspace") / "twinhead")
    shared.copy_workspace(made, workspace.root)
    return workspace


@pytest.fixture(scope="session")
def paper(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same images through the paper's network, which is trained in a second; without DVC.

    Tests only read its files, and none of them its MLflow store.
    """

    def make(place: Path) -> None:
        made = copied_files(finished, place / "twinhead")
        made.set({"model": {"backbone": "cnn"}})
        stages = [name for name in STAGES if name not in ("sample", "index", "split")]
        code = f"import sys; sys.path[:0] = ['src', {str(Path(__file__).parent)!r}]; import room\n"
        code += f"for name in {stages}: assert room.run(name)[0] == 0, name"
        done = made.run("python", "-c", code, DVC_ROOT=str(made.root))
        assert done.returncode == 0, done.stdout

    return Workspace(shared.made_once(tmp_path_factory, "paper", make) / "twinhead")


def outputs(workspace: Workspace) -> dict[str, str]:
    """The digest of every file that the stages leave."""
    found = {}
    for name in set(STAGES) - {"sample"}:
        for out in STAGES[name]["outs"]:
            path = workspace.root / (out if isinstance(out, str) else next(iter(out)))
            inside = filter(Path.is_file, sorted(path.rglob("*")))
            for file in inside if path.is_dir() else [path]:
                digest = sha256(file.read_bytes()).hexdigest()
                found[str(file.relative_to(workspace.root))] = digest
    return found


def forget_training(workspace: Workspace) -> None:
    """Take away what `train` has left."""
    for file in (workspace.root / "models").glob("*.keras"):
        file.unlink()


def copied_files(workspace: Workspace, root: Path) -> Workspace:
    """The workspace's files without DVC's cache: stages can be run there by themselves."""
    shutil.copytree(workspace.root, root, ignore=shutil.ignore_patterns(".dvc"))
    (root / ".dvc").mkdir()
    return Workspace(root)


def begun(root: Path, folder: Path) -> Workspace:
    """A repository in which nothing has run yet, for the images in `folder`."""
    workspace = Workspace(root)
    workspace.root.mkdir()
    for name in ("src", "stages"):
        shutil.copytree(
            REPOSITORY / name, workspace.root / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    settings = [
        "dvc.yaml",
        "params.yaml",
        "docs/comparison.md",
        "docs/labels/curve.png",
        "docs/labels/table.md",
        "data/answers.csv",
        "data/round.csv",
        "requirements.lock",
        ".gitignore",
        ".dvcignore",
        ".dvc/config",
    ]
    ignored = [".dvc", "data", "models", "reports", "reports/plots"]
    for name in settings + [f"{folder}/.gitignore" for folder in ignored]:
        (workspace.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, workspace.root / name)
    (workspace.root / "metrics").mkdir()
    workspace.set(SHRUNK | {"data": SHRUNK["data"] | {"root": str(folder)}})
    workspace.git("init", "--quiet")
    workspace.git("add", ".")
    workspace.git("commit", "--quiet", "--message", "Begin")
    return workspace


@pytest.fixture
def workspace(finished: Workspace) -> Iterator[Workspace]:
    """The finished repository for a test that changes it; it is put back after the test."""
    yield finished
    finished.restore()
