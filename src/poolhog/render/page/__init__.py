"""The report as a page: one HTML file that needs nothing else, and tells one run or two."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from poolhog.render.page.content import content_of, with_code
from poolhog.render.page.inline import digest, script
from poolhog.render.page.sources import Sources
from poolhog.render.page.texts import embedded
from poolhog.render.palette import css_variables
from poolhog.render.words import count, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from poolhog.analysis.comparison import Comparison

PICTURES = ("timeline.css", "icicle.css")
"""The styles of the pictures, which other pages may have as well."""

STYLES = ("page.css", *PICTURES)


def page_html(
    data: Mapping[str, Any], compared: Comparison | None = None, source: Path | None = None
) -> str:
    """The page of what ``page_data`` made: whole, and with nothing to load.

    With what changed from its first side to its second, if these are ``compared``. The lines
    around a finding's are read from Python files below ``source``; without it, none is read.
    """
    code, style = script("main.js"), stylesheet()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            content=content_of(data, compared, Sources(source)),
            policy=policy(code, style),
            script=Markup(code),  # noqa: S704 - our own modules
            style=Markup(style),  # noqa: S704 - our own files
            data=Markup(embedded(data)),  # noqa: S704 - escaped there
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("poolhog.render.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": seconds,
        "percent": percent,
        "rows": lambda number: count(number, "row"),
        "with_code": with_code,
    }
    return environment


def policy(code: str, style: str) -> str:
    """What the page may do: run this script, look like this, and load nothing."""
    return (
        f"default-src 'none'; script-src {digest(code)}; style-src {digest(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def stylesheet() -> str:
    """The styles of the page and of its pictures, with the palette for light and dark.

    Paper is light.
    """
    palette = (
        f":root{{{css_variables(dark=False)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{css_variables(dark=True)}}}}}"
    )
    return palette + styles(STYLES)


def styles(names: Sequence[str]) -> str:
    """Some of our own styles."""
    folder = files(__package__)
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
