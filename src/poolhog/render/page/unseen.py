"""What a recorder could not see, did not finish, or the page leaves out: told on every page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.render.losses import end_told, missing_told
from poolhog.render.page.summary import left_out
from poolhog.render.words import count, seconds, short_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Json = Mapping[str, Any]


class Unseen(NamedTuple):
    """Something that is not in what is shown; ``is_grave``: numbers may be wrong because of it."""

    text: str
    is_grave: bool = False


def unseen(side: Json) -> Iterator[Unseen]:
    """What is missing in a side, the gravest first."""
    report = side["report"]
    for one in report["unreadable"]:
        told = f"Not in this: {short_path(one['file'])} {one['reason']}."
        yield Unseen(told, is_grave=True)
    lacking = missing_told(report["missing"], report["totals"]["checkouts"])
    if lacking is not None:
        yield Unseen(lacking, is_grave=True)
    yield from _lost(report)
    yield from _unfinished(report)
    told = left_out(side)
    if told:
        yield Unseen(f"{told[0].upper()}{told[1:]}.")
    nodes = side["left_out"].get("nodes", 0)
    if nodes:
        yield Unseen(
            f"Where connection time goes leaves out {count(nodes, 'part')}, the smallest: "
            "their time is in those above them."
        )
    yield from _sampling(report)
    if not any(frame["source"] for frame in _sites(report)) and any(_sites(report)):
        yield Unseen("The recording has no source text, so no lines of code can be shown.")


def alerts(side: Json) -> list[str]:
    """What has to stand at the top."""
    return [one.text for one in unseen(side) if one.is_grave]


def _lost(report: Json) -> Iterator[Unseen]:
    for process in report["processes"]:
        dropped, faults = process["dropped"], process["recorder_errors"]
        if dropped or faults:
            lost = f"{count(dropped, 'fact')} dropped, {count(faults, 'fault')}"
            text = f"The recorder did not see everything of process {process['pid']}: {lost}."
            yield Unseen(text, is_grave=True)


def _unfinished(report: Json) -> Iterator[Unseen]:
    unfinished = {p["pid"] for p in report["processes"] if not p["finished"]}
    cut_off = unfinished & {one["pid"] for one in report["missing"]}
    pids = sorted(unfinished - cut_off)
    if pids:
        which = f"Process {pids[0]}" if len(pids) == 1 else f"{len(pids)} processes"
        was = "was" if len(pids) == 1 else "were"
        yield Unseen(
            f"{which} exited abnormally, or {was} still running: the last moments may be missing.",
            is_grave=True,
        )
    lent, waiting = report["totals"]["open"], report["totals"]["waiting"]
    if lent or waiting:
        yield Unseen(end_told(lent, waiting, is_cut_off=bool(cut_off)), is_grave=True)


def _sampling(report: Json) -> Iterator[Unseen]:
    intervals = {p["sampling_interval_s"] for p in report["processes"]}
    if 0 in intervals:
        yield Unseen(
            "Owners of idle connections were not looked at (--interval 0): "
            "what they did in gaps is unknown, and counts as running."
        )
    told = [seconds(interval) for interval in sorted(intervals) if interval]
    if told:
        yield Unseen(
            f"Owners of idle connections were looked at every {' or '.join(told)}. A gap that no "
            "look fell into is split into parked, running and ready like others whose connection "
            "was asked for on the same line."
        )


def _sites(report: Json) -> list[Json]:
    return [f["site"] for f in report["findings"] if f["site"] is not None]
