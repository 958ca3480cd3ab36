"""QR codes: their modules are read back from the page, and a wrong address is refused."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
import segno

from poolhog.errors import PoolhogError
from poolhog.lab.parameters import Parameters
from poolhog.lab.qr import QUIET_MODULES, qr_svg

ADDRESS = "https://hogs.example.org/talk/report.html#timeline-implicit-animated&play"


def modules_of(svg: str) -> list[list[bool]]:
    """The dark modules that a code's SVG draws: runs along the rows of its grid."""
    (size,) = re.findall(r'viewBox="0 0 (\d+) \1"', svg)
    dark = [[False] * int(size) for _ in range(int(size))]
    (path,) = re.findall(r'stroke="#000" d="(M[^"]*)"', svg)
    x = y = 0.0
    for step, first, second in re.findall(r"([Mmh])(-?[\d.]+)(?:[ ,]?(-?[\d.]+))?", path):
        if step == "h":
            for column in range(int(x), int(x + float(first))):
                dark[int(y)][column] = True
            x += float(first)
        elif step == "M":
            x, y = float(first), float(second)
        else:
            x, y = x + float(first), y + float(second)
    return dark


def test_what_is_drawn_is_the_address_with_a_quiet_zone() -> None:
    drawn = modules_of(unescape(str(qr_svg(ADDRESS))))
    expected = segno.make_qr(ADDRESS, error="m").matrix_iter(border=QUIET_MODULES)
    assert drawn == [[bool(module) for module in row] for row in expected]
    other = segno.make_qr(ADDRESS.replace("implicit", "explicit"), error="m")
    assert drawn != [[bool(module) for module in row] for row in other.matrix_iter(border=4)]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("hogs.example.org", "http:// or https://"),
        ("ftp://hogs.example.org/", "http:// or https://"),
        ("https://", "http:// or https://"),
        ("https:///report.html", "http:// or https://"),
        ("http://[::1/", "http:// or https://"),
        ("https://hogs.example.org/a b", "http:// or https://"),
        ("https://hogs.example.org/#T9", "no fragment"),
        ("https://hogs.example.org/#", "no fragment"),
        ("", "http:// or https://"),
        ("https://hogs.example.org/" + "a" * 300, "300 characters"),
    ],
)
def test_a_wrong_address_is_refused(url: str, problem: str) -> None:
    with pytest.raises(PoolhogError, match=problem) as raised:
        Parameters(output=Path("out"), url=url)
    assert str(raised.value).startswith("--url")
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "https://hogs.example.org/talk/?page=1", "https://h.org/ä"]
)
def test_a_right_one_is_taken(url: str) -> None:
    assert Parameters(output=Path("out"), url=url).url == url
