"""The live page: its picture, who may see it, and that its requests are not the application's."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import live_runs
import pytest
from recorders import eventually, pool_record, request_record, rows, the_file

import poolhog
from poolhog.analysis.live import LiveRun
from poolhog.analysis.recent import Recent
from poolhog.integrations.asgi import LivePage, live
from poolhog.recording.options import Options
from poolhog.recording.recorder import Recorder, current_request
from poolhog.render.live import live_page
from poolhog.render.live.chart import chart_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = (b"host", b"localhost:8000")
RECENT = Recent(1.0, (0, 2, 1), (0, 0, 4))


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "trace", options=Options((), (), 0.0, True))
    yield recorder
    recorder.stop()
    current_request.set(None)


def scope_of(client: str | None = "127.0.0.1", *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/poolhog/",
        "root_path": "/poolhog",
        "query_string": b"",
        "client": None if client is None else (client, 50_000),
        "headers": [HOST, *headers] if all(name != b"host" for name, _ in headers) else headers,
    }


async def asked(page: LivePage, scope: dict[str, Any]) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await page(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


def status(scope: dict[str, Any], page: LivePage | None = None) -> int:
    return asyncio.run(asked(page or live(), scope))[0]


@pytest.mark.parametrize("client", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_clients_on_this_machine_may_see_it(client: str) -> None:
    assert status(scope_of(client)) == 200
    assert status(scope_of(client, (b"host", b"[::1]:80"))) == 200


@pytest.mark.parametrize(
    "scope",
    [
        scope_of(None),
        scope_of("10.0.0.1"),
        scope_of("::ffff:10.0.0.1"),
        scope_of("testclient"),
        scope_of("127.0.0.1", (b"host", b"rebound.example")),
        scope_of("127.0.0.1", (b"host", b"localhost"), (b"host", b"other.example")),
        scope_of("127.0.0.1", (b"X-Real-IP", b"127.0.0.1")),
    ],
)
def test_others_may_not(scope: dict[str, Any]) -> None:
    assert status(scope) == 403
    assert status(scope, live(authorised=lambda _: True)) == 200


@pytest.mark.parametrize("answer", [False, None, 0, ""])
def test_what_an_authorisation_does_not_allow_is_forbidden(answer: Any) -> None:
    async def later(_: Any) -> Any:
        return answer

    assert status(scope_of(), live(authorised=lambda _: answer)) == 403
    assert status(scope_of(), live(authorised=later)) == 403


def test_an_error_of_an_authorisation_shows_nothing() -> None:
    def fail(_: Any) -> bool:
        raise ValueError("no session")

    with pytest.raises(ValueError, match="no session"):
        status(scope_of(), live(authorised=fail))


def test_a_page_is_made_once_for_all_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    page = live(interval=0.3)
    made: list[str] = []
    read: Callable[[], bytes] = page._read

    def slow() -> bytes:
        made.append(threading.current_thread().name)
        time.sleep(0.1)
        return read()

    monkeypatch.setattr(page, "_read", slow)

    async def watch() -> None:
        found = await asyncio.gather(*(asked(page, scope_of()) for _ in range(20)))
        assert {answer[0] for answer in found} == {200}
        assert len(made) == 1
        await asked(page, scope_of())
        assert len(made) == 1
        await asyncio.sleep(0.35)
        await asked(page, scope_of())

    asyncio.run(watch())
    assert len(made) == 2
    assert all(name.startswith("poolhog-live") for name in made)


def test_a_viewer_that_goes_away_does_not_take_the_page_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = live()
    read: Callable[[], bytes] = page._read

    def slow() -> bytes:
        time.sleep(0.2)
        return read()

    monkeypatch.setattr(page, "_read", slow)

    async def watch() -> None:
        gone = asyncio.create_task(asked(page, scope_of()))
        await asyncio.sleep(0.05)
        stays = asyncio.create_task(asked(page, scope_of()))
        await asyncio.sleep(0.05)
        gone.cancel()
        assert (await stays)[0] == 200

    asyncio.run(watch())


@pytest.mark.parametrize("arguments", [{"interval": 0}, {"window": -1}, {"interval": float("inf")}])
def test_a_time_that_is_none_is_a_mistake(arguments: dict[str, float]) -> None:
    with pytest.raises(poolhog.PoolhogError, match="above 0"):
        live(**arguments)  # type: ignore[arg-type]


def test_a_withdrawn_request_is_not_written(recorder: Recorder) -> None:
    pool = recorder.pool(pool_record())
    kept, withdrawn = (request_record(path) for path in ("/kept", "/withdrawn"))
    for request in (withdrawn, kept):
        recorder.request(request)
    withdrawn.withdraw()
    current_request.set(kept)
    recorder.end(recorder.ask(pool))
    kept.end()
    withdrawn.end()
    file = the_file(recorder.directory)
    eventually(lambda: rows(file, "SELECT path FROM packed_requests WHERE ended NOT NULL"))
    assert rows(file, "SELECT path FROM packed_requests") == [("/kept",)]


def test_one_that_is_withdrawn_too_late_is_recorded_to_its_end(recorder: Recorder) -> None:
    pool = recorder.pool(pool_record())
    late = request_record("/late")
    recorder.request(late)
    recorder.end(recorder.ask(pool))
    file = the_file(recorder.directory)
    eventually(lambda: rows(file, "SELECT path FROM packed_requests"))
    late.withdraw()
    late.end()
    eventually(lambda: rows(file, "SELECT path FROM packed_requests WHERE ended NOT NULL"))


def test_the_last_seconds_are_counted(recorder: Recorder) -> None:
    pool = recorder.pool(pool_record())
    for _ in range(300):
        short = recorder.ask(pool)
        recorder.grant(short, 1)
        recorder.end(short)
    held = [recorder.ask(pool) for _ in range(3)]
    for number, checkout in enumerate(held[:2]):
        recorder.grant(checkout, number)
    the_file(recorder.directory)
    run = LiveRun(recorder.directory)
    eventually(lambda: len(run.look().checkouts) == 3)
    recent = run.recent(run.look(), 60.0, 61)
    assert (recent.lent[-1], recent.waiting[-1]) == (2, 1)
    assert (recent.lent[0], recent.waiting[0]) == (0, 0)
    assert (recent.seconds, len(recent.lent), len(recent.waiting)) == (60.0, 61, 61)
    recorder.end(held[0])
    eventually(lambda: len(run.look().checkouts) == 2)
    recent = run.recent(run.look(), 2.0, 3)
    assert recent.lent[-1] == 1


def test_the_picture_has_the_counts() -> None:
    chart = chart_of(RECENT)
    assert chart.most == 4
    assert chart.lent == "M0,150L0,150.0H450.0V76.0H900.0V113.0V150Z"
    assert chart.waiting == "M0,150.0H450.0V150.0H900.0V2.0"
    assert chart.told.startswith(
        "In the last 2 s, at most 2 connections lent and at most 4 requests"
    )


def test_the_page_shows_code_only_if_it_is_wanted() -> None:
    found = live_runs.live(live_runs.mixed())
    bare = live_page(found, RECENT, "run", source=False).decode()
    assert "service.py:46" in bare
    assert "call_the_llm" not in bare
    assert "SELECT" not in bare
    assert "await call_the_llm(note)" in live_page(found, RECENT, "run", source=True).decode()


def test_texts_of_the_application_are_no_html() -> None:
    trace = live_runs.mixed()
    hostile = live_runs.live(trace)
    text = live_page(hostile, RECENT, "</title><script>alert(1)</script>", source=True).decode()
    assert "<script>" not in text
