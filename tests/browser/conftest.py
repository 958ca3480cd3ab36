"""A real browser, real traces, and pages of them. What goes wrong in the browser fails the test."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Unpack
from urllib.parse import urlsplit

import pytest
from large_trace import make_trace
from playwright.sync_api import sync_playwright

from browser.studio import data_of, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypedDict

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

    class Options(TypedDict, total=False):
        viewport: dict[str, int]
        color_scheme: str
        reduced_motion: str
        has_touch: bool
        java_script_enabled: bool


CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--hide-scrollbars",
)
EXAMPLE = Path(__file__).parents[2] / "examples" / "orders.py"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@dataclass
class Watch:
    """What happened in a browser's page that should not: messages, errors, and requests."""

    page: Page
    allowed: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        self.page.on("request", self._asked)

    def check(self) -> None:
        """Nothing was said, and nothing was asked for but what is allowed."""
        assert self.messages == []
        assert self.requests == []

    def _said(self, message: ConsoleMessage) -> None:
        self.messages.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        own = urlsplit(self.allowed)
        asked = urlsplit(request.url)
        if own.scheme == "file" and request.url == self.allowed.partition("#")[0]:
            return
        if own.scheme == "http" and (asked.netloc == own.netloc or asked.scheme == "data"):
            return
        self.requests.append(request.url)


class OpenPage(Protocol):
    """Opens an address in a page that is watched until the test's end."""

    def __call__(self, address: str, **options: Unpack[Options]) -> Page: ...


class OpenPictures(Protocol):
    """Opens the pictures of traces, made of the modules as they are."""

    def __call__(self, *names: str, **options: Unpack[Options]) -> Page: ...


# Not for the whole session: as long as Playwright runs, no other test can have an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: `make chromium` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    watched: list[Watch] = []

    def open_it(address: str, **options: Unpack[Options]) -> Page:
        given: dict[str, Any] = {"viewport": DESKTOP, **options}
        page = browser.new_context(**given).new_page()
        watched.append(Watch(page, address))
        page.goto(address)
        return page

    yield open_it
    for watch in watched:
        watch.page.context.close()
    for watch in watched:
        watch.check()


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Traces by name: of the example, of some requests, and of too many to show each."""
    folder = tmp_path_factory.mktemp("traces")
    found = {name: folder / name for name in ("orders", "some", "many")}
    command = [sys.executable, "-m", "poolhog", "run", "-o", str(found["orders"]), "--"]
    subprocess.run([*command, sys.executable, str(EXAMPLE)], check=True, capture_output=True)
    for name, checkouts in (("some", 400), ("many", 21_000)):
        found[name].mkdir()
        make_trace(found[name], checkouts)
    return found


@pytest.fixture(scope="session")
def pages(traces: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each trace, and `both`: of one against another."""
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in (*traces, "both")}
    for name, trace in traces.items():
        report(trace, "--html", found[name])
    report(traces["orders"], "--against", traces["some"], "--html", found["both"])
    return found


@pytest.fixture(scope="session")
def studio(pages: dict[str, Path], traces: dict[str, Path]) -> Iterator[str]:
    data = {name: data_of(page) for name, page in pages.items()}
    reports = {name: json.loads(report(trace, "--json")) for name, trace in traces.items()}
    with served(data, reports) as address:
        yield address


@pytest.fixture
def open_pictures(open_page: OpenPage, studio: str) -> OpenPictures:
    def open_them(*names: str, **options: Unpack[Options]) -> Page:
        query = "&".join(f"data={name}" for name in names)
        page = open_page(f"{studio}/?{query}", **options)
        page.wait_for_function("window.ready")
        return page

    return open_them


@pytest.fixture(scope="module")
def modules(browser: Browser, studio: str) -> Iterator[Page]:
    """A page with the modules and nothing to draw: its functions are called from tests."""
    page = browser.new_page()
    watch = Watch(page, studio)
    page.goto(studio)
    page.wait_for_function("window.ready")
    yield page
    page.close()
    watch.check()


def report(*arguments: object) -> str:
    """What ``poolhog report`` prints."""
    command = [sys.executable, "-m", "poolhog", "report", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
