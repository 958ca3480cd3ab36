"""The files of a run that people read: pictures, tables, and the talk told with them."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pygments.formatters import HtmlFormatter

from poolhog.lab.pictures import draw
from poolhog.lab.remedies.table import markdown
from poolhog.lab.talk import Talk
from poolhog.render.findings import advice, detail
from poolhog.render.output import write_whole
from poolhog.render.page import PICTURES, with_code
from poolhog.render.page.inline import digest, script, styles
from poolhog.render.palette import PAINTS, css_variables
from poolhog.render.request_log import event_text
from poolhog.render.words import seconds

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.lab.results import Results


STYLES = ("talk.css", "diagrams.css", "slides.css", "handouts.css")
"""The style sheets of the page, beside its templates."""


def publish(results: Results, output: Path) -> None:
    """Write pictures, tables and the page of all results so far. Raises ``OutputError``."""
    pictures = draw(results)
    for name, svg in pictures.items():
        write_whole(output / f"{name}.svg", svg)
    if results.remedies is not None:
        text = markdown(results.remedies, results.parameters.requests)
        write_whole(output / "remedies.md", text)
    write_whole(output / "report.html", _page(Talk(results, pictures)))


def _page(talk: Talk) -> str:
    environment = Environment(
        loader=PackageLoader("poolhog.lab"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = seconds
    environment.filters["event_text"] = event_text
    environment.filters["detail"] = detail
    environment.filters["advice"] = advice
    environment.filters["milliseconds"] = lambda at: f"{at * 1000:,.2f} ms"
    environment.filters["with_code"] = with_code
    template = environment.get_template("talk.html.j2")
    code = script("talk.js")
    return template.render(
        talk=talk,
        paints=PAINTS.values(),
        style=Markup(_colours() + styles(PICTURES) + _own_styles()),  # noqa: S704 - our own files
        digest=digest(code),
        script=Markup(code),  # noqa: S704 - our own modules
        data=Markup(talk.data.encoded),  # noqa: S704 - escaped there
    )


def _own_styles() -> str:
    folder = files("poolhog.lab").joinpath("templates")
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in STYLES)


def _colours() -> str:
    """The palette of the pictures and of the code, for light and dark pages.

    These two styles of Pygments have enough contrast on the page's ground.
    """
    light = HtmlFormatter(style="xcode").get_style_defs("pre")
    dark = HtmlFormatter(style="github-dark").get_style_defs("pre")
    plain = "pre,pre span{background:none}pre .err{border:none}pre{background:var(--soft)}"
    return (
        f":root{{{css_variables(dark=False)}}}{light}"
        f"@media (prefers-color-scheme:dark){{:root{{{css_variables(dark=True)}}}{dark}}}{plain}"
    )
