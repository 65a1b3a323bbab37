"""One network or two: the table of `make comparison`, where it was made of the same images."""

from twinhead.report.markup import Html, join, paragraph, table
from twinhead.report.results import Results


def section(results: Results) -> Html | None:
    lines = results.comparison.splitlines()
    if not any(f"Data: `{results.settings.data.root}`" in line for line in lines):
        return None
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|") and not line.startswith("|-")
    ]
    said = [paragraph(line.replace("`", "")) for line in lines if line.startswith("Data:")]
    claims = [paragraph(line.removeprefix("* ")) for line in lines if line.startswith("* ")]
    return join([*said, table(rows[0], rows[1:]), *claims])
