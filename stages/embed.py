"""Map the images by the network's features, and measure what the features know."""

from twinhead import catalog, embedding, features, params, paths, pixels, splits, stage, summary
from twinhead.plots import embedding as figures


def embed() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import inference, network, tracking

    frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
    model = network.load(paths.MODEL)
    inputs = network.inputs(
        settings.model, pixels.load(paths.PIXELS), features.load(paths.FEATURES)
    )
    values = inference.features(model, inputs, settings.embed.layer)
    points = embedding.place(values, settings.embed)
    table = frame[["path", "category", "defect_type", "defective"]].assign(
        split=split, x=points[:, 0], y=points[:, 1]
    )
    table.to_csv(paths.EMBEDDING, index=False, lineterminator="\n")
    metrics = embedding.measure(values, points, frame, split)
    stage.write_json(metrics, paths.metrics("embed"))
    summary.write("embed", metrics)
    figures.draw(table, stage.fresh(paths.PLOTS / "embed"))
    tracking.record("embed", settings)


if __name__ == "__main__":
    stage.run(embed)
