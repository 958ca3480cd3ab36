"""The curve of a what-if over a range, as a picture: answers per second, and waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.render.svg import MARGIN, WIDTH, Element, Scale, Sheet, element, line, text, ticks
from poolhog.render.words import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.replay.study import Study

HEIGHT = 150.0
_CSS = (
    (".curve", "fill:none;stroke:var(--accent);stroke-width:2"),
    (".point", "fill:var(--accent)"),
    (".waits .curve", "stroke:var(--waiting)"),
    (".waits .point", "fill:var(--waiting)"),
    (".now", "stroke:var(--muted);stroke-width:1.2;stroke-dasharray:4 3"),
)


def curve_svg(study: Study, *, width: float = WIDTH) -> str:
    """Two panels, one above the other, over the same range; the run's own size is marked."""
    over = study.range
    if over is None or not study.curve:
        raise ValueError("a curve needs a range")
    what = over.name.replace("_", " ")
    sheet = Sheet(f"What if: {what} from {over.values[0]} to {over.values[-1]}", width=width)
    performances = [one.after for one in study.curve]
    scale = Scale(over.values[0], over.values[-1], MARGIN + 52, width - MARGIN - 12)
    now = _now(study)
    rates = [one.throughput for one in performances]
    waits = [one.waits.p95 for one in performances]
    panels: Sequence[tuple[str, str, list[float], Callable[[float], str]]] = (
        ("requests per second", "rates", rates, lambda v: f"{v:g}"),
        ("95 % of checkouts wait no longer than", "waits", waits, seconds),
    )
    for title, class_, values, told in panels:
        sheet.y += 26
        sheet.add(text(MARGIN, sheet.y, title, "strong"))
        sheet.y += 12
        top = sheet.y
        sheet.add(*panel(scale, over.values, values, top, class_, told))
        sheet.y = top + HEIGHT
        if now is not None and over.values[0] <= now <= over.values[-1]:
            sheet.add(line(scale.x(now), top, scale.x(now), sheet.y, "now"))
            sheet.add(text(scale.x(now) + 4, top + 10, "as it was", "small halo"))
        marks = ticks(scale.upper, int(scale.width / 60), scale.lower)
        sheet.axis(scale, top, [(at, f"{at:g}") for at in marks if at == int(at)])
    sheet.y += 12
    sheet.add(text((scale.left + scale.right) / 2, sheet.y, what, "small", "middle"))
    rows = (
        f"{value}: {one.throughput:.1f} requests per second, p95 wait {seconds(one.waits.p95)}."
        for value, one in zip(over.values, performances, strict=True)
    )
    return sheet.svg(" ".join(rows), _CSS)


def panel(
    scale: Scale,
    at: Sequence[int],
    values: Sequence[float],
    top: float,
    class_: str,
    told: Callable[[float], str],
) -> list[Element]:
    """A curve over its grid; ``told`` is how a value is written at the axis."""
    highest = max(*values, 1e-9)
    upper = max(ticks(highest * 1.2, 4)[-1], highest)
    bottom = top + HEIGHT

    def y(value: float) -> float:
        return bottom - HEIGHT * value / upper

    made = []
    for mark in ticks(upper, 3):
        made.append(line(scale.left, y(mark), scale.right, y(mark), "grid"))
        made.append(text(scale.left - 6, y(mark) + 4, told(mark), "small", "end"))
    points = [(scale.x(number), y(value)) for number, value in zip(at, values, strict=True)]
    path = "M" + " L".join(f"{x:.1f},{height:.1f}" for x, height in points)
    dots = [element("circle", cx=x, cy=height, r=3, class_="point") for x, height in points]
    return [*made, element("g", element("path", d=path, class_="curve"), *dots, class_=class_)]


def _now(study: Study) -> float | None:
    """What the run had of it."""
    workload, name = study.replayed.workload, study.range.name if study.range else ""
    if name == "pool_size":
        sizes = {pool.size for pool in workload.pools}
        return sizes.pop() if len(sizes) == 1 else None
    if name == "workers":
        return workload.processes
    if name == "users":
        return study.replayed.users
    overflows = {pool.max_overflow for pool in workload.pools}
    return overflows.pop() if len(overflows) == 1 else None
