"""What a page costs: making it, its size, opening it, and its frames while it is moved.

    python benchmarks/page.py [--checkouts 1000000] [--small 20000] [--rounds 3] [--keep DIRECTORY]

The pages are of two traces that ``large_trace.py`` makes: a large one, and one of which every
checkout is shown. Opening is from the start of the navigation to the frame after the pictures were
drawn. To pan, the timeline is zoomed until as many spans are in sight as are drawn one by one, and
then moved a little in each frame, as by a wheel. Quoted are the time from frame to frame, and what
scripts took of it. Chromium has no graphics card here: it draws with the processor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from large_trace import make_trace
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
SIZE = {"width": 1280, "height": 900}
FRAMES = 300
PAN_PX = 3
ZOOM_PX = -12
MOST_ZOOMS = 400
SETTLED_MS = 300

WATCH = """(() => {
  const plain = requestAnimationFrame;
  window.spent = 0;
  window.requestAnimationFrame = (call) => plain((now) => {
    const began = performance.now();
    call(now);
    window.spent += performance.now() - began;
  });
  addEventListener("DOMContentLoaded", () => plain(() => plain(() => {
    window.opened = performance.now();
  })));
})()"""
"""Scripts that draw have run by DOMContentLoaded; what they drew is seen in the frame after it."""

TURN = """([x, y]) => {
  const stage = document.querySelector(".stage");
  const { width } = stage.getBoundingClientRect();
  const at = { offsetX: width / 2, clientX: width / 2 };
  const turned = { deltaX: x, deltaY: y, bubbles: true, cancelable: true, ...at };
  stage.dispatchEvent(new WheelEvent("wheel", turned));
}"""

PAN = """async ([frames, step]) => {
  const gaps = [];
  const scripts = [];
  let last = 0;
  for (let i = 0; i <= frames; i++) {
    const now = await new Promise((next) => requestAnimationFrame(next));
    if (last) {
      gaps.push(now - last);
      scripts.push(window.spent);
    }
    last = now;
    window.spent = 0;
    (TURN)([i < frames / 2 ? step : -step, 0]);
  }
  return [gaps, scripts];
}""".replace("TURN", TURN)


@dataclass(frozen=True)
class Making:
    """Of one page; ``cpu_s`` is what it takes of a core when others use them, too."""

    seconds: float
    cpu_s: float
    peak_mb: float
    size_mb: float


def make_page(directory: Path, file: Path) -> Making:
    """Make the page of a trace in a process of its own."""
    started = time.monotonic()
    command = [sys.executable, "-m", "poolhog", "report", str(directory), "--html", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the page was not made"
    return Making(
        time.monotonic() - started,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        file.stat().st_size / 1e6,
    )


def open_page(browser: Browser, file: Path) -> tuple[Page, float]:
    """The page, and the seconds until it could be seen."""
    page = browser.new_page(viewport={"width": SIZE["width"], "height": SIZE["height"]})
    page.add_init_script(WATCH)
    page.goto(file.as_uri())
    page.wait_for_function("window.opened")
    return page, float(page.evaluate("window.opened")) / 1000


def timeline(page: Page) -> dict[str, str]:
    """What the timeline says of itself, once it stands still."""
    page.wait_for_timeout(SETTLED_MS)
    found: dict[str, str] = page.evaluate("({ ...document.querySelector('.timeline').dataset })")
    return found


def pan(page: Page) -> str:
    """Pan what is in sight, and tell the frames."""
    seen = timeline(page)
    gaps, scripts = page.evaluate(PAN, [FRAMES, PAN_PX])
    what = f"{int(seen['spans']):,} spans in sight, drawn as {seen['drawn']}"
    return f"{what}: frame {spread(gaps)} ms, of it scripts {spread(scripts)} ms"


def zoom_until_lanes(page: Page) -> None:
    """Zoom in by small steps, until spans are drawn one by one."""
    whole = page.locator(".windows button")
    if whole.count():
        whole.first.click()
        page.wait_for_timeout(SETTLED_MS)
    for _ in range(MOST_ZOOMS):
        page.evaluate(TURN, [0, ZOOM_PX])
        page.evaluate("new Promise((next) => requestAnimationFrame(next))")
        if not page.locator(".timeline .note").inner_text().startswith("Shown as averages"):
            return
    raise AssertionError("the timeline stays with averages")


def spread(values: Sequence[float]) -> str:
    """The median and the 95th percentile."""
    ordered = sorted(values)
    return f"{statistics.median(ordered):.1f} (p95 {ordered[int(len(ordered) * 0.95)]:.1f})"


def tell(name: str, directory: Path, file: Path, rounds: int, browser: Browser) -> None:
    """Make, open and move the page of a trace."""
    made = make_page(directory, file)
    print(
        f"{name}: page of {made.size_mb:.2f} MB made in {made.seconds:.1f} s "
        f"({made.cpu_s:.1f} s of CPU), peak {made.peak_mb:,.0f} MB"
    )
    opened = []
    for _ in range(rounds):
        page, seconds = open_page(browser, file)
        opened.append(f"{seconds:.2f}")
        page.close()
    print(f"  opened in {', '.join(opened)} s")
    page, _ = open_page(browser, file)
    if timeline(page)["drawn"] == "averages":
        zoom_half(page)
        print(f"  {pan(page)}")
        zoom_until_lanes(page)
    print(f"  {pan(page)}")
    page.close()


def zoom_half(page: Page) -> None:
    """Leave room to pan."""
    page.get_by_role("button", name="Zoom in").first.click()


def main() -> None:
    """Make both traces and their pages, and measure them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkouts", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="where traces and pages go, and stay")
    given: Any = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="poolhog-page-") as temporary,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        folder = given.keep or Path(temporary)
        for checkouts in (given.small, given.checkouts):
            directory = folder / str(checkouts)
            directory.mkdir(parents=True, exist_ok=True)
            if not list(directory.glob("*.sqlite")):
                make_trace(directory, checkouts)
            name = f"{checkouts:,} checkouts"
            tell(name, directory, folder / f"{checkouts}.html", given.rounds, browser)
        browser.close()


if __name__ == "__main__":
    main()
