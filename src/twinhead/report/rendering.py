"""HTML from plain data: the report's templates, and how they write numbers."""

from importlib.resources import files

from markupsafe import Markup

from twinhead import templating


def number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def thousands(value: int) -> str:
    return f"{value:,}"


def counted(images: int, what: str) -> str:
    return f"{images:,} {what}" + ("" if images == 1 else "s")


def with_interval(values: dict, name: str) -> str:
    """A metric, with its 95% interval where it has one."""
    low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
    known = number(values[name])
    return known if low is None else f"{known} ({low:.3f}–{high:.3f})"


TEMPLATES = templating.environment(__package__)
TEMPLATES.filters |= {
    filter.__name__: filter for filter in (number, share, thousands, counted, with_interval)
}


def html(template: str, data: dict) -> Markup:
    return Markup(TEMPLATES.get_template(f"{template}.html").render(data))


def page(title: str, opening: Markup, sections: list[dict]) -> str:
    """A whole page; of each section `anchor`, `title` and `body`, which is HTML already."""
    return html("page", {
        "style": _own("page.css"), "script": _own("page.js"), "title": title, "opening": opening,
        "sections": sections,
    })  # fmt: skip


def _own(name: str) -> Markup:
    return Markup(files(__package__).joinpath(name).read_text("utf-8"))
