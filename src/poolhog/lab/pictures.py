"""The pictures of a run: bursts as timelines and bars, lives of requests, throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.lab.parameters import HOLDING_STYLES
from poolhog.lab.service.settings import Style
from poolhog.render.charts import (
    ExpectedValue,
    LatencyBar,
    LatencyGroup,
    ThroughputBar,
    latency_bars_svg,
    throughput_bars_svg,
)
from poolhog.render.lifecycle import lifecycle_svg, lifecycles_svg
from poolhog.render.svg import WIDTH
from poolhog.render.timeline import timeline_svg
from poolhog.render.words import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.lab.results import BurstResult, LoadResult, Results


NARROW = 420
"""The width of pictures for phones, and for slides on which a picture stands beside code."""

MEDIUM = 760
"""The width of a picture beside logs on a slide: its stages have room for their names."""

ANIMATED = "-animated"
"""How the names of pictures end that play."""


def draw(results: Results, width: float = WIDTH) -> dict[str, str]:
    """Every picture that these results allow, as SVG by name."""
    return dict(
        [
            *_lifecycles(results, width),
            *(picture for burst in results.burst for picture in _timelines(results, burst, width)),
            *_latencies(results, width),
            *_load(results, width),
        ]
    )


def draw_compared(results: Results) -> list[str]:
    """The largest burst of each style as a narrow picture, all of them with the same marks."""
    largest = results.largest_bursts
    marks = latency_marks(largest) if largest else []
    return [
        latency_bars_svg([latency_group(burst)], title=str(burst.style), marks=marks, width=NARROW)
        for burst in largest
    ]


def draw_two_lives(results: Results) -> str | None:
    """The lives of the implicit and the explicit GET for a slide; ``None`` without both."""
    gets = [results.lifecycle_of(style, "GET") for style in (Style.IMPLICIT, Style.EXPLICIT)]
    lives = [(str(get.style), get.lifecycle) for get in gets if get is not None]
    if len(lives) < len(gets):
        return None
    return lifecycles_svg(lives, title="The same GET in both styles", width=MEDIUM)


def throughput(results: Results) -> tuple[list[ThroughputBar], ExpectedValue]:
    """The bars of the load, and the limit of all styles."""
    limit = max(load.limit_per_s for load in results.load)
    bars = [
        ThroughputBar(str(load.style), load.requests_per_s, _own(load)) for load in results.load
    ]
    return bars, ExpectedValue(limit, f"limit: users / latency = {_rate(limit)}")


def latency_group(burst: BurstResult) -> LatencyGroup:
    """A burst's requests as bars; one that failed is labelled with its status."""
    bars = tuple(
        LatencyBar(f"#{index}" if status == 200 else f"{status}", min(wait, latency), latency)
        for index, (wait, latency, status) in enumerate(
            zip(burst.waits, burst.latencies, burst.statuses, strict=True), 1
        )
    )
    failed = f", {burst.errors} of them failed" if burst.errors else ""
    return LatencyGroup(
        f"{burst.style}: {count(burst.requests, 'request')} at once{failed}, "
        f"done after {seconds(burst.makespan)}",
        bars,
    )


def latency_marks(bursts: list[BurstResult]) -> list[ExpectedValue]:
    """The latency of the external call, and its multiples that the waves of a burst add up to."""
    latency = bursts[0].external_latency
    most = max(burst.waves for burst in bursts)
    return [
        ExpectedValue(n * latency, "L" if n == 1 else f"{n} L") for n in range(1, min(most, 4) + 1)
    ]


def _rate(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _own(load: LoadResult) -> ExpectedValue | None:
    if load.style not in HOLDING_STYLES:
        return None
    value = load.pool_limit_per_s
    return ExpectedValue(value, f"limit: connections / latency = {_rate(value)}")


def _lifecycles(results: Results, width: float) -> Iterator[tuple[str, str]]:
    for result in results.lifecycle:
        method = result.endpoint.split()[0].lower()
        name = f"lifecycle-{result.style}-{method}"
        title = f"{result.style}: {result.endpoint}"
        yield name, lifecycle_svg(result.lifecycle, title=title, width=width)
    gets = [(str(result.style), result.lifecycle) for result in results.distinct_gets]
    if len(gets) > 1:
        yield (
            "lifecycles-get",
            lifecycles_svg(gets, title="The same GET in each style", width=width),
        )


def _timelines(results: Results, burst: BurstResult, width: float) -> Iterator[tuple[str, str]]:
    latency = seconds(burst.external_latency)
    requests = count(burst.requests, "request")
    title = f"{burst.style}: {requests} at once, external call of {latency}"
    name = f"timeline-{burst.style}-{burst.requests}"
    yield name, timeline_svg(burst.timeline, title=title, width=width)
    largest = burst.requests == results.parameters.most_requests
    stem = f"timeline-{burst.style}" if largest else name
    animated = timeline_svg(burst.timeline, title=title, animated=True, width=width)
    yield f"{stem}{ANIMATED}", animated


def _latencies(results: Results, width: float) -> Iterator[tuple[str, str]]:
    styles = dict.fromkeys(burst.style for burst in results.burst)
    for style in styles:
        of_style = [burst for burst in results.burst if burst.style == style]
        title = f"{style}: how long each request took"
        yield f"latency-{style}", _bars(of_style, title, width)
        in_one_wave = [burst for burst in of_style if burst.waves == 1]
        if in_one_wave and style in HOLDING_STYLES:
            yield f"latency-{style}-one-wave", _bars(in_one_wave, title, width)
    largest = results.largest_bursts
    if len(largest) > 1:
        requests = count(results.parameters.most_requests, "request")
        yield "latency-compared", _bars(largest, f"How long each of {requests} took", width)


def _bars(bursts: list[BurstResult], title: str, width: float) -> str:
    connections = count(bursts[0].connections, "connection")
    return latency_bars_svg(
        [latency_group(burst) for burst in bursts],
        title=title,
        subtitle=f"{connections}, L = {seconds(bursts[0].external_latency)}",
        marks=latency_marks(bursts),
        width=width,
    )


def _load(results: Results, width: float) -> Iterator[tuple[str, str]]:
    if not results.load:
        return
    bars, limit = throughput(results)
    first = results.load[0]
    subtitle = (
        f"{count(first.users, 'user')}, pool of {first.pool_size}, {count(first.workers, 'worker')}"
    )
    title = "Answers per second under load"
    yield "load", throughput_bars_svg(bars, limit, title=title, subtitle=subtitle, width=width)
