"""HTML pages from templates: every text is escaped, and a page needs no script and no other host."""

from __future__ import annotations


def render_page(package: str, template: str, **content: object) -> str:
    """Return a page as text; equal content gives equal text.

    Args:
        package: whose folder ``templates`` holds the template; the shared ones are found from everywhere.
        template: its file name.
        content: what the template shows, by the names that it uses. A missing one is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined  # 50 ms that the help can do without

    environment = Environment(
        autoescape=True, loader=ChoiceLoader([PackageLoader(package), PackageLoader("silmm.rendering")]),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**content)
