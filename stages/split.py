"""Say of each image whether it trains the network, tunes it or judges it."""

from twinhead import stage  # first of all: from here on Ctrl-C ends it with a line

# isort: split
from twinhead import catalog, duplicates, files, params, paths, splits


def split() -> None:
    settings = params.load().split
    frame = catalog.read(paths.CATALOG)
    group = duplicates.groups(frame, settings.near_duplicates)
    assigned = splits.assign(frame, group, settings)
    splits.write(frame, assigned, group, paths.SPLITS)
    files.write_json(splits.counts(frame, assigned, group), paths.metrics("split"))


if __name__ == "__main__":
    stage.run(split)
