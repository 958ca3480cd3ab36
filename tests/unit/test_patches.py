"""Advice as code has the names of the code, and there is none where these are not known."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest
from factories import implicit_burst, trace_of

from poolhog.analysis.findings import (
    HELD_AFTER_RESPONSE,
    HELD_WHILE_STREAMING,
    LOST_WRITE,
    MANY_POOLS,
    NEVER_RETURNED,
    PARKED_CHECKOUT,
    SHARED_OVER_FORK,
    STARVED_LOOP,
    THREAD_STARVED,
    AnyKind,
)
from poolhog.analysis.findings.circumstances import Awaited, Circumstances, Style
from poolhog.analysis.findings.entry import Spread
from poolhog.analysis.findings.held_after_response import AfterResponse
from poolhog.analysis.findings.held_while_streaming import AskedAt, WhileStreaming
from poolhog.analysis.findings.parked_checkout import Asked, Between, ParkedGaps
from poolhog.analysis.report import report_of
from poolhog.model import OperationKind, Site
from poolhog.render.page.cards import patch_of
from poolhog.render.page.source import SourceLine

SPREAD = Spread(1.0, 2.0)


def site(source: str, function: str = "confirm", caller: Site | None = None) -> Site:
    return Site("/app/service.py", 7, function, source, is_application=True, caller=caller)


def parked(
    line: Site,
    style: Style,
    held_by: Site | None,
    before: Site | None = None,
    awaited: Awaited = Awaited.CALL,
) -> list[str]:
    """The patch of a line at which a connection was held this way."""
    asked = Asked(OperationKind.STATEMENT, "SELECT", before) if before is not None else None
    found = Circumstances(awaited, None, style, held_by)
    evidence = ParkedGaps(SPREAD, {Between(asked, None): 1.0}, {found: 1.0})
    return patch(PARKED_CHECKOUT, line, evidence)


def patch(
    kind: AnyKind, line: Site, evidence: object = None, around: tuple[str, ...] = ()
) -> list[str]:
    first = report_of(trace_of(implicit_burst()[0])).findings[0]
    finding = replace(first, kind=kind, site=line, evidence=evidence)
    lines = [SourceLine(number, text, number == 1) for number, text in enumerate(around)]
    return ["".join(line) for line in patch_of(finding, lines)]


@pytest.mark.parametrize(
    ("style", "block"),
    [
        (Style.BEGIN, "with engine.begin() as connection:"),
        (Style.BEGIN, "async with engine.begin() as conn:"),
        (Style.BEGIN, "async with session.begin():"),
        (Style.BEGIN, "async with Session.begin() as s:"),
        (Style.ACQUIRE, "async with pool.acquire() as connection:"),
        (Style.ACQUIRE, "async with self._pool.connection() as conn, conn.cursor() as cur:"),
        (Style.ACQUIRE, "with pool.connection() as conn:  # psycopg"),
    ],
)
def test_a_block_is_left_and_opened_again_as_it_is(style: Style, block: str) -> None:
    line = "risk = await assess_risk(amount)"
    assert parked(site(line), style, site(block)) == [
        f" {block}",
        "     …  # what comes before",
        f"-    {line}",
        f"+{line}",
        f"+{block}",
        "+    …  # what comes after, with a connection of its own",
    ]


def test_of_a_line_in_another_function_it_is_the_call_that_moves() -> None:
    call = site("risk = assess_risk(amount)")
    line = site("return client.post(url)", "assess_risk", caller=call)
    found = parked(line, Style.BEGIN, site("with engine.begin() as connection:"))
    assert "-    risk = assess_risk(amount)" in found
    assert not any("client.post" in one for one in found)


def test_a_block_that_moves_keeps_its_body() -> None:
    found = parked(
        site("async with http.post(url) as answer:"),
        Style.ACQUIRE,
        site("async with pool.acquire() as connection:"),
    )
    assert found[2:6] == [
        "-    async with http.post(url) as answer:",
        "-        …",
        "+async with http.post(url) as answer:",
        "+    …",
    ]


@pytest.mark.parametrize(
    ("asked", "end"),
    [
        ("note = await session.scalar(find)", "await session.commit()"),
        ("rows = (await db.execute(find)).all()", "await db.commit()"),
        ("note = await self.session.get(Note, 1)", "await self.session.commit()"),
        ("note = s.scalars(find).one()", "s.commit()"),
    ],
)
@pytest.mark.parametrize("style", [Style.SESSION, Style.DEPENDENCY])
def test_a_session_is_committed_by_its_name(style: Style, asked: str, end: str) -> None:
    line = "answer = await client.post(url)"
    held_by = site("yield session", "get_session")
    assert parked(site(line), style, held_by, site(asked)) == [
        f"+{end}  # the connection goes back; the next statement gets one",
        f" {line}",
    ]


@pytest.mark.parametrize(
    "asked",
    [
        "cur.execute(find)",
        "note = await load(session)",
        "row = await connection.fetchrow(find)",
        "",
    ],
)
def test_without_a_session_s_name_there_is_no_patch(asked: str) -> None:
    assert parked(site("await client.post(url)"), Style.SESSION, None, site(asked)) == []


def test_without_the_block_there_is_no_patch() -> None:
    line = site("await client.post(url)")
    assert parked(line, Style.BEGIN, None) == []
    assert parked(line, Style.BEGIN, site("await connection.begin()")) == []
    assert parked(line, Style.BEGIN, site("with engine.begin() as c:", "elsewhere")) == []
    assert parked(site("x, await f(), y)"), Style.BEGIN, site("with engine.begin() as c:")) == []
    begin = site("with engine.begin() as c:")
    assert parked(begin, Style.BEGIN, begin) == []
    assert parked(line, Style.MIDDLEWARE, line) == []
    taken = site("with pool.connection() as c:")
    assert parked(line, Style.ACQUIRE, taken)
    assert parked(line, Style.ACQUIRE, taken, awaited=Awaited.LISTENER) == []


def test_a_dependency_is_narrowed_by_its_name() -> None:
    narrowed = ["-Depends(get_db)", '+Depends(get_db, scope="function")']
    line = site("return StreamingResponse(rows())")
    assert patch(HELD_AFTER_RESPONSE, line, AfterResponse(SPREAD, {}, "get_db")) == narrowed
    assert patch(HELD_AFTER_RESPONSE, line, AfterResponse(SPREAD, {}, None)) == []


@pytest.mark.parametrize("uses_it", [False, True])
@pytest.mark.parametrize("style", Style)
def test_a_stream_that_uses_its_session_gets_no_other_one(style: Style, uses_it: bool) -> None:
    found = Circumstances(Awaited.UNKNOWN, None, style, site("yield session", "get_session"))
    evidence = WhileStreaming(SPREAD, {AskedAt(None, found, uses_it): 1.0})
    lines = patch(HELD_WHILE_STREAMING, site("yield chunk"), evidence)
    assert bool(lines) == (style is Style.DEPENDENCY and not uses_it)
    assert not any("session" in line and "Depends(get_session" not in line for line in lines)


@pytest.mark.parametrize(
    ("line", "around", "block"),
    [
        (
            "session = Session()",
            ("def load():", "    session.get(Note, 1)"),
            "with Session() as session:",
        ),
        ("s = async_session()", (), "async with async_session() as s:"),
        ("conn = await pool.acquire()", (), "async with pool.acquire() as conn:"),
        ("conn = await pool.getconn()", (), "async with pool.connection() as conn:"),
        ("c = await engine.connect()", (), "async with engine.connect() as c:"),
        ("self.c = engine.connect()", ("def a():", "    b()"), "with engine.connect() as self.c:"),
    ],
)
def test_what_is_not_returned_gets_a_block(line: str, around: tuple[str, ...], block: str) -> None:
    assert patch(NEVER_RETURNED, site(line), around=around)[:2] == [f"-{line}", f"+{block}"]


@pytest.mark.parametrize(
    "line", ["rows = await load(", "await session.execute(x)", "s = Session()"]
)
def test_without_the_name_or_the_way_it_is_used_it_gets_none(line: str) -> None:
    assert patch(NEVER_RETURNED, site(line)) == []


@pytest.mark.parametrize(
    ("line", "around", "end"),
    [
        ("await db.execute(change)", (), "await db.commit()"),
        ("self.session.add(note)", ("async def f():", "x"), "await self.session.commit()"),
        ("s.merge(note)", ("def f():", "    s.merge(note)"), "s.commit()"),
        ("s.merge(note)", (), None),
        ("cur.execute(change)", ("def f():", "x"), None),
        ("update(Note).values(x=1)", (), None),
    ],
)
def test_a_write_is_committed_by_its_session(
    line: str, around: tuple[str, ...], end: str | None
) -> None:
    wanted = [] if end is None else [f" {line}", f"+{end}"]
    assert patch(LOST_WRITE, site(line), around=around) == wanted


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("time.sleep(1)", "await asyncio.to_thread(time.sleep, 1)"),
        ("x = parse(text, deep=True)", "x = await asyncio.to_thread(parse, text, deep=True)"),
        ("é = f(ü)", "é = await asyncio.to_thread(f, ü)"),
        ("return render(page)", "return await asyncio.to_thread(render, page)"),
        ("x = f(a) + g(b)", None),
        ("for one in work():", None),
        ("await f()", None),
        ("x = f(", None),
        ("x +", None),
    ],
)
def test_a_call_is_left_to_a_thread(line: str, instead: str | None) -> None:
    wanted = [] if instead is None else [f"-{line}", f"+{instead}"]
    assert patch(STARVED_LOOP, site(line)) == wanted


def test_other_kinds_use_the_line_s_names_too() -> None:
    assert patch(THREAD_STARVED, site("row = s.scalar(x)"), around=("def f():", "y"))[1].startswith(
        "+s.close()"
    )
    assert patch(THREAD_STARVED, site("load(x)")) == []
    assert patch(SHARED_OVER_FORK, site("with db.engine.connect() as c:"))[0].startswith(
        "+db.engine.dispose(close=False)"
    )
    assert patch(SHARED_OVER_FORK, site("load(x)")) == []
    assert (
        patch(MANY_POOLS, site("engine = create_engine(url)"))[0] == "-engine = create_engine(url)"
    )
    assert patch(MANY_POOLS, site("with create_engine(url).begin() as c:")) == []


def test_what_is_added_is_python() -> None:
    line = site("risk = await assess_risk(amount)")
    found = parked(line, Style.BEGIN, site("async with engine.begin() as connection:"))
    code = [one[1:].replace("…", "...") for one in found if one[0] in " +"]
    ast.parse("async def f():\n" + "\n".join(f"    {one}" for one in code))
