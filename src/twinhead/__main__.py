"""The commands beside the pipeline: `twinhead predict`, `champion`, `track` and `ui`."""

import argparse
import os
import sys
from pathlib import Path

from twinhead import errors, params, paths, stage
from twinhead.errors import InputError
from twinhead.serving import predict

FAILED = 2
"""How a command ends that could not do its work; not understood, argparse ends so too."""


def track(options: argparse.Namespace) -> int:
    """Send what this workspace holds to its MLflow run, where that lacks it."""
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
    with stage.loading():
        from twinhead.tracking import store, ui

    settings, kept = params.load(), store.address()
    served = not kept.startswith("sqlite")
    address = kept if served else "http://127.0.0.1:5000"
    print(f"ui: compare the runs at {address}/{ui.link(store.reach(settings))}")
    if served:
        return 0
    sys.stdout.flush()
    os.execvp("mlflow", ["mlflow", "ui", "--backend-store-uri", kept])


def champion(options: argparse.Namespace) -> int:
    """List the registered models, or make one of them champion."""
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
            print(f"{name}: error: {line}", file=sys.stderr)
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
    add("--overlays", metavar="FOLDER", type=Path, help="draw each photograph's heat map there")
    add(
        "--model",
        metavar="MODEL",
        default=str(paths.MODEL),
        help="models/model.keras of a workspace, the folder of an MLflow model, or one of the"
        " registry such as models:/twinhead@champion (default: %(default)s)",
    )
    add(
        "--threshold",
        metavar="P",
        type=_probability,
        help="call defective what reaches this probability, instead of the model's thresholds",
    )
    add("--check", action="store_true", help="end with 3 if a photograph shows a defect")

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


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability, 0 to 1, found {text!r}")
    return value


if __name__ == "__main__":
    main()
