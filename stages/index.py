"""Check and decode every image of data.root once; leave the catalog, the pixels and the masks."""

from dataclasses import replace

from twinhead import files, params, paths, stage
from twinhead.ingest import answers, decoding, layout, quality


def index() -> None:
    settings = params.load().data
    found = layout.scan(settings.root)
    before = layout.state(settings.root, found)
    answered = answers.load(paths.ANSWERS)
    listed = layout.add(found, answered.new())
    built = decoding.build(
        listed,
        settings.root,
        settings.side,
        paths.PIXELS,
        paths.MASKS,
        paths.DECODED,
        settings.on_bad_image,
        answered.left_out,
        answered.unmasked,
        progress=stage.progress("index"),
    )
    frame = answered.apply(built.frame)
    built = replace(built, frame=frame)
    odd = quality.collect(settings.root, listed, built, answered.remarks(listed, frame))
    layout.check_unchanged(settings.root, before)
    print(f"index: {built.decoded} files decoded, the others are known")
    for line in quality.lines(odd):
        print(f"index: {line}")
    layout.write(frame, paths.CATALOG)
    quality.write(odd, paths.REMARKS)
    files.write_json(layout.labels(frame), paths.LABELS)
    counts = layout.counts(frame) | {"remarks": quality.counts(odd)}
    counts["answers"] = answered.counts(frame)
    files.write_json(counts, paths.metrics("index"))
