"""`twinhead review`: gather the photographs, open the page, and wait until it is finished."""

import contextlib
import getpass
import socket
import webbrowser
from argparse import Namespace
from pathlib import Path

from twinhead import errors, params, paths, stage
from twinhead.errors import InputError
from twinhead.export import manifest
from twinhead.ingest import answers
from twinhead.review import HOST
from twinhead.serving import ARTIFACTS, formats
from twinhead.serving.photographs import find


def review(options: Namespace) -> int:
    """Ask about photographs until the reviewer ends it. Raises InputError where that can't be."""
    if options.folder is not None and not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder; expected one of photographs")
    _check_port(options.port)
    given = answers.read(paths.ANSWERS)
    who = _name(options.who or _user())
    of_registry = Path(options.model).resolve() != paths.MODEL.resolve()
    if (Path(options.model) / manifest.FILE).is_file():
        raise InputError(f"review needs {paths.MODEL}, not an export")
    settings = params.load() if paths.PARAMS.exists() else None
    if options.folder is None and settings is None:
        raise InputError("there is no params.yaml here; name a folder of photographs")
    if options.folder is not None:
        next(find([str(options.folder)]))  # says so where there is none
    print("review: loading the network", flush=True)
    with stage.loading():
        from twinhead.review import held_out, photographs, server
        from twinhead.serving import models, predictor

    known = None
    if settings is not None and paths.CATALOG.exists() and not of_registry:
        known = photographs.workspace(settings)
    with models.located(options.model) as place:
        network = predictor.load(place)
        file = place / ARTIFACTS / paths.MODEL.name if place.is_dir() else place
        model = held_out.digest(file)
    photographs.looker(network)
    candidates = photographs.gather(network, model, known, options.folder, given)
    for fault in candidates.unread:
        print(f"review: {formats.printable(fault)}", flush=True)
    if candidates.table.empty:
        print("review: nothing to ask about: every photograph has its answer")
        return 0
    root = Path(settings.data.root) if settings is not None else None
    sitting = server.Review(candidates, who, paths.ANSWERS, paths.REVIEWED, root)
    with server.Server(sitting, options.port) as served:
        print(f"review: {len(candidates.table):,} photographs to ask about")
        print(f"review: {served.address}", flush=True)
        if options.open:
            webbrowser.open(served.address)
        with contextlib.suppress(KeyboardInterrupt):
            served.serve_forever()
    count = len(sitting.given)
    given = f"{count} answer{'' if count == 1 else 's'}"
    print(f"review: {given} in {paths.ANSWERS}" + ("; next: dvc repro" if count else ""))
    most = settings.split.train_defects if settings is not None else None
    if most is not None and any(row["label"] == answers.DEFECTIVE for _, row in sitting.given):
        print(
            f"review: split.train_defects is {most}: no more defects of a category are trained on;"
            " null takes all"
        )
    return 0


def _check_port(port: int) -> None:
    """Before the network is loaded and photographs are looked at, which may take minutes."""
    if not 0 <= port <= 65_535:
        raise InputError(f"--port is {port}; expected 0 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does it
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"--port {port}: {error.strerror}") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return "someone"


def _name(who: str) -> str:
    if not who.isprintable() or not 0 < len(who.strip()) <= answers.MAX_NAME:
        raise InputError(f"--who is {errors.shown(who)}; expected a name")
    return who.strip()
