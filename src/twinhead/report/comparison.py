"""One network or two: the table of `make comparison`, where it was made of the same images."""

from twinhead.report.results import Results

BEGIN, END = "<!-- comparison -->\n", "<!-- /comparison -->"
"""The marks in docs/comparison.md between which benchmarks/comparison.py writes."""


def section(results: Results) -> dict | None:
    lines = results.comparison.partition(BEGIN)[2].partition(END)[0].splitlines()
    if not any(f"Data: `{results.settings.data.root}`" in line for line in lines):
        return None
    head, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|") and not line.startswith("|-")
    ]
    return {
        "data": [line.replace("`", "") for line in lines if line.startswith("Data:")],
        "head": head,
        "rows": rows,
        "claims": [line.removeprefix("* ") for line in lines if line.startswith("* ")],
    }
