"""The outcome with different settings, for a terminal, from conclusion to formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.render.losses import loss_lines
from poolhog.render.output import aligned, in_blocks, next_line, paragraph
from poolhog.render.palette import TERMINAL_MUTED
from poolhog.render.reasons import no_prediction, share_told
from poolhog.render.words import (
    count,
    file_and_line,
    file_name,
    fine_percent,
    folded_lines,
    listed,
    place,
    rate,
    seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.analysis.replay.formulas import Answers
    from poolhog.analysis.replay.performance import Performance
    from poolhog.analysis.replay.prediction import Replay
    from poolhog.analysis.replay.study import Study, TopFindingWhatIf
    from poolhog.analysis.replay.whatif import WhatIf
    from poolhog.model import Site

    _Columns = tuple[tuple[str, Callable[[Performance], str]], ...]
    """Quantities of a performance: their names, and how they are written."""


def whatif_lines(study: Study, width: int, target: Sequence[str] = ()) -> Iterator[Text]:
    """The study; first comes the conclusion, last what to type next."""
    blocks = (
        (*loss_lines(study.unreadable, study.processes, width), *_conclusion(study, width)),
        tuple(_warnings(study, width)),
        tuple(_table(study)),
        tuple(_curve(study)),
        tuple(_formulas(study, width)),
        (_next(study, target),),
    )
    yield from in_blocks(blocks)


def _conclusion(study: Study, width: int) -> Iterator[Text]:
    yield from paragraph(conclusion(study), width, "bold")
    yield from paragraph(error_told(study.replayed), width, TERMINAL_MUTED)


def conclusion(study: Study) -> str:
    """The predicted outcome in a sentence."""
    if study.reasons:
        return no_prediction(study.reasons)
    if study.range is not None:
        return _over_range(study)
    if study.prediction is None:
        was = study.replayed.recorded
        return (
            f"The run as it was: {rate(was.throughput)} requests/s, 95 % of checkouts waited "
            f"{seconds(was.waits.p95)} or less, {_utilisation(was.use)} utilisation."
        )
    change = change_told(study.replayed, study.prediction.after)
    return f"If {terms_told(study.terms, study.released)}: {change}."


def change_told(
    replayed: Replay,
    after: Performance,
    *,
    before: Performance | None = None,
    of_part: bool = False,
) -> str:
    """The changes, such as ``p95 wait 4.9 s → 2 ms, 2.0 → 198 requests/s``.

    They begin with what was recorded, if ``before`` is not given. The counts of a part of a run are
    no counts of the run: timeouts are a share then.
    """
    before = before or replayed.recorded
    most = "up to " if replayed.is_of_workers else ""
    parts = [
        f"p95 wait {seconds(before.waits.p95)} → {seconds(after.waits.p95)}",
        f"{rate(before.throughput)} → {most}{rate(after.throughput)} requests/s",
    ]
    if before.use is not None and after.use is not None:
        parts.append(f"{_utilisation(before.use)} → {_utilisation(after.use)} utilisation")
    if (before.timeouts or after.timeouts) and of_part:
        shares = f"{fine_percent(before.timeouts_share)} → {fine_percent(after.timeouts_share)}"
        parts.append(f"{shares} timeouts")
    elif before.timeouts or after.timeouts:
        parts.append(f"{before.timeouts:,} → {count(after.timeouts, 'timeout')}")
    return ", ".join(parts)


def beside_told(beside: TopFindingWhatIf) -> str:
    """The changes if a finding's line released its connection, and the error of the replay.

    If nothing is predicted, the reasons.
    """
    if beside.prediction is None:
        return no_prediction(beside.reasons)
    of_part = beside.part is not None
    change = change_told(beside.replayed, beside.prediction.after, of_part=of_part)
    where = ", of a part of the run" if of_part else ""
    if beside.replayed.window.is_steady:
        where += f", counted {_between(beside.replayed)}"
    return (
        f"If this line released its connection (estimate): {change} "
        f"(replay error {share_told(beside.replayed.error)}{where}{_locks_told(beside.replayed)})"
    )


def _between(replayed: Replay) -> str:
    """Between which instants answers and waits are counted."""
    window = replayed.window
    return f"from {seconds(window.started)} to {seconds(window.ended)}"


def _locks_told(replayed: Replay) -> str:
    """What of a replay is not known about locks."""
    guessed = replayed.guessed_locks
    if not guessed:
        return ""
    waited = f"{seconds(guessed)} of waiting for locks are inferred"
    return f"; {waited}: treat this prediction with caution"


def release_words(site: Site, target: Sequence[str] = ()) -> list[str]:
    """The arguments of the verb that predicts the outcome if the site released its connection."""
    return ["whatif", *target, "--release", place(site)]


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
    told += f": {change_told(study.replayed, last, before=first)}."
    points = zip(over.values, study.curve, strict=True)
    enough = next((n for n, one in points if one.after.waits.p95 <= study.before.wait), None)
    wait = f"95 % of checkouts wait {seconds(study.before.wait)} or less"
    if enough is None:
        return f"{told} With none of them {wait}."
    return f"{told} From {enough:,} on, {wait}."


def terms_told(terms: WhatIf, released: Sequence[str]) -> str:
    """The different settings in words."""
    parts = []
    if released:
        lines = [file_and_line(*name.rsplit(":", 1)) for name in released]
        names = " and ".join(lines) if len(lines) <= 2 else listed(lines, 1, "other")
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
        parts.append(f"all non-database time was scaled by {terms.external_latency:g}")
    return " and ".join(parts)


def error_told(replayed: Replay) -> str:
    """How far the replay is from what was recorded."""
    told = (
        "The replay of the run as it was differs from what was recorded by "
        f"{share_told(replayed.throughput_error)} (requests/s), {share_told(replayed.wait_error)} "
        f"(p95 wait) and {share_told(replayed.response_error)} (p95 response)"
    )
    return f"{told}{_locks_told(replayed)}."


def _warnings(study: Study, width: int) -> Iterator[Text]:
    replayed = study.replayed
    notes = []
    if replayed.users is not None:
        notes.append(
            f"{count(replayed.users, 'user')} sent one request after the other; answers and waits "
            f"are counted {_between(replayed)}."
        )
    if replayed.workload.unfinished:
        number = count(replayed.workload.unfinished, "request")
        is_one = replayed.workload.unfinished == 1
        verb, them, their = ("was", "it", "its") if is_one else ("were", "them", "their")
        notes.append(
            f"{number} {verb} unfinished; the replay treats {them} like others on {their} route."
        )
    if replayed.is_of_workers:
        notes.append(
            "Workers began their next work when other work had ended. If there is not always work "
            "for them, there are fewer requests/s."
        )
    for note in notes:
        yield from paragraph(note, width, TERMINAL_MUTED)


def _table(study: Study) -> Iterator[Text]:
    columns = [("recorded", study.replayed.recorded), ("replayed", study.replayed.replayed)]
    if study.prediction is not None:
        columns.append(("what if", study.prediction.after))
    rows = [["", *(name for name, _ in columns)]]
    rows += [
        [label, *(tell(performance) for _, performance in columns)]
        for label, tell in _ROWS
        if not (_is_closed(study) and label == _MAKESPAN)
    ]
    accent = len(columns) if study.prediction is not None else 0

    def style(row: int, column: int) -> str:
        return TERMINAL_MUTED if not row else "bold" if column and column == accent else "none"

    yield from aligned(rows, style=style)


def _is_closed(study: Study) -> bool:
    """Whether users ask again when answered, so that the length of the run says nothing."""
    return study.replayed.users is not None or study.terms.users is not None


_MAKESPAN = "first arrival to last answer"
_ROWS: _Columns = (
    ("requests per second", lambda o: rate(o.throughput)),
    (_MAKESPAN, lambda o: seconds(o.makespan)),
    ("wait p50", lambda o: seconds(o.waits.p50)),
    ("     p95", lambda o: seconds(o.waits.p95)),
    ("     p99", lambda o: seconds(o.waits.p99)),
    ("response p50", lambda o: seconds(o.responses.p50)),
    ("         p95", lambda o: seconds(o.responses.p95)),
    ("         p99", lambda o: seconds(o.responses.p99)),
    ("utilisation", lambda o: _utilisation(o.use)),
    ("timeouts", lambda o: f"{o.timeouts:,}"),
)


def _curve(study: Study) -> Iterator[Text]:
    if study.range is None or not study.curve:
        return
    rows = [[study.range.name.replace("_", " "), *(heading for heading, _ in _POINT)]]
    rows += [
        [f"{value:,}", *(tell(one.after) for _, tell in _POINT)]
        for value, one in zip(study.range.values, study.curve, strict=True)
    ]
    yield from aligned(rows)


_POINT: _Columns = (
    ("requests/s", lambda o: rate(o.throughput)),
    ("wait p50", lambda o: seconds(o.waits.p50)),
    ("p95", lambda o: seconds(o.waits.p95)),
    ("response p95", lambda o: seconds(o.responses.p95)),
    ("utilisation", lambda o: _utilisation(o.use)),
    ("timeouts", lambda o: f"{o.timeouts:,}"),
)


def _formulas(study: Study, width: int) -> Iterator[Text]:
    yield Text("Without a simulation", "bold")
    both = [("", study.before)]
    if study.after is not None:
        both = [("as it was: ", study.before), ("then: ", study.after)]
    is_closed = _is_closed(study)
    lines = [f"{label}{line}" for label, a in both for line in _pool_told(a, is_closed=is_closed)]
    lines += _other_told(study.after or study.before)
    for line in lines:
        for index, part in enumerate(folded_lines(line, width - 2)):
            yield Text(f"{'    ' if index else '  '}{part}")


def _pool_told(answers: Answers, *, is_closed: bool) -> Iterator[str]:
    if answers.ceiling is not None and answers.ceiling_requests is not None:
        yield (
            f"{count(answers.connections or 0, 'connection')} / {seconds(answers.mean_use)} of "
            f"mean use = {rate(answers.ceiling)} checkouts/s at most: "
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
            beyond = answers.total - answers.max_connections
            told += f", of max_connections {answers.max_connections:,}"
            told += f": {beyond:,} too many" if beyond > 0 else ""
        yield told


def _next(study: Study, target: Sequence[str]) -> Text:
    workload = study.replayed.workload
    if study.range is not None or study.reasons:
        return next_line(["report", *target], "which code holds connections")
    if study.prediction is None and study.hog is not None:
        return next_line(release_words(study.hog, target), "if that line released its connection")
    least = min((pool.size for pool in workload.pools if pool.size), default=5)
    released = [word for name in study.released for word in ("--release", file_name(name))]
    sizes = ["--pool-size", f"{max(least // 2, 1)}..{least * 2}"]
    return next_line(["whatif", *target, *released, *sizes], "which size would do")


def _utilisation(share: float | None) -> str:
    """The utilisation of the pools; without a limit there is none."""
    return "no limit" if share is None else fine_percent(share)
