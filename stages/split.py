"""Assign each image to train, val or test; keep groups together, and what was drawn where it is."""

from twinhead import files, params, paths
from twinhead.dataset import catalog
from twinhead.partition import assignment, duplicates, lots


def split() -> None:
    settings = params.load().split
    frame = catalog.read(paths.CATALOG)
    alike = duplicates.groups(frame, settings.near_duplicates)
    lot = lots.names(frame, settings.group_by)
    group = lots.join(alike, lot)
    known = assignment.recall(paths.SPLITS, frame, settings)
    drawn = assignment.draw(frame, group, settings, known)
    assigned = assignment.spare(frame, drawn, settings)
    for line in [*lots.remarks(frame, lot, group), *assignment.remarks(frame, known, drawn)]:
        print(f"split: {line}")
    assignment.write(frame, drawn, assigned, alike, lot, settings, paths.SPLITS)
    counted = assignment.counts(frame, drawn, assigned, alike, group)
    files.write_json(counted, paths.metrics("split"))
