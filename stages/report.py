"""Write the one-page report, and see that the experiment's MLflow run has everything."""

import json

from twinhead import files, params, paths, stage
from twinhead import report as pages


def report() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking

    with tracking.running("report", settings) as live:
        measured = {
            name: json.loads(paths.metrics(name).read_text(encoding="utf-8"))
            for name in ("index", "train", "evaluate", "embed", "explain")
        }
        with files.whole(paths.REPORT) as part:
            part.write_text(pages.page(settings.data.root, **measured), encoding="utf-8")
        tracking.record("report", settings, live)


if __name__ == "__main__":
    stage.run(report)
