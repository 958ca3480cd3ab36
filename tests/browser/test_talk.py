"""The lab's page: its bursts are played side by side on one axis."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import PROCESS, explicit_burst, implicit_burst
from playwright.sync_api import expect
from test_lab_claims import burst, results

from browser.conftest import PHONE
from poolhog.analysis.digest import digest_of
from poolhog.analysis.shown import shown_of
from poolhog.analysis.timeline import build_timeline
from poolhog.lab.report import publish
from poolhog.lab.service.settings import Style
from poolhog.model import Trace

if TYPE_CHECKING:
    from factories import Burst
    from playwright.sync_api import Page

    from browser.conftest import OpenPage
    from poolhog.lab.results import BurstResult


def measured(style: Style, made: Burst) -> BurstResult:
    """A burst of the lab, of which these are the facts."""
    checkouts, requests, pool, ended = made
    trace = Trace((PROCESS,), (pool,), tuple(requests), tuple(checkouts), ended)
    shown = shown_of(trace).values()
    timeline = build_timeline(shown, requests, [pool], started=0.0, ended=ended)
    found = burst(style, len(requests), ended, 0.0)
    return replace(found, timeline=timeline, whole=digest_of(trace, 0.0, ended))


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("talk")
    bursts = [
        measured(Style.IMPLICIT, implicit_burst()),
        measured(Style.EXPLICIT, explicit_burst()),
        measured(Style.PER_QUERY, explicit_burst()),
    ]
    publish(results(burst=bursts), folder)
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(open_page: OpenPage, talk: str) -> Page:
    page = open_page(talk, reduced_motion="reduce")
    page.locator(".timeline[data-drawn]").nth(2).wait_for()
    return page


def test_both_styles_are_on_one_axis(page: Page) -> None:
    pair = page.locator("#T11 .timeline")
    expect(pair).to_have_count(2)
    expect(pair.locator("h3")).to_have_text(["implicit", "explicit"])
    pair.nth(1).get_by_role("button", name="Zoom in").click()
    page.wait_for_timeout(100)
    first, second = (pair.nth(i) for i in range(2))
    for end in ("data-from", "data-to"):
        assert first.get_attribute(end) == second.get_attribute(end)
    alone = page.locator("#T14 .timeline")
    assert alone.get_attribute("data-to") != first.get_attribute("data-to")


def test_both_are_played_at_once(page: Page) -> None:
    playback = page.locator("#T11 .playback")
    slider = playback.get_by_role("slider")
    slider.fill(str(0.2 * float(slider.get_attribute("max") or 0)))
    counts = playback.locator(".counts")
    expect(counts).to_contain_text("implicit: 5 connections lent (5 parked), 5 requests waiting")
    expect(counts).to_contain_text("explicit: no connection lent")
    expect(playback.get_by_role("button", name="Play")).to_be_enabled()


def test_all_that_stood_there_before_stands_there_still(page: Page) -> None:
    expect(page.locator(".picture svg")).not_to_have_count(0)
    expect(page.locator("#T9 .picture svg")).to_be_visible()
    expect(page.locator("section[id^=T]")).to_have_count(15)


def test_it_fits_on_a_phone(open_page: OpenPage, talk: str) -> None:
    page = open_page(talk, viewport=PHONE)
    page.locator(".timeline[data-drawn]").nth(2).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
