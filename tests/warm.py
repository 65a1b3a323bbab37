"""Python processes that needn't import the large libraries: each is forked from one that has.

TensorFlow, scikit-learn, MLflow and DVC take a process ten seconds to import, and the suite starts
some hundreds. `python` and `dvc` in `Programs.folder` hand their arguments, folder, environment and
open files to a server, which forks. Nothing of Twinhead is imported before the fork, as each
workspace has its own code. One that is killed takes its fork along; what gets other signals, or is
compared between processes, begins without it.
"""

import gc
import importlib
import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Process, get_context
from multiprocessing.connection import wait
from pathlib import Path

import numpy

FORK = get_context("fork")

LIBRARIES = (
    "dvc.cli", "dvc.repo", "dvc.commands.repro", "matplotlib.pyplot", "mlflow", "openvino",
    "pandas", "sklearn.ensemble", "sklearn.linear_model", "sklearn.manifold", "tensorflow",
)  # fmt: skip
QUIET = {"GRPC_VERBOSITY": "NONE", "MLFLOW_LOGGING_LEVEL": "WARNING", "TF_CPP_MIN_LOG_LEVEL": "3"}
"""What src/twinhead sets before it imports them."""
CLIENT = """#!{python} -IS
import json, os, socket, sys
if {program!r} == "python" and sys.argv[1:2] not in (["-m"], ["-c"]):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    task = json.dumps([{program!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(task).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(task)
    answer = server.recv(4) or sys.exit("no answer from tests/warm.py")
code = int.from_bytes(answer, "big", signed=True)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Programs:
    """A folder with the programs, and the server that answers them."""

    def __init__(self, folder: Path) -> None:
        self.folder, address = folder / "bin", str(folder / "socket")
        self.folder.mkdir()
        for program in ("python", "dvc"):
            file = self.folder / program
            file.write_text(CLIENT.format(python=sys.executable, program=program, address=address))
            file.chmod(0o755)
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import warm"
        code += f"; warm.serve({address!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=QUIET | {name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.PIPE,  # its end ends the server, however the tests end
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """End the server, and take the folder away."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder.parent)


def serve(address: str) -> None:
    """Import, say `ready`, and fork for each client until stdin is closed."""
    path = [entry for entry in sys.path if entry not in ("", str(Path(__file__).parent))]
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    forks: dict[socket.socket, Process] = {}
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while sys.stdin not in (ready := wait([listening, sys.stdin, *_ends(forks)])):
            for client in forks.keys() & set(ready):  # which has gone: it was killed
                forks[client].kill()
            for client, process in list(forks.items()):
                if client in ready or process.sentinel in ready:
                    process.join()
                    del forks[client]
                    with client, suppress(BrokenPipeError):
                        client.sendall(process.exitcode.to_bytes(4, "big", signed=True))
            if listening in ready:
                client, _ = listening.accept()
                task, files = _asked(client)
                forks[client] = FORK.Process(target=_become, args=(task, files, path))
                forks[client].start()
                for file in files:
                    os.close(file)


def _ends(forks: dict[socket.socket, Process]) -> list[socket.socket | int]:
    """What is ready when a client or its fork has ended."""
    return [*forks, *(process.sentinel for process in forks.values())]


def _asked(client: socket.socket) -> tuple[bytes, list[int]]:
    """What a client asks for, and its stdin, stdout and stderr."""
    head, files, _, _ = socket.recv_fds(client, 8, 3)
    length, task = int.from_bytes(head, "big"), b""
    while len(task) < length:
        task += client.recv(length - len(task))
    return task, files


def _become(task: bytes, files: list[int], path: list[str]) -> None:
    """Run what was asked for, as a process of its own would."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0)
    program, arguments, folder, environment = json.loads(task)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    numpy.random.seed()
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = ["", *(os.path.abspath(entry) for entry in given if entry), *path]
    if program == "dvc":
        sys.argv = ["dvc", *arguments]
        sys.exit(importlib.import_module("dvc.cli").main(arguments))
    kind, code, *rest = arguments
    sys.argv = [kind, *rest]
    if kind == "-m":
        runpy.run_module(code, run_name="__main__", alter_sys=True)
    else:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
