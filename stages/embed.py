"""Map the images by the network's features, and measure what the features know."""

from twinhead import embedding, files, params, paths, stage
from twinhead.dataset import catalog, features, pixels, splits

SUMMARY = {"defect_knn": "defect_knn_auroc"}


def embed() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.model import inference, network

    with tracking.running("embed", settings) as live:
        frame, split = catalog.read(paths.CATALOG), splits.read(paths.SPLITS)
        model, known = network.load(paths.MODEL), features.load(paths.FEATURES)
        source = inference.source(settings.model, pixels.load(paths.PIXELS), known)
        chosen = embedding.choose(len(frame), settings.embed)
        print(f"embed: t-SNE (Barnes-Hut) of {len(chosen)} of {len(frame)} images", flush=True)
        frame, split = frame.loc[chosen], split[chosen]
        values = inference.features(model, source, chosen, settings.embed.layer)
        points = embedding.place(values, settings.embed)
        table = frame[["path", "category", "defect_type", "defective"]].assign(
            split=split, x=points[:, 0], y=points[:, 1]
        )
        metrics = {"images": len(chosen)} | embedding.measure(values, points, frame, split)
        files.write_table(table, paths.EMBEDDING)
        files.write_json(metrics, paths.metrics("embed"))
        files.write_json(files.chosen(metrics, SUMMARY), paths.summary("embed"))
        tracking.record("embed", settings, live)
