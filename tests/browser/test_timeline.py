"""The timeline in the browser: what it shows, and all that a reader can do with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.conftest import PHONE
from browser.looking import (
    SETTLED_MS,
    colours,
    has_colour,
    longest,
    pixel,
    settle,
    stage,
    totals,
    view,
)
from poolhog.analysis.accounting import State
from poolhog.render.palette import PAINTS, SURFACES

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.conftest import OpenPictures

WAITING, BUSY, PARKED = 0, 1, 3
STATES = ("waiting", "busy", "blocked", "parked", "running", "ready")


@pytest.fixture
def orders(open_pictures: OpenPictures) -> Page:
    return open_pictures("orders", reduced_motion="reduce")


@pytest.fixture
def many(open_pictures: OpenPictures) -> Page:
    return open_pictures("many", reduced_motion="reduce")


def test_the_queue_has_the_colour_of_who_is_to_blame_and_says_so(orders: Page) -> None:
    legend = orders.get_by_role("list", name="Who made others wait")
    expect(legend.get_by_role("listitem").first).to_contain_text(
        "1 orders.py:31, orders.py confirm"
    )
    expect(legend.get_by_role("listitem").last).to_contain_text("others, or nobody")
    found = orders.evaluate(
        """() => {
          const { layout, surface } = timeline;
          const { queue, plot } = layout;
          const x = plot.x + plot.width / 4;
          const ratio = devicePixelRatio || 1;
          const at = [x * ratio, (queue.y + queue.height - 3) * ratio, 1, 1];
          return [...surface.context.getImageData(...at).data.slice(0, 3)];
        }"""
    )
    assert f"#{bytes(found).hex()}" == SURFACES["blame1"][0]


def test_the_spans_add_up_to_what_the_report_says(open_pictures: OpenPictures) -> None:
    page = open_pictures("some")
    spent = page.evaluate(
        """() => {
          const { spans } = sides[0];
          const sums = [0, 0, 0, 0, 0, 0];
          spans.state.forEach((state, s) => { sums[state] += spans.end[s] - spans.start[s]; });
          return sums.map((us) => us / 1e6);
        }"""
    )
    told = totals(page)
    names = ("wait_s", "busy_s", "blocked_s", "parked_s", "running_s", "ready_s")
    # Each span's ends are rounded to microseconds.
    most = 1e-6 * page.evaluate("sides[0].spans.size")
    assert sides_complete(page)
    assert spent == [pytest.approx(told[name], abs=most) for name in names]


def sides_complete(page: Page) -> bool:
    return bool(page.evaluate("sides[0].complete"))


def test_bars_have_the_colours_of_their_states(orders: Page) -> None:
    assert has_colour(PAINTS[State.WAITING].light, colours(orders, longest(orders, WAITING)))
    assert has_colour(PAINTS[State.PARKED].light, colours(orders, longest(orders, PARKED)))


def test_the_colours_follow_the_reader_into_the_dark(orders: Page) -> None:
    spot = longest(orders, WAITING)
    orders.emulate_media(color_scheme="dark")
    orders.wait_for_timeout(SETTLED_MS)
    assert has_colour(PAINTS[State.WAITING].dark, colours(orders, spot))


def test_the_wheel_zooms_at_the_pointer(orders: Page) -> None:
    spot = longest(orders, PARKED)
    stage(orders).hover(position={"x": spot.x, "y": spot.y})
    orders.mouse.wheel(0, -300)
    settle(orders)
    low, high = view(orders)
    assert high - low < 0.7 * orders.evaluate("timeline.view.length")
    again = orders.evaluate(
        "async (at) => (await import('/js/drawing.js')).pixelOf(timeline.scene(), at)", spot.middle
    )
    assert again == pytest.approx(spot.x, abs=1)


def test_the_wheel_pans_sideways(orders: Page) -> None:
    orders.evaluate("timeline.view.set(500_000, 900_000)")
    stage(orders).hover()
    orders.mouse.wheel(120, 0)
    settle(orders)
    low, high = view(orders)
    assert low > 500_000
    assert high - low == pytest.approx(400_000)


def test_the_wheel_scrolls_the_page_where_there_is_nothing_to_zoom_out_of(orders: Page) -> None:
    orders.set_viewport_size({"width": 1280, "height": 500})
    stage(orders).hover()
    orders.mouse.wheel(0, 200)
    orders.wait_for_function("scrollY > 50")
    assert view(orders) == (0, orders.evaluate("timeline.view.length"))


def test_the_wheel_stays_the_page_s_while_a_reader_scrolls_past(orders: Page) -> None:
    orders.set_viewport_size({"width": 1280, "height": 500})
    orders.evaluate("timeline.view.set(500_000, 900_000)")
    orders.evaluate("document.body.style.paddingTop = '300px'")
    orders.mouse.move(640, 150)
    is_over = "document.elementFromPoint(640, 150).closest('.stage') !== null"
    # A browser that has no time takes several turns of the wheel for one.
    for _ in range(60):
        orders.mouse.wheel(0, 60)
        if orders.evaluate(is_over):
            break
    orders.mouse.wheel(0, 60)
    assert orders.evaluate(is_over)
    assert view(orders) == (500_000, 900_000)
    orders.wait_for_timeout(SETTLED_MS)
    orders.mouse.wheel(0, -60)
    settle(orders)
    low, high = view(orders)
    assert high - low < 400_000


def test_one_finger_pans(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", viewport=PHONE, has_touch=True, reduced_motion="reduce")
    page.evaluate("timeline.view.set(500_000, 900_000)")
    box = stage(page).bounding_box()
    assert box is not None
    touch = page.context.new_cdp_session(page)
    for kind, x in (
        ("touchStart", 250),
        *(("touchMove", 250 - moved) for moved in range(10, 110, 10)),
    ):
        point = {"x": box["x"] + x, "y": box["y"] + 60, "id": 0}
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    settle(page)
    low, high = view(page)
    wanted = 500_000 + 100 * 400_000 / page.evaluate("timeline.layout.plot.width")
    assert low == pytest.approx(wanted, rel=0.05)
    assert high - low == pytest.approx(400_000)
    assert page.evaluate("timeline.selected") == -1


def test_dragging_with_shift_moves_what_is_under_the_pointer(orders: Page) -> None:
    orders.evaluate("timeline.view.set(500_000, 1_500_000)")
    box = stage(orders).bounding_box()
    assert box is not None
    width = orders.evaluate("timeline.layout.plot.width")
    x, y = box["x"] + 600, box["y"] + 100
    orders.mouse.move(x, y)
    orders.keyboard.down("Shift")
    orders.mouse.down()
    orders.mouse.move(x - 100, y, steps=5)
    orders.mouse.up()
    orders.keyboard.up("Shift")
    assert orders.evaluate("timeline.view.selection") is None
    low, high = view(orders)
    assert low == pytest.approx(500_000 + 100 * 1_000_000 / width, rel=1e-3)
    assert high - low == pytest.approx(1_000_000)
    assert orders.evaluate("timeline.selected") == -1


def test_two_fingers_zoom(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", viewport=PHONE, has_touch=True, reduced_motion="reduce")
    box = stage(page).bounding_box()
    assert box is not None
    y = box["y"] + 60
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *places: float) -> None:
        points = [{"x": box["x"] + x, "y": y, "id": i} for i, x in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", 150, 200)
    for spread in (10, 20, 30, 40, 50):
        send("touchMove", 150 - spread, 200 + spread)
    send("touchEnd")
    settle(page)
    low, high = view(page)
    assert (high - low) / page.evaluate("timeline.view.length") == pytest.approx(1 / 3, abs=0.1)


def test_keys_move_and_zoom(orders: Page) -> None:
    length = orders.evaluate("timeline.view.length")
    stage(orders).focus()
    orders.keyboard.press("+")
    orders.keyboard.press("+")
    low, high = view(orders)
    assert high - low == pytest.approx(length / 1.5**2)
    orders.keyboard.press("ArrowRight")
    assert view(orders)[0] > low
    orders.keyboard.press("ArrowLeft")
    assert view(orders)[0] == pytest.approx(low)
    orders.keyboard.press("Home")
    assert view(orders)[0] == 0
    orders.keyboard.press("End")
    assert view(orders)[1] == pytest.approx(length)
    orders.keyboard.press("-")
    assert view(orders)[1] - view(orders)[0] == pytest.approx(length / 1.5)
    orders.keyboard.press("0")
    assert view(orders) == (0, length)


def test_buttons_zoom(orders: Page) -> None:
    length = orders.evaluate("timeline.view.length")
    orders.get_by_role("button", name="Zoom in").click()
    assert view(orders)[1] - view(orders)[0] == pytest.approx(length / 2)
    orders.get_by_role("button", name="Zoom out").click()
    assert view(orders) == (0, length)


def test_zooming_glides_unless_the_reader_wants_stillness(open_pictures: OpenPictures) -> None:
    script = """async () => {
      const widths = new Set();
      timeline.view.listeners.add(() => widths.add(timeline.view.width));
      document.querySelector("[aria-label='Zoom in']").click();
      await new Promise((done) => setTimeout(done, 500));
      return widths.size;
    }"""
    assert open_pictures("orders", reduced_motion="reduce").evaluate(script) == 1
    assert open_pictures("orders", reduced_motion="no-preference").evaluate(script) > 1


def test_the_overview_moves_the_view(orders: Page) -> None:
    length = orders.evaluate("timeline.view.length")
    orders.evaluate("(length) => timeline.view.set(0, length / 4)", length)
    strip = orders.locator(".minimap")
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": box["width"] * 0.75, "y": 20})
    low, high = view(orders)
    assert (low + high) / 2 == pytest.approx(0.75 * length, rel=0.01)
    assert high - low == pytest.approx(length / 4)
    pane = orders.locator(".minimap-pane").bounding_box()
    assert pane is not None
    assert pane["x"] + pane["width"] / 2 == pytest.approx(box["x"] + 0.75 * box["width"], abs=3)


def test_the_overview_s_edges_change_the_width(orders: Page) -> None:
    length = orders.evaluate("timeline.view.length")
    orders.evaluate("(length) => timeline.view.set(length / 4, length / 2)", length)
    box = orders.locator(".minimap").bounding_box()
    assert box is not None
    y = box["y"] + 20
    orders.mouse.move(box["x"] + box["width"] / 2 - 1, y)
    orders.mouse.down()
    orders.mouse.move(box["x"] + box["width"] * 0.8, y, steps=4)
    orders.mouse.up()
    low, high = view(orders)
    assert low == pytest.approx(length / 4)
    assert high == pytest.approx(0.8 * length, rel=0.01)


def test_a_state_that_is_switched_off_is_not_drawn(orders: Page) -> None:
    spot = longest(orders, WAITING)
    key = orders.get_by_role("button", name="waiting for a connection")
    expect(key).to_have_attribute("aria-pressed", "true")
    key.click()
    expect(key).to_have_attribute("aria-pressed", "false")
    assert colours(orders, spot) == {PAINTS[State.NOT_HOLDING].light}
    key.click()
    assert has_colour(PAINTS[State.WAITING].light, colours(orders, spot))


def test_pointing_at_a_span_says_what_it_is(orders: Page) -> None:
    spot = longest(orders, PARKED)
    stage(orders).hover(position={"x": spot.x, "y": spot.y})
    card = orders.locator(".timeline .span-card")
    expect(card).to_be_visible()
    expect(card).to_contain_text("parked")
    expect(card).to_contain_text("orders.py confirm")
    expect(card).to_contain_text("orders.py:22 in assess_risk")
    expect(card).to_contain_text("time.sleep(0.25)")
    orders.mouse.move(5, 5)
    expect(card).to_be_hidden()


def test_pointing_at_an_operation_shows_its_sql(orders: Page) -> None:
    span = orders.evaluate(
        """() => sides[0].spans.what.findIndex((what, s) =>
             sides[0].spans.state[s] === 1 && what >= 0
             && sides[0].texts[sides[0].whats[what][1]]?.startsWith("UPDATE orders"))"""
    )
    assert span >= 0
    start, end = orders.evaluate("(s) => [sides[0].spans.start[s], sides[0].spans.end[s]]", span)
    orders.evaluate(
        "([from, to]) => timeline.view.set(from - (to - from), to + (to - from))", [start, end]
    )
    at = orders.evaluate(
        """async ([span, middle]) => {
          const { pixelOf } = await import("/js/drawing.js");
          const { topOf } = await import("/js/lanes.js");
          timeline.draw();
          const scene = timeline.scene();
          const request = sides[0].checkouts.request[sides[0].spans.checkout[span]];
          const y = topOf(scene.layout.requests, sides[0].requests.lane[request]);
          return { x: pixelOf(scene, middle), y: y + 5 };
        }""",
        [span, (start + end) / 2],
    )
    stage(orders).hover(position=at)
    card = orders.locator(".timeline .span-card")
    expect(card).to_contain_text("busy: statement")
    expect(card).to_contain_text("UPDATE orders SET risk")


def test_a_click_follows_a_request_to_its_connections(orders: Page) -> None:
    spot = longest(orders, PARKED)
    waits = (longest(orders, WAITING, rank) for rank in range(2))
    other = next(wait for wait in waits if wait.request != spot.request)
    before = pixel(orders, other.x, other.y)
    orders.evaluate("timeline.onSelect = (request) => { window.chosen = request; }")
    stage(orders).click(position={"x": spot.x, "y": spot.y})
    assert orders.evaluate("window.chosen") == spot.request
    panel = orders.locator(".following")
    expect(panel.locator("strong")).to_have_text(
        re.compile(r"^ThreadPoolExecutor-0_\d orders.py confirm$")
    )
    assert pixel(orders, other.x, other.y) != before
    panel.get_by_role("button", name="Look at checkout 1 of").click()
    checkout = orders.evaluate(
        "(r) => sides[0].ofRequest.items[sides[0].ofRequest.first[r]]", spot.request
    )
    asked, end = orders.evaluate(
        "(c) => [sides[0].checkouts.asked[c], sides[0].checkouts.end[c]]", checkout
    )
    low, high = view(orders)
    assert low <= asked < end <= high
    assert high - low < 2 * (end - asked)
    panel.get_by_role("button", name="Stop following").click()
    expect(panel).to_be_hidden()


def test_a_connection_leads_back_to_its_request(orders: Page) -> None:
    place = orders.evaluate(
        """async () => {
          const { pixelOf } = await import("/js/drawing.js");
          const { topOf } = await import("/js/lanes.js");
          const scene = timeline.scene();
          const { uses } = scene.rows;
          const item = uses.first[2] - 1;
          const block = scene.layout.pools[0];
          const middle = (uses.start[item] + uses.end[item]) / 2;
          const y = topOf(block, 1) + block.bar / 2;
          return { x: pixelOf(scene, middle), y, request: uses.owner[item] };
        }"""
    )
    stage(orders).click(position={"x": place["x"], "y": place["y"]})
    assert orders.evaluate("timeline.selected") == place["request"]


def test_showing_an_example_zooms_to_it_and_follows_it(orders: Page) -> None:
    example = orders.evaluate("reports[0].findings[0].example")
    low, high = orders.evaluate(
        "(e) => [(e.started_s - sides[0].startedS) * 1e6, (e.ended_s - sides[0].startedS) * 1e6]",
        example,
    )
    orders.evaluate(
        "([low, high, checkout]) => timeline.show(low, high, { checkout })",
        [low, high, example["checkout"]],
    )
    seen = view(orders)
    assert seen[0] <= low < high <= seen[1]
    assert high - low > 0.5 * (seen[1] - seen[0])
    followed = orders.evaluate(
        """(id) => {
          const c = sides[0].checkouts.id.findIndex((text) => sides[0].texts[text] === id);
          return sides[0].checkouts.request[c] === timeline.selected;
        }""",
        example["checkout"],
    )
    assert followed
    expect(stage(orders)).to_be_focused()


def test_the_cursor_walks_over_lanes_and_spans_by_keys(orders: Page) -> None:
    stage(orders).focus()
    live = orders.locator(".timeline .unseen")
    heard = []
    for key in ("ArrowDown", ".", ".", "ArrowDown", "ArrowDown", ",", "ArrowUp"):
        orders.keyboard.press(key)
        heard.append(live.inner_text())
    assert all("orders.py" in words for words in heard)
    assert len(set(heard)) >= 5
    orders.keyboard.press("Enter")
    expect(orders.locator(".following")).to_be_visible()
    orders.keyboard.press("Escape")
    expect(orders.locator(".following")).to_be_hidden()


def test_the_cursor_reaches_the_connections(orders: Page) -> None:
    stage(orders).focus()
    lanes = orders.evaluate("timeline.layout.requests.shown + timeline.layout.pools[0].shown")
    for _ in range(lanes + 3):
        orders.keyboard.press("ArrowDown")
    cursor = orders.evaluate(
        "[timeline.steering.cursor.rows === timeline.rows.pools, timeline.steering.cursor.row]"
    )
    assert cursor == [True, 1]


def test_a_route_is_found(orders: Page) -> None:
    wanted = orders.evaluate(
        """sides[0].requests.name.filter(
             (text) => sides[0].texts[text] === 'orders.py confirm').length"""
    )
    search = orders.get_by_role("searchbox", name="Find requests")
    status = orders.locator(".timeline .found")
    search.fill("CONFIRM")
    expect(status).to_have_text(f"0 of {wanted}")
    orders.get_by_role("button", name="Next request found").click()
    expect(status).to_have_text(f"1 of {wanted}")
    first = orders.evaluate("timeline.selected")
    orders.get_by_role("button", name="Next request found").click()
    assert orders.evaluate("timeline.selected") != first
    orders.get_by_role("button", name="Previous request found").click()
    assert orders.evaluate("timeline.selected") == first
    orders.get_by_role("button", name="Previous request found").click()
    expect(status).to_have_text(f"{wanted} of {wanted}")


def test_sql_is_found(orders: Page) -> None:
    search = orders.get_by_role("searchbox", name="Find requests")
    status = orders.locator(".timeline .found")
    search.fill("insert into orders")
    expect(status).to_have_text("0 of 1")
    search.press("Enter")
    name = orders.evaluate("sides[0].texts[sides[0].requests.name[timeline.selected]]")
    assert name == "orders.py <module>"
    search.fill("no such words")
    expect(status).to_have_text("none found")
    search.fill("")
    expect(status).to_have_text("")


def test_what_was_not_found_is_dimmed(orders: Page) -> None:
    spot = longest(orders, WAITING)
    before = pixel(orders, spot.x, spot.y)
    orders.get_by_role("searchbox", name="Find requests").fill("insert into orders")
    assert pixel(orders, spot.x, spot.y) != before


def test_a_request_is_found_by_its_id(orders: Page) -> None:
    orders.get_by_role("searchbox", name="Find requests").fill("MainThread")
    expect(orders.locator(".timeline .found")).to_have_text("0 of 1")
    orders.get_by_role("button", name="Next request found").click()
    assert orders.evaluate("timeline.selected") == 0


def test_many_checkouts_are_drawn_as_averages_until_one_zooms_in(many: Page) -> None:
    picture = many.locator(".timeline")
    expect(picture).to_have_attribute("data-drawn", "averages")
    expect(many.locator(".timeline .note")).to_contain_text("Shown as averages of")
    expect(many.locator(".timeline .note")).to_contain_text("zoom in")
    left = many.evaluate("sides[0].leftOut.checkouts")
    assert left > 0
    expect(many.locator(".windows")).to_contain_text(
        f"{left:,} checkouts of 21,000 are in the averages"
    )
    many.locator(".windows button").first.click()
    stage(many).focus()
    for _ in range(12):
        many.keyboard.press("+")
    expect(picture).to_have_attribute("data-drawn", "lanes")
    expect(many.locator(".timeline .note")).not_to_contain_text("averages")
    seen = many.evaluate(
        """() => {
          const { rows, view } = timeline;
          return rows.requests.measure(view.from, view.to).items;
        }"""
    )
    assert 0 < seen <= 20_000


def test_averages_say_what_they_are_of(many: Page) -> None:
    stage(many).hover(position={"x": 640, "y": 500})
    card = many.locator(".timeline .span-card")
    expect(card).to_contain_text("connections lent on average")
    expect(card).to_contain_text("at most")


def test_bins_are_of_everything_although_not_every_checkout_is_there(many: Page) -> None:
    spent = many.evaluate(
        """() => {
          const { bins, length } = sides[0];
          const sum = (values) => values.reduce((a, b) => a + b, 0) * length / bins.count / 1e6;
          return ["busy", "blocked", "parked", "running", "ready"].map((state) => sum(bins[state]));
        }"""
    )
    told = totals(many)
    wanted = [told[f"{state}_s"] for state in ("busy", "blocked", "parked", "running", "ready")]
    # An average is rounded to four digits.
    assert spent == [pytest.approx(value, rel=0.01, abs=0.05) for value in wanted]


def test_what_is_left_out_is_shown_beside_what_is_there(many: Page) -> None:
    _, to = many.evaluate("sides[0].windows[0]")[:2]
    many.evaluate("(to) => timeline.view.set(to - 60_000, to + 30_000)", to)
    settle(many)
    assert many.locator(".timeline").get_attribute("data-drawn") == "lanes"
    scene = many.evaluate("timeline.layout.plot")
    stage(many).hover(position={"x": scene["x"] + scene["width"] * 0.9, "y": 400})
    expect(many.locator(".timeline .span-card")).to_contain_text("lent on average")


def test_there_is_a_table_of_the_same(orders: Page) -> None:
    orders.get_by_text("The same as a table").click()
    rows = orders.locator(".alternative tbody tr")
    expect(rows).to_have_count(orders.evaluate("sides[0].requests.size"))
    expect(orders.locator(".alternative thead th")).to_have_text(
        ["request", "starts", "lasts", *STATES]
    )
    rows.nth(3).get_by_role("button").click()
    expect(orders.locator(".following")).to_be_visible()


def test_a_long_table_says_what_it_leaves_out(many: Page) -> None:
    many.get_by_text("The same as a table").click()
    expect(many.locator(".alternative tbody tr")).to_have_count(20)
    expect(many.locator(".alternative caption")).to_contain_text("The 20 longest of")


def test_all_lanes_can_be_shown(many: Page) -> None:
    many.evaluate("timeline.view.set(0, 60_000)")
    settle(many)
    before = many.evaluate("timeline.layout.height")
    many.get_by_role("button", name="All lanes").click()
    assert many.evaluate("timeline.layout.height") > before
    assert many.evaluate("timeline.layout.requests.left") == 0


def test_several_timelines_share_one_axis(open_pictures: OpenPictures) -> None:
    page = open_pictures("orders", "some", reduced_motion="reduce")
    page.locator(".stage").nth(1).focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    settle(page)
    windows = page.locator(".timeline").evaluate_all(
        "(all) => all.map(({ dataset }) => [dataset.from, dataset.to])"
    )
    assert windows[0] == windows[1]
    assert windows[0] != ["0", str(page.evaluate("timeline.view.length"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(open_pictures: OpenPictures, scheme: str) -> None:
    page = open_pictures("orders", viewport=PHONE, color_scheme=scheme, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    spot = longest(page, PARKED)
    stage(page).tap(position={"x": spot.x, "y": spot.y})
    expect(page.locator(".following")).to_be_visible()
    page.get_by_text("The same as a table").tap()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    sizes = page.locator(".timeline button:visible:not(.link)").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 24
