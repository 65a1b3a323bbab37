"""Write the one-page report, and see that the experiment's MLflow run has everything."""

import json

from twinhead import params, paths, stage
from twinhead import report as pages


def report() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import registry, tracking

    parts = {
        name: json.loads(paths.metrics(name).read_text(encoding="utf-8"))
        for name in ("index", "train", "evaluate", "embed", "explain")
    }
    paths.REPORT.write_text(pages.page(settings.data.root, **parts), encoding="utf-8")
    tracking.record("report", settings, last=registry.keep)


if __name__ == "__main__":
    stage.run(report)
