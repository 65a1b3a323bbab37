"""What does each stage cost, in seconds and memory, as the number of images grows?

Renders MVTec AD's counts (5,354 images of 1024 × 1024, twenty minutes on two cores), takes the
first of each folder for the smaller sizes, and runs every stage as its own process. "memory" is the
peak of what the process holds for itself; pages of files that are mapped, which the system takes
back when it needs room, are beside it.

    python benchmarks/size.py [--images 600 1200 2400 5354] [--photos FOLDER] [-S KEY=VALUE]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from twinhead import sample

STAGES = ("index", "split", "features", "train", "evaluate", "embed", "explain", "plots", "report")
REPOSITORY = Path(__file__).resolve().parents[1]
GIB = 2**20  # in the kibibytes of /proc


def main(sizes: list[int], photos: Path | None, changes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if photos is None:
            photos = Path(folder) / "photos"
            sample.render(photos, max(sizes), 1024)
        print("| images | stage | seconds | memory, GiB | with mapped files, GiB |")
        print("|---|---|---|---|---|")
        for size in sizes:
            workspace = Path(folder) / str(size)
            take(photos, size, workspace / "photos")
            settings = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
            for change in [f"data.root={workspace / 'photos'}", *changes]:
                key, _, value = change.partition("=")
                section, name = key.split(".")
                settings[section][name] = yaml.safe_load(value)
            (workspace / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
            for name in STAGES:
                seconds, own, all_of_it = measured(name, workspace)
                print(
                    f"| {size:,} | {name} | {seconds:.0f} | {own / GIB:.2f} |"
                    f" {all_of_it / GIB:.2f} |",
                    flush=True,
                )
            shutil.rmtree(workspace)


def take(photos: Path, size: int, target: Path) -> None:
    """Link the first images of each folder, as many as a set of that size has, with their masks."""
    for category, folders in sample.counts(size).items():
        for kind, number in folders.items():
            truth = kind.replace("test/", "ground_truth/", 1)
            for place in (f"{kind}/{{:03d}}.png", f"{truth}/{{:03d}}_mask.png"):
                for image in range(number):
                    file = photos / category / place.format(image)
                    if file.exists():
                        linked = target / category / place.format(image)
                        linked.parent.mkdir(parents=True, exist_ok=True)
                        linked.hardlink_to(file)


def measured(name: str, workspace: Path) -> tuple[float, int, int]:
    """Run a stage; return its seconds and, in KiB, its peak memory without and with maps."""
    for folder in ("data", "models", "reports", "metrics"):
        (workspace / folder).mkdir(exist_ok=True)
    log = workspace / f"{name}.log"
    started, own = time.perf_counter(), 0
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "twinhead.stage", name],
            cwd=workspace,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "DVC_ROOT": str(workspace)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            status = Path(f"/proc/{process.pid}/status").read_text()
            fields = dict(line.split(":", 1) for line in status.splitlines())
            own = max(own, int(fields.get("RssAnon", "0 kB").split()[0]))
            time.sleep(0.05)
    if ended[1]:
        sys.exit(f"{name} failed:\n{log.read_text()}")
    return time.perf_counter() - started, own, ended[2].ru_maxrss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[600, 1200, 2400, 5354])
    parser.add_argument(
        "--photos", type=Path, help="a set rendered before, as large as the largest"
    )
    parser.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="SECTION.KEY=VALUE"
    )
    chosen = parser.parse_args()
    main(chosen.images, chosen.photos, chosen.set_param)
