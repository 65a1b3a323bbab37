"""Write the one-page report, and see that the experiment's MLflow run has everything."""

from twinhead import params, paths, stage
from twinhead import report as pages


def report() -> None:
    settings = params.load()
    with stage.loading():
        from twinhead import tracking

    page = pages.page(pages.read(settings))
    paths.REPORT.write_text(page, encoding="utf-8")
    tracking.record("report", settings)


if __name__ == "__main__":
    stage.run(report)
