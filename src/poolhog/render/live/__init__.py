"""The live page: how a run stands now, and its last minutes, as one HTML file without scripts."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from poolhog.analysis.liveness import Liveness
from poolhog.render.dump import known_told, verdict
from poolhog.render.dump_json import written_at
from poolhog.render.holders import asker, conclusion_told
from poolhog.render.live.chart import chart_of
from poolhog.render.losses import missing_json, missing_told, unrecorded_told
from poolhog.render.palette import PAGE_COLOURS, PAINTS, SURFACES, css_variables
from poolhog.render.top_tables import out_told
from poolhog.render.words import count, path_and_line, seconds, short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.live import Live, LiveCheckout, LivePool
    from poolhog.analysis.recent import Recent

MOST_ROWS = 50
MOST_POOLS = 20
_UNSEEN = "unseen"


def live_page(live: Live, recent: Recent, title: str, *, source: bool) -> bytes:
    """The page of a run; lines of code are shown with ``source`` only."""
    pools = [pool for pool in live.pools if pool.out or pool.waiting] or list(live.pools[:1])
    return _page(
        title=title,
        alerts=list(_alerts(live)),
        conclusions=[conclusion_told(one) for one in live.conclusions] or [verdict(live.dumps)],
        life=_life(live),
        pools=[_pool(pool) for pool in pools[:MOST_POOLS]],
        more_pools=len(live.pools) - len(pools[:MOST_POOLS]),
        chart=chart_of(recent),
        checkouts=[_checkout(one, source=source) for one in live.checkouts[:MOST_ROWS]],
        more_checkouts=max(len(live.checkouts) - MOST_ROWS, 0),
        routes=live.routes[:MOST_ROWS],
        has_many=len(live.dumps) > 1,
        has_source=source,
        nothing="",
    )


def nothing_page(why: str) -> bytes:
    """A page that says why there is nothing to show."""
    return _page(title="", alerts=[], nothing=why, chart=None)


def headers(refresh: float | None) -> list[tuple[bytes, bytes]]:
    """The headers of the page; with ``refresh``, it loads itself anew after so many seconds."""
    found = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy().encode()),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
    ]
    if refresh is not None:
        found.append((b"refresh", f"{refresh:g}".encode()))
    return found


def policy() -> str:
    """What the page may do: have its own styles, and load nothing."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


def _page(**content: Any) -> bytes:
    template = _environment().get_template("live.html.j2")
    return template.render(**content, style=_style()).encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("poolhog.render.live"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": seconds}
    return environment


@cache
def _style() -> str:
    colours = dict(SURFACES) | dict(PAGE_COLOURS)
    light, dark = (css_variables(dark=is_dark, more=colours) for is_dark in (False, True))
    own = files(__package__).joinpath("live.css").read_text(encoding="utf-8")
    states = "".join(f".state.{p.name}{{border-color:var(--{p.name})}}" for p in PAINTS.values())
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}{own}{states}"


def _alerts(live: Live) -> Iterator[str]:
    """What has to stand at the top, because something is missing or not of now."""
    yield from known_told(live.dumps)
    for one in live.unreadable:
        yield f"Not in this: {one.file} {one.reason}."
    for told in (missing_told(missing_json(live.processes)), unrecorded_told(live.processes)):
        if told is not None:
            yield told


def _life(live: Live) -> str:
    at = max(map(written_at, live.processes))
    running = sum(dump.liveness is Liveness.RUNNING for dump in live.dumps)
    return f"{count(running, 'process')} running, as of {at:%H:%M:%S}"


def _pool(pool: LivePool) -> dict[str, Any]:
    return {
        "name": pool.pool.name,
        "pid": pool.process.pid,
        "out": out_told(pool),
        "waiting": len(pool.waiting),
        "longest": pool.longest_wait,
        "is_exhausted": pool.is_exhausted,
    }


def _checkout(one: LiveCheckout, *, source: bool) -> dict[str, Any]:
    line = one.line
    return {
        "state": PAINTS[one.state].name if one.state is not None else _UNSEEN,
        "what": one.what,
        "lasted": one.state_seconds,
        "age": one.age,
        "who": asker(one.checkout),
        "line": path_and_line(line) if line is not None else "",
        "function": short_name(line.name) if line is not None else "",
        "source": line.source if source and line is not None else "",
        "pid": one.process.pid,
    }
