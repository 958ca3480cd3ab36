"""The screen of ``poolhog top``: what each key does, and how it looks in two sizes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import live_runs
import pytest
from live_runs import WORKER, FixedFindings, FixedRun

from poolhog.analysis.liveness import Liveness
from poolhog.cli.top_screen import Details, Lines, TopScreen
from poolhog.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from textual.pilot import Pilot

    from poolhog.analysis.live import Live
    from poolhog.model import Trace

SMALL, LARGE = (80, 24), (140, 50)
NEVER_S = 3_600.0


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def app_of(live: Live, findings: Trace | None = None, interval: float = NEVER_S) -> TopScreen:
    run: Any = FixedRun(live)
    so_far: Any = FixedFindings(findings)
    return TopScreen(run, so_far, "poolhog-traces/20231114-221320-100", interval)


def pressed(
    app: TopScreen,
    act: Callable[[Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = SMALL,
) -> None:
    """Run the app without a terminal, and act on it."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await act(pilot)

    asyncio.run(run())


def lines(app: TopScreen) -> list[str]:
    return app.query_one(Lines).render().plain.split("\n")


def chosen(app: TopScreen) -> str:
    (row,) = [line for line in lines(app) if line.startswith("> ")]
    return row


def shown(app: TopScreen, text: str) -> int:
    """How many lines have the text."""
    return sum(text in line for line in lines(app))


def test_q_quits_and_ends_the_thread_of_findings() -> None:
    app = app_of(live_runs.live(live_runs.deadlock()))

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("q")
        await pilot.pause()
        assert app.return_code == 0

    pressed(app, act)
    assert app._findings.is_stopped  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["space", "p"])
def test_freezing_stops_looking_until_the_key_is_pressed_again(key: str) -> None:
    app = app_of(live_runs.live(live_runs.deadlock()), interval=0.02)
    run: Any = app._run

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press(key)
        assert "FROZEN" in lines(app)[0]
        frozen = run.looks
        run.live = live_runs.live(live_runs.empty())
        await pilot.pause(0.5)
        assert run.looks == frozen
        assert shown(app, "deadlock")
        await pilot.press(key)
        assert "FROZEN" not in lines(app)[0]
        assert shown(app, "No connection is lent, and nobody waits for one.")

    pressed(app, act)


def test_it_looks_again_and_again() -> None:
    app = app_of(live_runs.live(live_runs.deadlock()), interval=0.02)
    run: Any = app._run

    async def act(pilot: Pilot[None]) -> None:
        before = run.looks
        while run.looks < before + 3:
            await pilot.pause(0.02)

    pressed(app, act)


def test_arrows_and_letters_move_to_other_rows() -> None:
    app = app_of(live_runs.live(live_runs.deadlock()))

    async def act(pilot: Pilot[None]) -> None:
        assert app.choice.row == 0
        for key, row in (
            ("down", 1),
            ("j", 2),
            ("up", 1),
            ("k", 0),
            ("k", 0),
            ("pagedown", 10),
            ("pageup", 0),
            ("end", 12),
            ("down", 12),
            ("home", 0),
            ("G", 12),
            ("g", 0),
        ):
            await pilot.press(key)
            assert app.choice.row == row, key
        assert "nested" in chosen(app)
        await pilot.press("end")
        assert "waiting" in chosen(app)
        assert "/orders/{order_id}" in chosen(app)

    pressed(app, act)


def test_the_row_stays_chosen_when_others_come_before_it() -> None:
    app = app_of(live_runs.live(live_runs.mixed()))
    run: Any = app._run

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down")
        assert "/export" in chosen(app)
        run.live = live_runs.live(live_runs.deadlock(WORKER), live_runs.mixed())
        app._look()
        assert "/export" in chosen(app)
        assert app.choice.row > 2

    pressed(app, act)


def test_s_and_r_sort() -> None:
    app = app_of(live_runs.live(live_runs.mixed()))

    def first_and_sorted_by() -> tuple[str, str]:
        heading = next(line for line in lines(app) if "STATE" in line)
        column = heading.partition("▾")[0].rpartition("  ")[2]
        return chosen(app).split()[2], column

    async def act(pilot: Pilot[None]) -> None:
        assert first_and_sorted_by() == ("parked", "AGE")
        await pilot.press("r")
        assert shown(app, "reversed")
        assert "synchronize" in chosen(app)
        await pilot.press("r", "s")
        assert first_and_sorted_by()[1] == "FOR"
        await pilot.press("s")
        assert first_and_sorted_by() == ("busy", "STATE")
        await pilot.press("s")
        assert first_and_sorted_by()[1] == "ROUTE OR TASK"
        assert "GET /report" in chosen(app)
        await pilot.press("s")
        assert first_and_sorted_by()[1] == "LINE"
        await pilot.press("s")
        assert first_and_sorted_by()[1] == "AGE"

    pressed(app, act)


def test_a_text_is_looked_for_while_it_is_typed_and_cleared_with_escape() -> None:
    app = app_of(live_runs.live(live_runs.mixed()))

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"report")
        assert app.choice.text == "report"
        assert shown(app, "/export") + shown(app, "POST /notes") == 1  # its line is in report()
        await pilot.press("enter")
        await pilot.press("down")
        assert app.choice.row == 1
        assert shown(app, "/report")
        await pilot.press("slash", *"xyz", "enter")
        assert shown(app, "Nothing here has the text xyz.")
        await pilot.press("escape")
        assert app.choice.text == ""
        assert shown(app, "synchronize") >= 2

    pressed(app, act)


def test_q_is_a_letter_while_a_text_is_typed() -> None:
    app = app_of(live_runs.live(live_runs.mixed()))

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"qs p")
        assert app.choice.text == "qs p"
        assert not app.choice.is_frozen
        assert app.return_code is None

    pressed(app, act)


def test_tab_goes_to_the_next_view_and_back() -> None:
    app = app_of(live_runs.live(live_runs.mixed()), live_runs.mixed())

    async def act(pilot: Pilot[None]) -> None:
        assert shown(app, "[checkouts 4]")
        await pilot.press("tab")
        assert shown(app, "[routes 3]")
        assert shown(app, "UNUSED")
        await pilot.press("tab")
        assert shown(app, "[findings 1, 0 s ago]")
        assert "parked-checkout" in chosen(app)
        await pilot.press("tab")
        assert shown(app, "[checkouts 4]")
        await pilot.press("shift+tab")
        assert shown(app, "[findings 1, 0 s ago]")

    pressed(app, act)


def details_of(app: TopScreen) -> str:
    screen = app.screen
    assert isinstance(screen, Details)
    return "\n".join(line.plain for line in screen._lines)


@pytest.mark.parametrize("closing", ["escape", "enter", "q"])
def test_enter_shows_all_of_a_row(closing: str) -> None:
    app = app_of(live_runs.live(live_runs.deadlock()), live_runs.mixed())

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("end", "enter")
        await pilot.pause()
        told = details_of(app)
        assert "process 100, pool main (sqlalchemy)" in told
        assert "audit (/app/victim.py:93)  async with Session() as second:" in told
        assert "place_order (/app/victim.py:71)  await audit(order)" in told
        await pilot.press(closing)
        await pilot.pause()
        assert not isinstance(app.screen, Details)
        assert app.return_code is None
        await pilot.press("home", "enter")
        await pilot.pause()
        told = details_of(app)
        assert "held for 56.0 s by POST /orders" in told
        assert "AsyncAdaptedQueue.get (sqlalchemy/util/queue.py:158)" in told
        assert "asked for the connection at" in told
        await pilot.press(closing, "tab", "enter")
        await pilot.pause()
        assert "POST /orders" in details_of(app)
        await pilot.press(closing, "tab", "enter")
        await pilot.pause()
        assert "→" in details_of(app)

    pressed(app, act)


def test_it_goes_on_looking_below_the_details_and_while_it_ends() -> None:
    app = app_of(live_runs.live(live_runs.deadlock()), interval=0.01)
    run: Any = app._run

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        before = run.looks
        while run.looks < before + 3:
            await pilot.pause(0.02)
        assert isinstance(app.screen, Details)

    pressed(app, act)
    app._look()  # its timer may be late


def test_no_row_has_no_details() -> None:
    app = app_of(live_runs.live(live_runs.empty()))

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("enter", "tab", "enter", "tab", "enter", "end", "down")
        assert not isinstance(app.screen, Details)
        assert shown(app, "The findings of the run so far are being computed.")

    pressed(app, act)


def test_a_terminal_that_is_too_small_says_so_and_goes_on_when_it_grows() -> None:
    app = app_of(live_runs.live(live_runs.deadlock()))

    async def act(pilot: Pilot[None]) -> None:
        assert lines(app) == ["This terminal is too small: 60x18 is needed."]
        await pilot.resize_terminal(*SMALL)
        await pilot.pause()
        assert shown(app, "deadlock")

    pressed(app, act, size=(59, 24))


def test_a_trace_that_vanishes_is_told_and_the_screen_goes_on() -> None:
    app = app_of(live_runs.live(live_runs.deadlock()))
    run: Any = app._run

    def fail() -> Live:
        raise TraceError("no trace in there")

    async def act(pilot: Pilot[None]) -> None:
        look, run.look = run.look, fail
        app._look()
        assert lines(app)[0] == "! no trace in there"
        run.look = look
        app._look()
        assert shown(app, "deadlock")

    pressed(app, act)


def test_lines_fill_every_size_and_never_more() -> None:
    for trace in (live_runs.deadlock(), live_runs.mixed(), live_runs.empty()):
        app = app_of(live_runs.live(trace, live_runs.mixed(WORKER)), live_runs.mixed())

        async def act(pilot: Pilot[None], app: TopScreen = app) -> None:
            for width, height in ((60, 18), (80, 24), (110, 36), (140, 50), (200, 80)):
                await pilot.resize_terminal(width, height)
                await pilot.pause()
                found = lines(app)
                assert len(found) == height
                assert max(map(len, found)) <= width
                assert found[-1].startswith("q quit")

        pressed(app, act)


@pytest.mark.parametrize("size", [SMALL, LARGE])
class TestLook:
    """Pictures: `pytest --snapshot-update` takes new ones, which somebody has to look at."""

    def test_a_deadlock(self, snap_compare: Any, size: tuple[int, int]) -> None:
        app = app_of(live_runs.live(live_runs.deadlock()), live_runs.mixed())
        assert snap_compare(app, terminal_size=size)

    def test_several_processes(self, snap_compare: Any, size: tuple[int, int]) -> None:
        traces = live_runs.mixed(), live_runs.deadlock(WORKER), live_runs.empty()
        app = app_of(live_runs.live(*traces), live_runs.mixed())
        assert snap_compare(app, terminal_size=size, press=["down"])

    def test_the_details_of_a_holder(self, snap_compare: Any, size: tuple[int, int]) -> None:
        app = app_of(live_runs.live(live_runs.mixed()), live_runs.mixed())
        assert snap_compare(app, terminal_size=size, press=["enter"])

    def test_findings(self, snap_compare: Any, size: tuple[int, int]) -> None:
        app = app_of(live_runs.live(live_runs.mixed()), live_runs.mixed())
        assert snap_compare(app, terminal_size=size, press=["shift+tab"])

    def test_processes_that_died(self, snap_compare: Any, size: tuple[int, int]) -> None:
        app = app_of(live_runs.live(live_runs.mixed(), life=Liveness.DEAD))
        assert snap_compare(app, terminal_size=size)

    def test_looking_for_a_text(self, snap_compare: Any, size: tuple[int, int]) -> None:
        app = app_of(live_runs.live(live_runs.mixed()))
        assert snap_compare(app, terminal_size=size, press=["slash", *"export"])
