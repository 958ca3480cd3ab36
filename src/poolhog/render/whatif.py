"""What would be, for a terminal: the conclusion, how good the replay is, the numbers, formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.render.console import count, folded_lines, seconds
from poolhog.render.frames import short_path
from poolhog.render.hints import command_of
from poolhog.render.missing import missing_lines
from poolhog.render.palette import TERMINAL_MUTED
from poolhog.render.unreadable import unreadable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.replay.formulas import Answers
    from poolhog.analysis.replay.performance import Performance
    from poolhog.analysis.replay.prediction import Replay
    from poolhog.analysis.replay.study import Study
    from poolhog.analysis.replay.top_finding import TopFindingWhatIf
    from poolhog.analysis.replay.whatif import WhatIf
    from poolhog.model import Site

MUCH_PYTHON = 0.3
"""From this share of a process's time on, its processor may be the limit: not all is seen."""

_WARNING = "bold red"


def whatif_lines(study: Study, width: int, target: Sequence[str] = ()) -> Iterator[Text]:
    """The study; first comes the conclusion, last what to type next."""
    blocks = (
        (
            *unreadable_lines(study.unreadable, width),
            *missing_lines(study.processes, width),
            *_conclusion(study, width),
        ),
        tuple(_warnings(study, width)),
        tuple(_table(study)),
        tuple(_curve(study)),
        tuple(_formulas(study, width)),
        (_next(study, target),),
    )
    for index, block in enumerate(block for block in blocks if block):
        if index:
            yield Text()
        yield from block


def _conclusion(study: Study, width: int) -> Iterator[Text]:
    for line in folded_lines(conclusion(study), width):
        yield Text(line, "bold")
    for line in folded_lines(error_told(study.replayed), width):
        yield Text(line, TERMINAL_MUTED if not study.replayed.is_doubtful else _WARNING)


def conclusion(study: Study) -> str:
    """What would be, in a sentence."""
    if study.range is not None:
        return _over_range(study)
    if study.prediction is None:
        was = study.replayed.recorded
        return (
            f"The run as it was: {rate(was.throughput)} requests/s, 95 % of checkouts waited "
            f"{seconds(was.waits.p95)} or less, {_percent(was.use)} of the connections' time was "
            "lent."
        )
    before, after = study.prediction.before, study.prediction.after
    return f"If {terms_told(study.terms, study.released)}: {change_told(before, after)}."


def change_told(before: Performance, after: Performance) -> str:
    """What changes, such as ``2.0 → 198 requests/s, p95 wait 4.9 s → 2 ms``."""
    parts = [f"p95 wait {seconds(before.waits.p95)} → {seconds(after.waits.p95)}"]
    parts.append(f"{rate(before.throughput)} → {rate(after.throughput)} requests/s")
    if before.use is not None and after.use is not None:
        parts.append(f"{_percent(before.use)} → {_percent(after.use)} lent")
    if before.timeouts or after.timeouts:
        parts.append(f"{before.timeouts:,} → {count(after.timeouts, 'timeout')}")
    return ", ".join(parts)


def beside_told(beside: TopFindingWhatIf) -> str:
    """What changes if the line of a finding holds no connection, and how good the replay is."""
    change = change_told(beside.prediction.before, beside.prediction.after)
    of_part = ", of a part of the run" if beside.part is not None else ""
    return f"{change} (replay error {_error(beside.replayed.error)}{of_part})"


def release_words(site: Site, target: Sequence[str] = ()) -> list[str]:
    """The command that says more of it."""
    return ["whatif", *target, "--release", _name(site)]


def _over_range(study: Study) -> str:
    over = study.range
    if over is None or not study.curve:
        return ""
    first, last = study.curve[0].after, study.curve[-1].after
    what = over.name.replace("_", " ")
    told = f"With {what} {over.values[0]:,} to {over.values[-1]:,}"
    others = terms_told(study.terms, study.released)
    if others:
        told += f", if {others}"
    told += f": {change_told(first, last)}."
    enough = next(
        (
            value
            for value, one in zip(over.values, study.curve, strict=True)
            if one.after.waits.p95 <= study.before.wait
        ),
        None,
    )
    wait = f"95 % of checkouts wait {seconds(study.before.wait)} or less"
    if enough is None:
        return f"{told} With none of them {wait}."
    return f"{told} From {enough:,} on, {wait}."


def terms_told(terms: WhatIf, released: Sequence[str]) -> str:
    """What is otherwise, in words."""
    parts = []
    if released:
        names = _listed([_short(name) for name in released])
        whose = "its connection" if len(released) == 1 else "their connections"
        parts.append(f"{names} gave {whose} back first")
    if terms.pool_size is not None:
        parts.append(f"each pool kept {count(terms.pool_size, 'connection')}")
    if terms.max_overflow is not None:
        parts.append(f"each pool opened {terms.max_overflow:,} more at need")
    if terms.workers is not None:
        parts.append(f"there were {count(terms.workers, 'worker')}")
    if terms.users is not None:
        thinking = f" and thought for {seconds(terms.think)}" if terms.think else ""
        parts.append(f"{count(terms.users, 'user')} asked again when answered{thinking}")
    if terms.rate != 1.0:
        parts.append(f"{terms.rate:g} times as many requests came")
    if terms.external_latency != 1.0:
        parts.append(f"what is no database took {terms.external_latency:g} times as long")
    return " and ".join(parts)


def error_told(replayed: Replay) -> str:
    """How far the replay is from what was recorded."""
    told = (
        "The replay of the run as it was differs from what was recorded by "
        f"{_error(replayed.throughput_error)} (requests/s), {_error(replayed.wait_error)} "
        f"(p95 wait) and {_error(replayed.response_error)} (p95 response)"
    )
    return f"{told}: take what it predicts with doubt." if replayed.is_doubtful else f"{told}."


def _error(share: float) -> str:
    return f"{share * 100:.1f} %" if share < 10 else "more than 1000 %"


def _warnings(study: Study, width: int) -> Iterator[Text]:
    replayed = study.replayed
    notes = []
    if replayed.users is not None:
        window = replayed.window
        notes.append(
            f"{count(replayed.users, 'user')} sent one request after the other; answers are "
            f"counted from {seconds(window.started)} to {seconds(window.ended)}."
        )
    if replayed.workload.unfinished:
        number = count(replayed.workload.unfinished, "request")
        notes.append(
            f"{number} got no connection or had not ended: with one, they go on as others of their "
            "route did."
        )
    for note in notes:
        yield from (Text(line, TERMINAL_MUTED) for line in folded_lines(note, width))
    after = study.prediction.after if study.prediction is not None else None
    if after is not None and (after.running or 0.0) >= MUCH_PYTHON:
        told = (
            f"Python would be executed {_percent(after.running)} of the time of each worker, and "
            "more than was seen: its processor may be the limit, which no replay knows."
        )
        yield from (Text(line, _WARNING) for line in folded_lines(told, width))


def _table(study: Study) -> Iterator[Text]:
    columns = [("recorded", study.replayed.recorded), ("replayed", study.replayed.replayed)]
    if study.prediction is not None:
        columns.append(("what if", study.prediction.after))
    is_closed = study.replayed.users is not None or study.terms.users is not None
    rows = [["", *(name for name, _ in columns)]]
    rows += [
        [label, *(cell for cell in map(tell, (performance for _, performance in columns)))]
        for label, tell in _ROWS
        if not (is_closed and label == _MAKESPAN)
    ]
    yield from aligned(rows, accent=len(columns) if study.prediction is not None else 0)


_MAKESPAN = "first arrival to last answer"
_ROWS = (
    ("requests per second", lambda o: rate(o.throughput)),
    (_MAKESPAN, lambda o: seconds(o.makespan)),
    ("wait p50", lambda o: seconds(o.waits.p50)),
    ("     p95", lambda o: seconds(o.waits.p95)),
    ("     p99", lambda o: seconds(o.waits.p99)),
    ("response p50", lambda o: seconds(o.responses.p50)),
    ("         p95", lambda o: seconds(o.responses.p95)),
    ("         p99", lambda o: seconds(o.responses.p99)),
    ("connections lent", lambda o: _percent(o.use)),
    ("timeouts", lambda o: f"{o.timeouts:,}"),
)


def _curve(study: Study) -> Iterator[Text]:
    if study.range is None:
        return
    rows = [[study.range.name.replace("_", " "), *_POINT]]
    for value, one in zip(study.range.values, study.curve, strict=True):
        after = one.after
        rows.append(
            [
                f"{value:,}",
                rate(after.throughput),
                seconds(after.waits.p50),
                seconds(after.waits.p95),
                seconds(after.responses.p95),
                _percent(after.use),
                f"{after.timeouts:,}",
            ]
        )
    yield from aligned(rows)


_POINT = ("requests/s", "wait p50", "p95", "response p95", "lent", "timeouts")


def aligned(rows: Sequence[Sequence[str]], accent: int = 0) -> Iterator[Text]:
    """Rows of cells, the first row a heading; a column may be accented."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for index, row in enumerate(rows):
        line = Text()
        for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
            shown = f"  {cell:>{width}}" if at else f"{cell:<{width}}"
            style = TERMINAL_MUTED if not index else "bold" if at and at == accent else "none"
            line.append(shown, style)
        yield line


def _formulas(study: Study, width: int) -> Iterator[Text]:
    yield Text("Without a simulation", "bold")
    both = [("", study.before)]
    if study.after is not None:
        both = [("as it was: ", study.before), ("then: ", study.after)]
    is_closed = study.replayed.users is not None or study.terms.users is not None
    lines = [f"{label}{line}" for label, a in both for line in _pool_told(a, is_closed=is_closed)]
    lines += _other_told(study.after or study.before)
    for line in lines:
        for index, part in enumerate(folded_lines(line, width - 2)):
            yield Text(f"{'    ' if index else '  '}{part}")


def _pool_told(answers: Answers, *, is_closed: bool) -> Iterator[str]:
    if answers.ceiling is not None and answers.ceiling_requests is not None:
        yield (
            f"{count(answers.connections or 0, 'connection')} / {seconds(answers.mean_use)} of "
            f"mean use = {rate(answers.ceiling)} checkouts/s at the most: "
            f"{rate(answers.ceiling_requests)} requests/s"
        )
    wait = seconds(answers.wait)
    if is_closed:
        yield f"no pool size for a wait of {wait}: Erlang C is for requests that come by themselves"
    elif answers.smallest is not None:
        yield (
            f"{count(answers.smallest, 'connection')} in one pool let 95 % of "
            f"{rate(answers.checkouts_per_s)} checkouts/s wait {wait} or less (Erlang C: random "
            "arrivals, exponential use)"
        )


def _other_told(answers: Answers) -> Iterator[str]:
    if answers.floor is not None:
        yield (
            f"{count(answers.concurrent, 'request')} at once * ({answers.depth} connections each "
            f"- 1) + 1 = {answers.floor:,} connections, or they may wait for each other for ever"
        )
    if answers.total is not None:
        told = f"{count(answers.total, 'connection')} in total on {count(answers.hosts, 'host')}"
        if answers.max_connections is not None:
            allowed = answers.max_connections
            is_fine = answers.total <= allowed
            told += f", of max_connections {allowed:,}"
            told += "" if is_fine else f": {answers.total - allowed:,} too many"
        yield told


def _next(study: Study, target: Sequence[str]) -> Text:
    workload = study.replayed.workload
    words = ["whatif", *target]
    why = ""
    parked = next((site for site in workload.places if site is not None), None)
    if study.prediction is None and study.range is None and parked is not None:
        words = release_words(parked, target)
        why = "as if that line held no connection"
    elif study.range is None:
        sizes = [pool.size for pool in workload.pools if pool.size]
        least = min(sizes, default=5)
        words += [word for name in study.released for word in ("--release", _short_name(name))]
        words += ["--pool-size", f"{max(least // 2, 1)}..{least * 2}"]
        why = "which size would do"
    else:
        words = ["report", *target]
        why = "which code holds connections"
    command = command_of(["poolhog", *words])
    line = Text.assemble(("Next: ", TERMINAL_MUTED), (command, "bold"))
    line.append(f"  {why}", TERMINAL_MUTED)
    return line


def _name(site: Site) -> str:
    return f"{site.file.replace(chr(92), '/').rpartition('/')[2]}:{site.line}"


def _short_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _short(name: str) -> str:
    file, _, line = name.rpartition(":")
    return f"{short_path(file)}:{line}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} others"


def rate(value: float) -> str:
    """A number per second, with three digits."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _percent(share: float | None) -> str:
    if share is None:
        return "no limit"
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"
