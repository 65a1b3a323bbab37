"""A small machine: Python with NumPy, Pillow and OpenVINO, and nothing else."""

import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY, environment

INSTALLED = ("PIL", "numpy", "openvino", "twinhead")
ALONE = f"""
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        known = {{*sys.stdlib_module_names, *{INSTALLED}}}
        if path is None and name not in known and not name.startswith("_"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""
"""After this, importing any other package fails, as where it isn't installed."""
TWINHEAD = "from twinhead.__main__ import main; main()"
"""What the command `twinhead` runs."""


def start(code: str, *arguments: object, folder: Path, **options: object) -> subprocess.Popen[str]:
    """Start Python code there."""
    return subprocess.Popen(
        command(code, *arguments),
        cwd=folder,
        env=environment(PYTHONPATH=str(REPOSITORY / "src")),
        stdout=subprocess.PIPE,
        text=True,
        **{"stderr": subprocess.PIPE, **options},
    )


def run(code: str, *arguments: object, folder: Path) -> tuple[int, str, str]:
    """Run Python code there: its exit code, stdout and stderr."""
    process = start(code, *arguments, folder=folder)
    out, err = process.communicate()
    return process.returncode, out, err


def command(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", ALONE + code, *map(str, arguments)]
