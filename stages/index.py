"""Check and decode every image of data.root once; leave the catalog, the pixels and the masks."""

from twinhead import stage  # first of all: from here on Ctrl-C ends it with a line

# isort: split
from twinhead import catalog, files, params, paths, pixels, remarks


def index() -> None:
    settings = params.load().data
    found = catalog.scan(settings.root)
    before = catalog.state(settings.root, found)
    built = pixels.build(
        found,
        settings.root,
        settings.image_size,
        paths.PIXELS,
        paths.MASKS,
        paths.DECODED,
        settings.on_bad_image,
        progress=stage.progress("index"),
    )
    frame, odd = built.frame, remarks.collect(settings.root, found, built)
    catalog.check_unchanged(settings.root, before)
    for line in remarks.lines(odd):
        print(f"index: {line}")
    catalog.write(frame, paths.CATALOG)
    remarks.write(odd, paths.REMARKS)
    files.write_json(catalog.labels(frame), paths.LABELS)
    counts = catalog.counts(frame) | {"remarks": remarks.counts(odd)}
    files.write_json(counts, paths.metrics("index"))


if __name__ == "__main__":
    stage.run(index)
