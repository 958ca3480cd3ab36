"""The live page of a service that runs: who may see it, what it shows, and what it does not do."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import live_service
import pytest
from playwright.sync_api import sync_playwright
from recorded_app import DEADLINE_S, eventually

import poolhog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

CHROMIUM = "/usr/bin/chromium"


@contextmanager
def serving(directory: str, url: str) -> Iterator[httpx.Client]:
    command = [sys.executable, live_service.__file__, directory, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S, follow_redirects=True
        ) as client:
            try:
                yield client
            finally:
                process.kill()


@pytest.fixture
def client(database: LabDatabase, tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(str(tmp_path / "trace"), database.url) as client:
        yield client


def hang(client: httpx.Client, asking: ThreadPoolExecutor) -> None:
    """Three requests hold all connections, and two wait."""
    paths = ("/summary/1", "/summary/2", "/report", "/quick", "/quick")
    for number, path in enumerate(paths, 1):
        asking.submit(httpx.get, str(client.base_url.join(path)), timeout=DEADLINE_S)
        eventually(functools.partial(_has_rows, client, number))


def _has_rows(client: httpx.Client, number: int) -> bool:
    return page(client).count('<span class="state ') == number


def page(client: httpx.Client, path: str = "/poolhog/", **headers: str) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_it_shows_who_holds_what_while_the_service_hangs(
    database: LabDatabase, tmp_path: Path
) -> None:
    # The service is killed first: then those who ask go away.
    with (
        ThreadPoolExecutor(5) as asking,
        serving(str(tmp_path / "trace"), database.url) as client,
    ):
        hang(client, asking)
        text = page(client)
        assert "All 3 connections of pool postgresql+asyncpg are lent" in text
        assert "<strong>exhausted</strong>" in text
        assert "GET /summary/{note_id} (/summary/1)" in text
        assert text.count(">parked</span>") == 2
        assert text.count(">busy</span>") == 1
        assert text.count(">waiting</span>") == 2
        assert "at most 3 connections lent and at most 2 requests waiting" in text
        assert "await asyncio.sleep" not in text
        assert "await asyncio.sleep(3600)" in page(client, "/source/")
        check_in_chromium(str(client.base_url.join("/poolhog/")))


def check_in_chromium(address: str) -> None:
    """It loads itself anew, obeys its own policy, and fits a phone."""
    said: list[str] = []
    loads: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        tab.on("console", lambda message: said.append(message.text))
        tab.on("load", lambda page: loads.append(page.url))
        tab.goto(f"{address}?paused")
        assert "All 3 connections" in tab.inner_text("h1")
        assert tab.locator(".scroll").first.evaluate("e => getComputedStyle(e).overflowX") == "auto"
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert tab.evaluate(wide)
        tab.wait_for_timeout(2_500)
        assert len(loads) == 1
        tab.click("text=refresh by itself")
        deadline = time.monotonic() + DEADLINE_S
        while len(loads) < 4 and time.monotonic() < deadline:
            tab.wait_for_timeout(100)
        assert len(loads) >= 4
        browser.close()
    assert said == []


def test_its_own_requests_are_not_recorded(client: httpx.Client, tmp_path: Path) -> None:
    assert client.get("/quick").status_code == 200
    eventually(lambda: any((tmp_path / "trace").glob("*.sqlite")))
    for _ in range(20):
        page(client)
    assert client.get("/quick").status_code == 200
    eventually(lambda: quick_requests(tmp_path) == 2)
    trace = poolhog.open_trace(tmp_path / "trace")
    others = [request.path for request in trace.requests if request.path != "/quick"]
    # One that began right before a commit was written, and is recorded to its end.
    assert len(others) <= 2
    assert all(request.ended is not None for request in trace.requests)


def quick_requests(tmp_path: Path) -> int:
    trace = poolhog.open_trace(tmp_path / "trace")
    return sum(r.path == "/quick" and r.ended is not None for r in trace.requests)


def test_only_clients_on_this_machine_and_with_its_name_may_see_it(client: httpx.Client) -> None:
    assert client.get("/poolhog/").status_code == 200
    for headers in (
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"via": "1.1 proxy"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
    ):
        answer = client.get("/poolhog/", headers=headers)
        assert answer.status_code == 403, headers
        assert "pool" not in answer.text.replace("poolhog", "")


def test_with_an_authorisation_that_alone_decides(client: httpx.Client) -> None:
    assert client.get("/token/").status_code == 403
    token = live_service.TOKEN.decode()
    headers = {"authorization": token, "host": "staging.example", "x-forwarded-for": "10.0.0.1"}
    answer = client.get("/token/", headers=headers)
    assert answer.status_code == 200


def test_it_can_only_be_read(client: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = client.request(method, "/poolhog/")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    answer = client.head("/poolhog/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
    assert client.get("/poolhog/other").status_code == 404


def test_its_headers_forbid_all_that_it_does_not_need(client: httpx.Client) -> None:
    headers = client.get("/poolhog/").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["refresh"] == "1"
    assert "refresh" not in client.get("/poolhog/?paused").headers


def test_nothing_recorded_is_said(database: LabDatabase, client: httpx.Client) -> None:
    assert "No connection was asked for yet: let the application work." in page(client)
    with serving("-", database.url) as bare:
        assert "This process is not recorded: call poolhog.install()" in page(bare)
