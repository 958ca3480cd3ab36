"""What a run comes to, in one or two sentences that a manager understands, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.analysis.findings import POOL_TIMEOUT
from poolhog.render.findings import WORDS
from poolhog.render.page.calls import call_of
from poolhog.render.words import count, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Json = Mapping[str, Any]

_MUCH = 0.005
"""The least share of the time that is worth a number of its own."""


class Number(NamedTuple):
    """One of the numbers below the verdict: a name, a value in words, and what it says."""

    name: str
    value: str
    note: str
    exact: float


def verdict(report: Json) -> tuple[str, ...]:
    """The sentences; what stands between backquotes is code."""
    if not report["totals"]["checkouts"] and report["missing"]:
        return ("No checkout could be written.",)
    if not report["totals"]["checkouts"]:
        asked = "No connection was asked for while this was recorded."
        requests = report["totals"]["requests"]
        return (f"{asked} {count(requests, 'request')} needed none." if requests else asked,)
    return tuple(filter(None, (pool_sentence(report), cause_sentence(report))))


def pool_sentence(report: Json) -> str:
    """How far the pool was used up; of several, the one that was most."""
    used = [pool for pool in report["pools"] if pool["checkouts"]]
    pool = max(used, key=lambda p: (p["saturation"] or 0.0, p["contention"], p["use_s"]))
    several, capacity = len(used) > 1, pool["capacity"]
    lent = count(pool["peak_lent"], "connection")
    if capacity is None:
        which = f"Of {len(used)} pools, the busiest has" if several else "The pool has"
        return f"{which} no limit: it lent up to {lent} at once."
    which = (
        f"Of {len(used)} pools, the busiest one ({count(capacity, 'connection')})"
        if several
        else f"The pool of {capacity}"
    )
    if pool["peak_lent"] < capacity:
        return f"{which} never ran out: it lent at most {lent} at once."
    told = f"{which} was exhausted {percent(pool['saturation'] or 0.0)} of the time"
    timeouts = report["totals"]["timeouts"]
    if timeouts and not _is_about(report, POOL_TIMEOUT.name):
        told += f", and {count(timeouts, 'request')} got no connection in time"
    return f"{told}."


def cause_sentence(report: Json) -> str:
    """What the connection time went into, by the worst finding, or that nothing was found."""
    if not report["findings"]:
        totals = report["totals"]
        busy = percent(totals["busy_s"], totals["use_s"])
        return (
            "Nothing held a connection without need: the database was at work in "
            f"{busy} of the connection time."
        )
    finding = report["findings"][0]
    words, number = WORDS[finding["kind"]], finding["checkouts"]
    values = {
        "call": called(finding["site"]),
        "what": _awaited(finding["site"]),
        "place": place(finding["site"]),
        "times": "Once" if number == 1 else f"{number:,} times",
        "connections": count(number, "connection"),
        "writes": "1 write was" if number == 1 else f"{number:,} writes were",
        "requests": count(number, "request"),
    }
    if words.happened is not None and (words.spent is None or finding["share"] < _MUCH):
        return f"{words.happened.format(**values)}."
    has_share = finding["share"] >= _MUCH
    much = percent(finding["share"]) if has_share else seconds(finding["seconds"])
    return f"{much} of connection time {(words.spent or '').format(**values)}."


def called(site: Json | None) -> str:
    """What a line calls, as code, or else where it is."""
    call = call_of(site["source"]) if site is not None else ""
    return f"`{call}`" if call else place(site)


def _awaited(site: Json | None) -> str:
    """For what, or at least where."""
    found = called(site)
    return f"at {found}" if found == place(site) else f"for {found}"


def place(site: Json | None) -> str:
    """The line in short, as code."""
    if site is None:
        return "code that was not seen"
    return f"`{base(site['file'])}:{site['line']}`"


def base(file: str) -> str:
    """The last part of a path."""
    return file.replace("\\", "/").rpartition("/")[2]


def numbers(report: Json) -> Iterator[Number]:
    """The numbers below the verdict."""
    totals = report["totals"]
    yield Number("requests", f"{totals['requests']:,}", "recorded", totals["requests"])
    yield Number(
        "checkouts", f"{totals['checkouts']:,}", "connections asked for", totals["checkouts"]
    )
    pools = [pool for pool in report["pools"] if pool["checkouts"]]
    if not pools:
        return
    worst = max(pools, key=lambda pool: (pool["wait_p95_s"], pool["wait_p50_s"]))
    of = "for a connection" if len(pools) == 1 else "in the pool with the longest"
    yield Number("wait, p50", seconds(worst["wait_p50_s"]), of, worst["wait_p50_s"])
    yield Number("wait, p95", seconds(worst["wait_p95_s"]), of, worst["wait_p95_s"])
    peak = max(pools, key=lambda pool: pool["peak_waiting"])["peak_waiting"]
    yield Number("waiting at once", f"{peak:,}", "at the most, in one pool", peak)
    yield Number("connection time", seconds(totals["use_s"]), "lent, added up", totals["use_s"])
    if totals["timeouts"]:
        yield Number("timeouts", f"{totals['timeouts']:,}", "got no connection", totals["timeouts"])


def shares(report: Json, states: Sequence[str]) -> list[tuple[str, float, float]]:
    """Of each state its seconds, and their part of all use."""
    totals = report["totals"]
    return [
        (s, totals[f"{s}_s"], totals[f"{s}_s"] / totals["use_s"] if totals["use_s"] else 0.0)
        for s in states
    ]


def _is_about(report: Json, kind: str) -> bool:
    return bool(report["findings"]) and report["findings"][0]["kind"] == kind
