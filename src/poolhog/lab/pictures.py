"""The pictures of a run: bursts as timelines and bars, lives of requests, throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.lab.parameters import HOLDING_STYLES, waves
from poolhog.render.charts import (
    ExpectedValue,
    LatencyBar,
    LatencyGroup,
    ThroughputBar,
    latency_bars_svg,
    throughput_bars_svg,
)
from poolhog.render.lifecycle import lifecycle_svg, lifecycles_svg
from poolhog.render.timeline import timeline_svg
from poolhog.render.words import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.lab.results import BurstResult, LoadResult, Results


def draw(results: Results) -> dict[str, str]:
    """Every picture that these results allow, as SVG by name."""
    return dict(
        [
            *_lifecycles(results),
            *(picture for burst in results.burst for picture in _timelines(results, burst)),
            *_latencies(results),
            *_load(results),
        ]
    )


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
    most = max(waves(burst.style, burst.requests, burst.connections) for burst in bursts)
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


def _lifecycles(results: Results) -> Iterator[tuple[str, str]]:
    for result in results.lifecycle:
        method = result.endpoint.split()[0].lower()
        name = f"lifecycle-{result.style}-{method}"
        yield name, lifecycle_svg(result.lifecycle, title=f"{result.style}: {result.endpoint}")
    gets = [(str(result.style), result.lifecycle) for result in results.distinct_gets]
    if len(gets) > 1:
        yield "lifecycles-get", lifecycles_svg(gets, title="The same GET in each style")


def _timelines(results: Results, burst: BurstResult) -> Iterator[tuple[str, str]]:
    latency = seconds(burst.external_latency)
    requests = count(burst.requests, "request")
    title = f"{burst.style}: {requests} at once, external call of {latency}"
    name = f"timeline-{burst.style}-{burst.requests}"
    yield name, timeline_svg(burst.timeline, title=title)
    if burst.requests == results.parameters.most_requests:
        animated = timeline_svg(burst.timeline, title=title, animated=True)
        yield f"timeline-{burst.style}-animated", animated


def _latencies(results: Results) -> Iterator[tuple[str, str]]:
    styles = dict.fromkeys(burst.style for burst in results.burst)
    for style in styles:
        of_style = [burst for burst in results.burst if burst.style == style]
        yield f"latency-{style}", _bars(of_style, f"{style}: how long each request took")
    largest = results.largest_bursts
    if len(largest) > 1:
        requests = count(results.parameters.most_requests, "request")
        yield "latency-compared", _bars(largest, f"How long each of {requests} took")


def _bars(bursts: list[BurstResult], title: str) -> str:
    connections = count(bursts[0].connections, "connection")
    return latency_bars_svg(
        [latency_group(burst) for burst in bursts],
        title=title,
        subtitle=f"{connections}, L = {seconds(bursts[0].external_latency)}",
        marks=latency_marks(bursts),
    )


def _load(results: Results) -> Iterator[tuple[str, str]]:
    if not results.load:
        return
    bars, limit = throughput(results)
    first = results.load[0]
    subtitle = (
        f"{count(first.users, 'user')}, pool of {first.pool_size}, {count(first.workers, 'worker')}"
    )
    yield (
        "load",
        throughput_bars_svg(bars, limit, title="Answers per second under load", subtitle=subtitle),
    )
