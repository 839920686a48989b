"""HTML that cannot forget to escape: text always is escaped, only `Markup` passes as it is."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"img", "br", "meta", "link"})


class Markup(str):
    """Text that is HTML already; made by this package alone, never from data."""

    __slots__ = ()


def tag(name: str, *children: str | Iterable[str], **attributes: str | None) -> Markup:
    """Return an element; children and attribute values that are not `Markup` are escaped.

    Args:
        name: element name, a literal of the caller's.
        children: text, markup, or iterables of them.
        attributes: values by name; `class_` is written as ``class``, None leaves one out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str | Iterable[str]) -> Markup:
    """Return children one after the other, escaped where they are plain text."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child))
        else:
            parts.append(join(*child))
    return Markup("".join(parts))


def table(
    head: Iterable[str], rows: Iterable[Iterable[str]], *, text: frozenset[int] = frozenset({0})
) -> Markup:
    """Return a table that scrolls sideways when it must; columns in `text` are set to the left."""

    def cells(name: str, values: Iterable[str]) -> list[Markup]:
        return [
            tag(name, value, class_="text" if index in text else None)
            for index, value in enumerate(values)
        ]

    header = tag("thead", tag("tr", cells("th", head)))
    body = tag("tbody", [tag("tr", cells("td", row)) for row in rows])
    return tag("div", tag("table", header, body), class_="scroll")
