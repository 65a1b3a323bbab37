"""Say of each image whether it trains the network, tunes it or judges it."""

from twinhead import files, params, paths
from twinhead.dataset import catalog
from twinhead.partition import assignment, duplicates


def split() -> None:
    settings = params.load().split
    frame = catalog.read(paths.CATALOG)
    group = duplicates.groups(frame, settings.near_duplicates)
    assigned = assignment.assign(frame, group, settings)
    assignment.write(frame, assigned, group, paths.SPLITS)
    files.write_json(assignment.counts(frame, assigned, group), paths.metrics("split"))
