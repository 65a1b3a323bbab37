"""The commands beside the pipeline: `twinhead predict`, `watch`, `spark`, `review`, `improved`,
`drift`, `champion`, `track` and `ui`.

`predict` and `watch` with an exported model need NumPy, Pillow and OpenVINO alone: what else there
is, is imported by the command that needs it.
"""

import argparse
import os
import sys
from pathlib import Path

from twinhead import errors, paths, stage
from twinhead.drift import FALSE_ALARMS
from twinhead.serving import formats, predict, watch
from twinhead.spark import COMMIT, MASTER

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

    paths.require(paths.REPORT)
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


def spark(options: argparse.Namespace) -> int:
    """Answer for very many photographs on Spark."""
    from twinhead.spark import command

    return command.spark(options)


def review(options: argparse.Namespace) -> int:
    """Ask about photographs on a local page."""
    from twinhead.review import command

    return command.review(options)


def improved(options: argparse.Namespace) -> int:
    """Say whether the last round of answers helped."""
    from twinhead.review import improvement  # with scikit-learn, which takes a second

    return improvement.improved(options)


def drift(options: argparse.Namespace) -> int:
    """Compare a folder's photographs with those that the network knows."""
    from twinhead.drift import command

    return command.drift(options)


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
        epilog="It ends with 0 if every photograph was read, 1 if some could not be, or not be"
        " drawn (they are named, the rest is answered), 2 if nothing could be done, and with"
        " --check 3 if one is defective or unknown.",
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
    add(
        "--threshold",
        metavar="P",
        type=_probability,
        help="call defective what reaches this probability, instead of the model's thresholds",
    )
    add("--overlays", metavar="FOLDER", type=Path, help="draw each photograph's heat map there")
    _add_model(command)
    add("--check", action="store_true", help="end with 3 if a photograph is defective or unknown")

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

    about = "answer for very many photographs on Spark, each once, as Parquet by category"
    command = commands.add_parser(
        "spark",
        help=about,
        description=f"{about.capitalize()}. A run that was killed is gone on with by the same"
        " command, and so is a folder that has grown.",
        epilog="It ends with 0 if every new photograph was read, 1 if some could not be, or not be"
        " drawn, and 2 if it could not be done or finished.",
    )
    command.set_defaults(command=spark)
    add = command.add_argument
    add("source", metavar="SOURCE", help="a folder that all workers see, or s3a://bucket/prefix")
    add("target", metavar="TARGET", help="a folder of its own, or s3a://bucket/prefix")
    add("--heatmaps", metavar="PLACE", help="draw each photograph's heat map there: as TARGET")
    add("--master", metavar="URL", default=MASTER, help="of Spark (default: %(default)s)")
    add("--conf", metavar="NAME=VALUE", action="append", default=[], help="Spark's, repeatable")
    add(
        "--commit",
        metavar="N",
        type=int,
        default=COMMIT,
        help="photographs whose answers are written at a time (default: %(default)s)",
    )
    _add_export(command)

    about = "ask on a local page what is right about photographs, the most telling first"
    command = commands.add_parser("review", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(command=review)
    add = command.add_argument
    add("folder", metavar="FOLDER", nargs="?", type=Path, help="photographs; else train and val")
    add("--who", metavar="NAME", default="", help="who answers (default: your user name)")
    add("--port", metavar="PORT", type=int, default=0, help="of the page (default: a free one)")
    add("--no-open", dest="open", action="store_false", help="open no browser")
    _add_model(command, "")

    about = "say whether the last round of answers has made the network better"
    command = commands.add_parser("improved", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(command=improved)

    about = "say whether photographs still look like those that the network knows"
    command = commands.add_parser(
        "drift",
        help=about,
        description=f"{about.capitalize()}.",
        epilog="It ends with 0 if they do, 1 if something has drifted, and 2 if nothing could be"
        " said.",
    )
    command.set_defaults(command=drift)
    add = command.add_argument
    add("folder", metavar="FOLDER", type=Path, help="photographs of the line, good or not")
    add("--since", metavar="TIME", help="only those written since 2026-01-31, or 12h, 7d, 2w ago")
    add("--last", metavar="N", type=int, help="only the last N of them")
    add(
        "--false-alarms",
        metavar="SHARE",
        type=float,
        default=FALSE_ALARMS,
        help="share of undisturbed checks that say drift, by the tests' theory (default:"
        " %(default)s)",
    )
    add("--plot", metavar="FILE", type=Path, help="draw each measure, now and usual")
    add("--page", metavar="FILE", type=Path, help="write a page: what was answered, what drifted")
    add(
        "--jsonl",
        metavar="FILE",
        type=Path,
        help="the answers of `watch` for the page (default: FOLDER.jsonl, where it is there)",
    )
    add("--json", metavar="FILE", type=Path, help="write the tests as JSON; - for the terminal")
    add("--track", action="store_true", help="add the numbers to the workspace's MLflow run")
    _add_export(command)

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


def _add_model(command: argparse.ArgumentParser, exported: str = f" its {paths.EDGE},") -> None:
    """Add --model; exported: the words for the exported models, where the command takes them."""
    command.add_argument(
        "--model",
        metavar="MODEL",
        default=str(paths.MODEL),
        help=f"{paths.MODEL} of a workspace,{exported} the folder of an MLflow model, or"
        " one of the registry such as models:/twinhead@champion (default: %(default)s)",
    )


def _add_export(command: argparse.ArgumentParser) -> None:
    """Add --model to a command that an exported model answers."""
    command.add_argument(
        "--model",
        metavar="MODEL",
        default=str(paths.EDGE),
        help="an export, the folder of an MLflow model that has one, or one of the registry such"
        " as models:/twinhead@champion (default: %(default)s)",
    )


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
