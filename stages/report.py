"""Write the one-page report, and see that the experiment's MLflow run has everything."""

from twinhead import files, params, paths, stage
from twinhead import report as pages
from twinhead.review import improvement


def report() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking
        from twinhead.serving import registry

    with tracking.running("report", settings) as live:
        results = pages.read(settings)
        page = pages.page(results)
        files.write_json(improvement.numbers(results.round), paths.metrics("report"))
        with files.whole(paths.REPORT) as part:
            part.write_text(page, encoding="utf-8")
        tracking.record("report", settings, live, last=registry.keep)
    print(f"report: {pages.summary(results)}; see {paths.REPORT}", flush=True)
