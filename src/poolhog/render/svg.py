"""A small SVG builder: elements, escaping, text that fits, axes, and the sheet all pictures share.

A picture refers to nothing outside itself, carries its own background for pages of either colour,
and keeps its ids and styles to itself, so that many can stand in one HTML page.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from xml.sax.saxutils import escape, quoteattr

from poolhog.render.palette import PAINTS, css_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


WIDTH = 860
MARGIN = 20
LINE_HEIGHT = 1.35
MOST_LANES = 60  # in a picture
MOST_ROWS = 20  # on a terminal

Item = TypeVar("Item")

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NARROW = frozenset("fijlrtI.,:;|!'()[] ·")
_WIDE = frozenset("mwMW@%ABCDGHKNOQRUVXZ&")
_SIZES = {
    "title": 16.0,
    "subtitle": 12.5,
    "label": 12.0,
    "small": 10.5,
    "strong": 12.0,
    "mark": 10.5,
}
_BOLD = ("title", "strong", "mark")


@dataclass(frozen=True, slots=True)
class Element:
    """An SVG element; its strings are text, escaped when it is written."""

    tag: str
    attributes: Mapping[str, str | float]
    children: tuple[Element | str, ...] = ()


def element(tag: str, *children: Element | str, **attributes: str | float | None) -> Element:
    """An element; ``class_`` gives ``class``, ``text_anchor`` gives ``text-anchor``."""
    given = {
        name.rstrip("_").replace("_", "-"): value
        for name, value in attributes.items()
        if value is not None
    }
    return Element(tag, given, children)


def rect(x: float, y: float, width: float, height: float, class_: str) -> Element:
    """A rectangle of a class."""
    return element("rect", x=x, y=y, width=max(width, 0.0), height=height, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    """A line of a class."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def text(x: float, y: float, content: str, kind: str = "label", anchor: str = "start") -> Element:
    """One line of text with its baseline at ``y``; ``kind`` are classes, a size first."""
    return element("text", content, x=x, y=y, class_=kind, text_anchor=anchor)


def number(value: float) -> str:
    """Two decimals at most: enough for any screen."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")  # + 0.0: never "-0"


def write(node: Element | str, prefix: str) -> str:
    """The node as text, its ids and the references to them prefixed."""
    if isinstance(node, str):
        return escape(_NOT_XML.sub("\ufffd", node))
    parts = [node.tag]
    for name, value in node.attributes.items():
        shown = number(value) if isinstance(value, int | float) else _NOT_XML.sub("\ufffd", value)
        if name == "id":
            shown = prefix + shown
        shown = shown.replace("url(#", f"url(#{prefix}")
        parts.append(f"{name}={quoteattr(shown)}")
    inside = "".join(write(child, prefix) for child in node.children)
    return f"<{' '.join(parts)}>{inside}</{node.tag}>" if inside else f"<{' '.join(parts)}/>"


def text_width(content: str, kind: str = "label") -> float:
    """About how wide a line of text is, on the generous side: fonts differ between machines."""
    em = sum(0.36 if c in _NARROW else 0.82 if c in _WIDE else 0.64 for c in content)
    bolder = 1.1 if kind in _BOLD else 1.0
    return em * _SIZES[kind] * bolder


def wrap(content: str, kind: str, width: float) -> tuple[str, ...]:
    """The text in lines that fit, as far as its words are short enough."""
    lines: list[str] = []
    for word in content.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, kind) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(lines)


def folded(items: Sequence[Item], most: int) -> tuple[Sequence[Item], int, Sequence[Item]]:
    """The first items, how many are left out, and the last ones; at most ``most`` are shown."""
    if len(items) <= most:
        return items, 0, ()
    tail = most // 2
    return items[: most - tail], len(items) - most, items[len(items) - tail :]


def ticks(upper: float, about: int, lower: float = 0.0) -> tuple[float, ...]:
    """About ``about`` round numbers from ``lower`` to ``upper``, in steps of 1, 2 or 5."""
    if upper <= lower or not math.isfinite(upper):
        return (lower,)
    raw = (upper - lower) / max(about, 1)
    magnitude: float = 10.0 ** math.floor(math.log10(raw))
    ratio = raw / magnitude
    step = magnitude * (1 if ratio < 1.5 else 2 if ratio < 3.2 else 5 if ratio < 7 else 10)
    first, last = math.ceil(lower / step - 1e-9), math.floor(upper / step + 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def time_marks(
    started: float, ended: float, about: int, zero: float
) -> tuple[tuple[float, str], ...]:
    """Instants from one to the other with their labels, seconds that count from ``zero``."""
    marks = ticks(ended - zero, about, started - zero)
    return tuple((zero + at, f"{at:,.12g} s") for at in marks)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis: values from ``lower`` to ``upper`` on pixels from ``left`` to ``right``."""

    lower: float
    upper: float
    left: float
    right: float

    @property
    def width(self) -> float:
        """Pixels."""
        return self.right - self.left

    def x(self, value: float) -> float:
        """The pixel of a value."""
        span = self.upper - self.lower
        return self.left + (self.width * (value - self.lower) / span if span > 0 else 0.0)


class Sheet:
    """A card with a title, a subtitle and room below, filled from the top; ``y`` is how far."""

    def __init__(self, title: str, subtitle: str = "", *, width: float = WIDTH) -> None:
        self.title = title
        self.width = width
        self.y = float(MARGIN)
        self._body: list[Element] = []
        self._over: list[Element] = []
        self.paragraph(title, "title")
        if subtitle:
            self.y += 2
            self.paragraph(subtitle, "subtitle")

    @property
    def inner(self) -> float:
        """The width between the margins."""
        return self.width - 2 * MARGIN

    def add(self, *elements: Element) -> None:
        """Put elements on the sheet, over what is there."""
        self._body.extend(elements)

    def over(self, *elements: Element) -> None:
        """Put elements on the sheet that stay over all that is added later."""
        self._over.extend(elements)

    def paragraph(self, content: str, kind: str) -> None:
        """Text from margin to margin, in as many lines as it needs."""
        height = _SIZES[kind] * LINE_HEIGHT
        for one in wrap(content, kind, self.inner):
            self.y += height
            self.add(text(MARGIN, self.y - height * 0.25, one, kind))

    def legend(self, entries: Iterable[tuple[str, str]]) -> None:
        """Swatches, each a class and a label, in as many rows as they need."""
        x, self.y = float(MARGIN), self.y + 22
        for class_, label in entries:
            wide = 18 + text_width(label)
            if x > MARGIN and x + wide > self.width - MARGIN:
                x, self.y = float(MARGIN), self.y + 18
            self.add(rect(x, self.y - 10, 12, 12, class_), text(x + 18, self.y, label, "label"))
            x += wide + 12
        self.y += 8

    def axis(self, scale: Scale, top: float, labels: Sequence[tuple[float, str]]) -> None:
        """Labelled gridlines from ``top`` down to here; they are put under all else."""
        self._body[:0] = [line(scale.x(at), top, scale.x(at), self.y, "grid") for at, _ in labels]
        self.add(line(scale.left, self.y, scale.right, self.y, "axis"))
        self.add(
            *(text(scale.x(at), self.y + 15, label, "small", "middle") for at, label in labels)
        )
        self.y += 18

    def svg(self, desc: str, css: Sequence[tuple[str, str]] = (), motion: str = "") -> str:
        """The picture. ``css`` are further (selector, declarations) of its own elements.

        ``motion`` is CSS that stands outside of them; ``{id}`` in either is what ids begin with.
        """
        height = self.y + MARGIN
        card = element(
            "rect", x=0.5, y=0.5, width=self.width - 1, height=height - 1, rx=8, class_="card"
        )
        body = (_textures(), card, *self._body, *self._over)
        digest = hashlib.sha256("".join(write(node, "") for node in body).encode())
        prefix = f"p{digest.hexdigest()[:10]}-"
        style = (_style("#{id}svg", css) + motion).replace("{id}", prefix)
        root = element(
            "svg",
            element("title", self.title, id="title"),
            element("desc", desc, id="desc"),
            element("style", style),
            *body,
            xmlns="http://www.w3.org/2000/svg",
            id="svg",
            width=self.width,
            height=height,
            viewBox=f"0 0 {number(self.width)} {number(height)}",
            role="img",
            aria_labelledby=f"{prefix}title {prefix}desc",
        )
        return write(root, prefix) + "\n"


def _textures() -> Element:
    """The patterns of the states that have a texture: their colour, and strokes on it."""
    patterns = (
        element(
            "pattern",
            element("rect", width=6, height=6, style=f"fill:var(--{paint.name})"),
            element("path", d=paint.texture, class_="stripe"),
            id=f"{paint.name}-texture",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        )
        for paint in _TEXTURED
    )
    return element("defs", *patterns)


_TEXTURED = tuple(paint for paint in PAINTS.values() if paint.texture)


def _style(root: str, more: Sequence[tuple[str, str]]) -> str:
    rules = [
        ("", f"{css_variables(dark=False)};max-width:100%;height:auto"),
        ("text", "font-family:system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--ink)"),
        *((f".{kind}", f"font-size:{number(size)}px") for kind, size in _SIZES.items()),
        (",".join(f".{kind}" for kind in _BOLD), "font-weight:600"),
        (".subtitle,.small", "fill:var(--muted)"),
        *((f".{paint.name}", f"fill:var(--{paint.name})") for paint in PAINTS.values()),
        *((f".{paint.name}", f"fill:url(#{{id}}{paint.name}-texture)") for paint in _TEXTURED),
        (".stripe", "stroke:#fff;stroke-opacity:.38;stroke-width:1.2;fill:none"),
        (".halo", "stroke:var(--card);stroke-width:4;stroke-linejoin:round;paint-order:stroke"),
        (".card", "fill:var(--card);stroke:var(--edge)"),
        (".track", "fill:var(--track)"),
        (".grid,.axis", "stroke:var(--grid);stroke-width:1"),
        (".axis", "stroke:var(--edge)"),
        *more,
    ]
    dark = f"@media (prefers-color-scheme:dark){{{root}{{{css_variables(dark=True)}}}}}"
    return "".join(_rule(root, *rule) for rule in rules) + dark


def _rule(root: str, selectors: str, declarations: str) -> str:
    scoped = ",".join(f"{root} {selector}".strip() for selector in selectors.split(","))
    return f"{scoped}{{{declarations}}}"
