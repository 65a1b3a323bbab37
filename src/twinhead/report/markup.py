"""HTML from text and numbers: whatever isn't marked as HTML is escaped."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is HTML already."""


def text(value: str) -> str:
    return value if isinstance(value, Html) else escape(value)


def code(value: str, tag: str = "code") -> Html:
    return Html(f"<{tag}>{text(value)}</{tag}>")


def paragraph(*sentences: str, kind: str = "") -> Html:
    """A paragraph of the sentences that there are."""
    opening = f'<p class="{kind}">' if kind else "<p>"
    return Html(f"{opening}{' '.join(text(part) for part in sentences if part)}</p>")


def join(parts: Iterable[str]) -> Html:
    return Html("\n".join(text(part) for part in parts if part))


def table(head: list[str], rows: list[list[str]], kind: str = "") -> Html:
    """A table that scrolls by itself where the screen is narrow."""
    lines = ["".join(f"<th>{text(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{text(cell)}</td>" for cell in row) for row in rows]
    first, *others = (f"<tr>{line}</tr>" for line in lines)
    body = f"<thead>{first}</thead><tbody>{''.join(others)}</tbody>"
    return Html(f'<div class="scroll"><table class="{kind}">{body}</table></div>')


def folded(summary: str, body: str) -> Html:
    """What opens on a click."""
    return Html(f"<details><summary>{text(summary)}</summary>{text(body)}</details>")


def bar(value: float | None) -> Html:
    """A share as text with a bar of its length."""
    if value is None:
        return Html(share(None))
    return Html(f'<span class="bar"><i style="width:{value:.1%}"></i></span>{share(value)}')


def picture(source: str, about: str, kind: str = "") -> Html:
    """source: a data URI."""
    return Html(f'<img class="{kind}" loading="lazy" alt="{escape(about)}" src="{source}">')


def figure(shown: str, caption: str, kind: str = "") -> Html:
    return Html(
        f'<figure class="{kind}">{text(shown)}<figcaption>{text(caption)}</figcaption></figure>'
    )


def number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def with_interval(values: dict, name: str) -> str:
    low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
    known = number(values[name])
    return known if low is None else f"{known} ({low:.3f}–{high:.3f})"


def count(images: int, what: str) -> str:
    return f"{images:,} {what}" + ("" if images == 1 else "s")
