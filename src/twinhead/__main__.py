"""The commands beside the pipeline: `twinhead predict`, `watch`, `champion`, `track` and `ui`.

`predict` and `watch` with an exported model need NumPy, Pillow and OpenVINO alone: what else there
is, is imported by the command that needs it.
"""

import argparse
import os
import sys
from pathlib import Path

from twinhead import errors, paths, stage
from twinhead.errors import InputError
from twinhead.serving import formats, predict, watch

FAILED = 2
"""How a command ends that could not do its work; not understood, argparse ends so too."""


def track(options: argparse.Namespace) -> int:
    """Send what this workspace holds to its MLflow run, where that lacks it."""
    from twinhead import params

    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.serving import registry
        from twinhead.tracking import store

    if not paths.REPORT.exists():
        raise InputError(f"{paths.REPORT} is missing; run `dvc repro` or `dvc checkout` first")
    tracking.record("report", settings, last=registry.keep)
    print(f"track: runs are in {store.address()}")
    return 0


def ui(options: argparse.Namespace) -> int:
    """Open the MLflow UI on the pipeline's own store."""
    from twinhead import params

    settings = params.load()
    with stage.loading():
        from twinhead.tracking import store, ui

    kept = store.address()
    served = not kept.startswith("sqlite")
    address = kept if served else "http://127.0.0.1:5000"
    print(f"ui: compare the runs at {address}/{ui.link(store.reach(settings))}")
    if served:
        return 0
    sys.stdout.flush()
    os.execvp("mlflow", ["mlflow", "ui", "--backend-store-uri", kept])


def champion(options: argparse.Namespace) -> int:
    """List the registered models, or make one of them champion."""
    from twinhead import params

    settings = params.load()
    with stage.loading():
        from twinhead.serving import registry

    wanted = options.version
    print(registry.listing(settings) if wanted is None else registry.crown(settings, wanted))
    return 0


def main() -> None:
    """Run the command that the command line names."""
    options = _parser().parse_args()
    name = options.command.__name__
    try:
        sys.exit(options.command(options))
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(stage.INTERRUPTED)
    except BrokenPipeError:  # as `| head` does it; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:
        message = errors.message(error)
        if message is None:
            raise
        for line in message.splitlines():
            print(f"{name}: error: {formats.printable(line)}", file=sys.stderr)
        sys.exit(FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "twinhead", description="Says what a photographed product is and whether it is defective."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    about = "say of photographs what they show and whether it is defective"
    command = commands.add_parser(
        "predict",
        help=about,
        description=f"{about.capitalize()}.",
        epilog="It ends with 0 if every photograph was read, 1 if some could not be (they are"
        " named, the rest is answered), 2 if nothing could be done, and with --check 3 if one is"
        " defective.",
    )
    command.set_defaults(command=predict.predict)
    add = command.add_argument
    add("paths", metavar="PATH", nargs="+", help="file, folder or pattern such as 'photos/*.png'")
    add("--csv", metavar="FILE", type=Path, help="write the answers as CSV; - for the terminal")
    add("--json", metavar="FILE", type=Path, help="write the answers as JSON; - for the terminal")
    add("--jsonl", metavar="FILE", type=Path, help="write them as JSON lines; - for the terminal")
    add(
        "--resume",
        action="store_true",
        help="go on with the file of --csv or --jsonl: what stands in it isn't answered again",
    )
    add("--overlays", metavar="FOLDER", type=Path, help="draw each photograph's heat map there")
    _add_model(command)
    add("--check", action="store_true", help="end with 3 if a photograph shows a defect")

    about = "answer each photograph that comes to a folder, until Ctrl-C"
    command = commands.add_parser(
        "watch",
        help=about,
        description=f"{about.capitalize()}. An answer is a line of JSON, on the terminal and in a"
        " file; what stands in the file isn't answered again.",
    )
    command.set_defaults(command=watch.watch)
    add = command.add_argument
    add("folder", metavar="FOLDER", type=Path, help="where photographs come to; also below it")
    add(
        "--jsonl",
        metavar="FILE",
        type=Path,
        help="the file of answers (default: beside the folder, FOLDER.jsonl)",
    )
    add(
        "--patience",
        metavar="SECONDS",
        type=float,
        default=watch.PATIENCE,
        help="how long a file that can't be decoded may still be written (default: %(default)s)",
    )
    add("--heatmaps", metavar="FOLDER", type=Path, help="draw each photograph's heat map there")
    _add_model(command)

    about = "list the registered models, or make one of them champion"
    command = commands.add_parser("champion", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(command=champion)
    command.add_argument(
        "version", metavar="RUN_OR_VERSION", nargs="?", help="version, run id or run name"
    )

    for function, about in (
        (track, "send this workspace's results to MLflow, where its run lacks them"),
        (ui, "open the MLflow UI on the pipeline's own store"),
    ):
        command = commands.add_parser(
            function.__name__, help=about, description=f"{about.capitalize()}."
        )
        command.set_defaults(command=function)
    return parser


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        metavar="MODEL",
        default=str(paths.MODEL),
        help="models/model.keras of a workspace, its models/edge, the folder of an MLflow model, or"
        " one of the registry such as models:/twinhead@champion (default: %(default)s)",
    )


if __name__ == "__main__":
    main()
