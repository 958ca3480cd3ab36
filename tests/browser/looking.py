"""How tests look at a timeline: where spans are drawn, and in which colour."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SETTLED_MS = 400

_SPOT = """async ([state, rank]) => {
  const { pixelOf } = await import("/js/drawing.js");
  const { topOf } = await import("/js/lanes.js");
  const scene = timeline.scene();
  const { rows, layout, side } = scene;
  const found = [];
  for (let row = 0; row < rows.requests.count; row++) {
    for (let i = rows.requests.first[row]; i < rows.requests.first[row + 1]; i++) {
      if (rows.requests.state[i] === state) found.push([row, i]);
    }
  }
  const length = (i) => rows.requests.end[i] - rows.requests.start[i];
  found.sort((a, b) => length(b[1]) - length(a[1]));
  const [row, item] = found[rank];
  const { start, end, owner, source } = rows.requests;
  const middle = (start[item] + end[item]) / 2;
  return {
    x: pixelOf(scene, middle),
    y: topOf(layout.requests, row) + layout.requests.bar / 2,
    request: owner[item],
    span: source[item],
    middle,
    length: length(item),
  };
}"""


@dataclass(frozen=True)
class Spot:
    """The middle of a span on a request's lane: where it is on the stage, and what it is of."""

    x: float
    y: float
    request: int
    span: int
    middle: float
    length: float


def longest(page: Page, state: int, rank: int = 0) -> Spot:
    """The longest span of a state, or the one that has so many before it."""
    return Spot(**page.evaluate(_SPOT, [state, rank]))


def stage(page: Page) -> Locator:
    return page.locator(".stage").first


def view(page: Page) -> tuple[float, float]:
    """What is looked at; microseconds."""
    low, high = page.evaluate("[timeline.view.from, timeline.view.to]")
    return low, high


def settle(page: Page) -> None:
    """Until what glides has arrived, and what is late was written."""
    page.wait_for_timeout(SETTLED_MS)


def pixel(page: Page, x: float, y: float) -> str:
    """The colour of the picture at a place of the stage, as it is written in a style sheet."""
    return str(
        page.evaluate(
            """([x, y]) => {
              const copy = document.createElement("canvas");
              const context = copy.getContext("2d", { willReadFrequently: true });
              timeline.draw();
              const ratio = devicePixelRatio;
              // Between two pixels, they would be mixed.
              const [left, top] = [Math.floor(x * ratio), Math.floor(y * ratio)];
              context.drawImage(timeline.canvas, left, top, 1, 1, 0, 0, 1, 1);
              const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
              return "#" + [r, g, b].map((part) => part.toString(16).padStart(2, "0")).join("");
            }""",
            [x, y],
        )
    )


def colours(page: Page, spot: Spot, *, around: int = 4) -> set[str]:
    """Those near a spot: a texture has several."""
    steps = range(-around, around + 1)
    return {pixel(page, spot.x + step, spot.y) for step in steps}


def has_colour(colour: str, found: set[str]) -> bool:
    """Whether it is among them, or one that a browser which blends in other steps makes of it."""
    return any(
        max(abs(a - b) for a, b in zip(_channels(colour), _channels(other), strict=True)) <= 2
        for other in found
    )


def _channels(colour: str) -> bytes:
    return bytes.fromhex(colour.removeprefix("#"))


def contrast(one: str, other: str) -> float:
    """Of two colours such as ``rgb(1, 2, 3)``, as WCAG 2 defines it."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    numbers = [float(part) for part in re.findall(r"[\d.]+", colour)][:3]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (number / 255 for number in numbers)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def totals(page: Page) -> dict[str, Any]:
    """The report's, of the first side."""
    found: dict[str, Any] = page.evaluate("reports[0].totals")
    return found
