"""Check and decode every image of data.root once; leave the catalog, the pixels and the masks."""

from twinhead import stage  # first of all: from here on Ctrl-C ends it with a line

# isort: split
from twinhead import catalog, files, params, paths, pixels


def index() -> None:
    settings = params.load().data
    found = catalog.scan(settings.root)
    frame = pixels.build(
        found,
        settings.root,
        settings.image_size,
        paths.PIXELS,
        paths.MASKS,
        paths.DECODED,
        progress=stage.progress("index"),
    )
    catalog.write(frame, paths.CATALOG)
    files.write_json(catalog.labels(frame), paths.LABELS)
    files.write_json(catalog.counts(frame), paths.metrics("index"))


if __name__ == "__main__":
    stage.run(index)
