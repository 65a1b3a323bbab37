"""Run stages one after the other in one process, some of them without room for their outputs.

tests/test_faults.py starts it in a workspace and in a namespace of its own, where each folder of
outputs lies on a small disk. One process: each would take seconds to import TensorFlow.
"""

import contextlib
import io
import json
import resource
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

FILLER = "filler"


def run(stage: str) -> tuple[int, str]:
    """Run a stage's script; return its exit code and what it said."""
    from twinhead import stage as runner  # from the workspace's own src/

    said, sys.argv = io.StringIO(), ["twinhead.stage", stage]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runner.main()
            code = 0
        except SystemExit as end:
            code = 1
            said.write(f"{end.code}\n")  # as Python does it at a process' end
    if keras := sys.modules.get("keras"):
        keras.backend.clear_session()  # else the names of layers would go on counting
    return code, said.getvalue()


def mount(folder: str) -> None:
    """Put a folder on a disk of its own."""
    shutil.move(folder, f"{folder}.moved")
    Path(folder).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", folder], check=True)
    shutil.copytree(f"{folder}.moved", folder, dirs_exist_ok=True)


def put_back(folder: str) -> None:
    shutil.rmtree(f"{folder}.moved")
    shutil.copytree(folder, f"{folder}.moved")
    subprocess.run(["umount", "--lazy", folder], check=True)  # memory maps still hold its files
    Path(folder).rmdir()
    shutil.move(f"{folder}.moved", folder)


@contextlib.contextmanager
def fault(kind: str, place: str | int):
    """A disk that is `full` or `read-only`, or a `limit` to the bytes of a file."""
    filler = Path(str(place)) / FILLER
    if kind == "full":
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
    elif kind == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    elif kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (place, resource.RLIM_INFINITY))
    yield
    if kind == "full":
        filler.unlink()
    elif kind == "read-only":
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
    elif kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


def contents(folders: list[str]) -> dict[str, str]:
    """Each file's digest, but for the state that lets a training go on."""
    found = [file for folder in folders for file in Path(folder).rglob("*") if file.is_file()]
    return {
        str(file): sha256(file.read_bytes()).hexdigest()
        for file in found
        if ".training" not in file.parts
    }


def main() -> None:
    """Take tasks (stage, fault, place) and write for each what came of it to answers.json."""
    tasks, answers = json.loads(sys.argv[1]), []
    sys.path.insert(0, "src")
    folders = ["data", "metrics", "models", "reports"]
    for folder in folders:
        mount(folder)
    before = contents(folders)
    for stage, kind, place in tasks:
        with fault(kind, place):
            code, said = run(stage)
        # What is there is as it was, or not at all.
        spoilt = sorted(set(contents(folders).items()) - set(before.items()))
        answers.append({"code": code, "said": said, "spoilt": spoilt})
    for folder in folders:
        put_back(folder)
    Path("answers.json").write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
