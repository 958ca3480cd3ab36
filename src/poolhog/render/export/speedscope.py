"""A trace in the file format of speedscope.

The first profile has the seconds in which connections were lent, by route, stack, and what was
going on there; the second those in which requests waited for one. Then there is a profile for each
connection of a pool, in the order of time: whom it was lent to, and what was done with it.
"""

from __future__ import annotations

import json
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from poolhog.analysis.lanes import Uses
from poolhog.analysis.owners import route_of
from poolhog.render.export.format import (
    Format,
    drop_at,
    exporter,
    frame_name,
    iso_time,
    operation_name,
    pool_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from poolhog.analysis.lanes import Use
    from poolhog.analysis.selection import Extract, Part
    from poolhog.analysis.shown import Shown, Span
    from poolhog.model import Site

    Stack = tuple[int, ...]
    """Frames, the outermost first."""

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"

LENT = "seconds lent, by route, stack and state"
WAITED = "seconds waited, by route, stack and reason"
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_BATCH = 10_000
"""Events that are written at once: one connection may have millions."""

_REASONS = ("queueing", "connecting", "pinging")


def speedscope(extract: Extract) -> Iterator[str]:
    """The file, in pieces."""
    frames = _Frames()
    yield json.dumps({"$schema": _SCHEMA}).removesuffix("}")
    yield f', "exporter": {json.dumps(exporter())}'
    yield f', "name": {json.dumps(f"poolhog, {iso_time(extract.began_wall)}")}'
    yield ', "activeProfileIndex": 0, "profiles": [\n'
    yield ",\n".join(json.dumps(profile) for profile in _sampled(extract, frames))
    for part in extract.parts:
        shown = part.shown(by_connection=True)
        for _, connection in groupby(shown, key=_connection):
            yield ",\n"
            yield from _evented(part, connection, frames)
    yield f'\n], "shared": {{"frames": {json.dumps(frames.known)}}}}}\n'


class _Frames:
    """The frames that the file shares, each once."""

    def __init__(self) -> None:
        self.known: list[dict[str, Any]] = []
        self._numbers: dict[tuple[str, str, int], int] = {}
        self._stacks: dict[Site | None, Stack] = {None: ()}

    def named(self, name: str, site: Site | None = None) -> int:
        """The number of a frame with this name, at this line."""
        key = (name, site.file, site.line) if site is not None else (name, "", 0)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.known)
            at = {"file": site.file, "line": site.line} if site is not None else {}
            self.known.append({"name": name, **at})
        return number

    def stack(self, site: Site | None) -> Stack:
        """The frames of a site and its callers."""
        found = self._stacks.get(site)
        if found is None and site is not None:
            own = self.named(frame_name(site), site)
            found = self._stacks[site] = (*self.stack(site.caller), own)
        return found or ()


class _Seconds:
    """Seconds by stack: the samples of a profile, and their weights."""

    def __init__(self) -> None:
        self._of: dict[Stack, float] = {}

    def add(self, stack: Stack, seconds: float) -> None:
        self._of[stack] = self._of.get(stack, 0.0) + seconds

    def profile(self, name: str) -> dict[str, Any]:
        # What has a part of its stack in common stands together, also in the order of "time".
        stacks = sorted(self._of)
        weights = [round(self._of[stack], 9) for stack in stacks]
        return {
            "type": "sampled",
            "name": name,
            "unit": "seconds",
            "startValue": 0,
            "endValue": round(sum(weights), 9),
            "samples": stacks,
            "weights": weights,
        }


def _sampled(extract: Extract, frames: _Frames) -> Iterator[dict[str, Any]]:
    # Brings NumPy along, which `--help` does not need.
    from poolhog.analysis.shown import at_places

    lent, waited = _Seconds(), _Seconds()
    for part in extract.parts:
        for shown in part.shown():
            checkout = shown.checkout
            route = frames.named(route_of(checkout))
            for span in at_places(shown):
                leaf = frames.named(span.state)
                lent.add((route, *frames.stack(span.site or checkout.site), leaf), span.duration)
            for reason, seconds in zip(_REASONS, shown.spent, strict=False):
                if seconds > 0:
                    leaf = frames.named(reason)
                    waited.add((route, *frames.stack(checkout.site), leaf), seconds)
    yield lent.profile(LENT)
    yield waited.profile(WAITED)


def _connection(shown: Shown) -> tuple[str, int | None]:
    return shown.checkout.pool.id, shown.checkout.connection


def _evented(part: Part, connection: Iterable[Shown], frames: _Frames) -> Iterator[str]:
    """One connection's uses, each with what was done with it; instants are those of the run."""
    name = ""
    began, ended = part.selection.started, part.selection.ended
    yield '{"type": "evented", "unit": "seconds", "events": ['
    for use in _uses(connection):
        comma = "," if name else ""
        if not name:
            began = min(began, use.started)
            pool, number = _connection(use.shown)
            name = f"{pool_names(part.pools)[pool]}, connection {number}, {part.process.pid}"
        ended = max(ended, use.ended)
        yield comma
        events = map(_ENCODER.encode, _events(use, frames))
        yield next(events)
        while batch := list(islice(events, _BATCH)):
            yield "," + ",".join(batch)
    rest = {"name": name, "startValue": round(began, 6), "endValue": round(ended, 6)}
    yield f"], {json.dumps(rest)[1:]}"


def _uses(connection: Iterable[Shown]) -> Iterator[Use]:
    uses = Uses()
    for shown in connection:
        yield from uses.push(shown)
    yield from uses.rest()


def _events(use: Use, frames: _Frames) -> Iterator[dict[str, Any]]:
    """Frames that are opened and closed: the route, in it the state, in it what or where."""
    from poolhog.analysis.shown import at_places

    route = frames.named(route_of(use.shown.checkout))
    yield _event("O", route, use.started)
    for span in at_places(use.shown):
        if span.started >= use.ended:
            break
        stack = [frames.named(span.state), *_doing(span, frames)]
        yield from (_event("O", frame, span.started) for frame in stack)
        ended = min(span.ended, use.ended)
        yield from (_event("C", frame, ended) for frame in reversed(stack))
    yield _event("C", route, use.ended)


def _doing(span: Span, frames: _Frames) -> list[int]:
    if not span.is_of_gap:
        return [frames.named(operation_name(span), span.site)]
    return [frames.named(frame_name(span.line), span.line)] if span.line is not None else []


def _event(kind: str, frame: int, at: float) -> dict[str, Any]:
    return {"type": kind, "frame": frame, "at": round(at, 6)}


def _write(extract: Extract, out: BinaryIO) -> int:
    for text in speedscope(extract):
        out.write(text.encode())
    return 0


SPEEDSCOPE = Format(
    name="speedscope",
    purpose="",
    suffix=".speedscope.json",
    write=_write,
    hint=drop_at("https://www.speedscope.app"),
    is_for_browsers=True,
)
