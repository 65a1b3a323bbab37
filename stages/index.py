"""Check and decode every image of data.root once; leave the catalog, the pixels and the masks."""

from twinhead import files, params, paths, stage
from twinhead.ingest import decoding, layout, quality


def index() -> None:
    settings = params.load().data
    found = layout.scan(settings.root)
    before = layout.state(settings.root, found)
    built = decoding.build(
        found,
        settings.root,
        settings.side,
        paths.PIXELS,
        paths.MASKS,
        paths.DECODED,
        settings.on_bad_image,
        progress=stage.progress("index"),
    )
    frame, odd = built.frame, quality.collect(settings.root, found, built)
    layout.check_unchanged(settings.root, before)
    print(f"index: {built.decoded} files decoded, the others are known")
    for line in quality.lines(odd):
        print(f"index: {line}")
    layout.write(frame, paths.CATALOG)
    quality.write(odd, paths.REMARKS)
    files.write_json(layout.labels(frame), paths.LABELS)
    counts = layout.counts(frame) | {"remarks": quality.counts(odd)}
    files.write_json(counts, paths.metrics("index"))
