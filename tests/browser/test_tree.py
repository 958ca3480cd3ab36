"""Where connection time goes, in the browser: its numbers, and what a reader can do with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.conftest import PHONE
from browser.looking import totals
from poolhog.render.words import seconds

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.conftest import OpenPictures

STATES = ("busy", "blocked", "parked", "running", "ready")


@pytest.fixture
def some(open_pictures: OpenPictures) -> Page:
    return open_pictures("some", reduced_motion="reduce")


def test_the_tree_adds_up_to_what_the_report_says(some: Page) -> None:
    told = totals(some)
    root = some.evaluate(
        "[...'busy blocked parked running ready'.split(' ')].map((s) => treeView.tree.spent[s][0])"
    )
    wanted = [told[f"{state}_s"] * 1e6 for state in STATES]
    assert root == [pytest.approx(us, abs=some.evaluate("treeView.tree.size") + 1) for us in wanted]


def test_every_node_lies_within_the_one_above_it(some: Page) -> None:
    some.get_by_label("Show time that was").select_option("all")
    outside = some.evaluate(
        """() => {
          const at = new Map(treeView.rows.map((one) => [one.node, one]));
          const right = (one) => one.x + one.width;
          return treeView.rows.slice(1).filter((one) => {
            const above = at.get(one.parent);
            return one.x < above.x - 0.01 || right(one) > right(above) + 0.01;
          }).length;
        }"""
    )
    assert some.evaluate("treeView.rows.length") > 10
    assert outside == 0


def test_widths_are_in_the_ratio_of_what_is_shown(some: Page) -> None:
    worst = some.evaluate(
        """() => {
          const [root] = treeView.rows;
          const share = (one) => treeView.measure[one.node] / treeView.measure[root.node];
          const wrong = (one) => Math.abs(one.width / root.width - share(one));
          return Math.max(...treeView.rows.map(wrong));
        }"""
    )
    assert worst < 1e-9


def test_parked_time_is_shown_first_and_others_by_choice(some: Page) -> None:
    tree = some.get_by_role("tree")
    told = totals(some)
    assert seconds(told["parked_s"]) + " parked" in (tree.get_attribute("aria-label") or "")
    choice = some.get_by_label("Show time that was")
    expect(choice).to_have_value("parked")
    for state in ("busy", "running"):
        choice.select_option(state)
        label = tree.get_attribute("aria-label") or ""
        assert f"{seconds(told[f'{state}_s'])} {state}" in label
    choice.select_option("all")
    label = tree.get_attribute("aria-label") or ""
    assert f"{seconds(told['use_s'])} in use" in label


def test_routes_stand_below_the_root_with_their_seconds(some: Page) -> None:
    routes = some.evaluate("reports[0].routes")
    some.get_by_label("Show time that was").select_option("all")
    shown = some.evaluate(
        """() => Object.fromEntries(treeView.rows.filter((one) => one.row === 1).map((one) =>
             [sides[0].texts[treeView.tree.name[one.node]], treeView.measure[one.node] / 1e6]))"""
    )
    assert shown
    for route in routes:
        if route["name"] in shown:
            assert shown[route["name"]] == pytest.approx(route["use_s"], abs=1e-3)


def test_a_click_zooms_and_the_way_leads_back(some: Page) -> None:
    name = "POST /notes/{note_id}/synchronize"
    some.get_by_role("treeitem").filter(has_text="POST").first.click()
    crumbs = some.get_by_label("Way to the shown place").get_by_role("button")
    expect(crumbs).to_have_text(["all routes", name])
    expect(some.get_by_role("treeitem").first).to_have_attribute("aria-selected", "true")
    first = some.evaluate("treeView.rows[0].width === treeView.pane.clientWidth")
    assert first
    crumbs.first.click()
    expect(crumbs).to_have_text(["all routes"])


def test_zooming_tells_which_node_it_is(some: Page) -> None:
    some.evaluate("treeView.onSelect = (node) => { window.chosen = node; }")
    some.get_by_role("treeitem").nth(1).click()
    assert some.evaluate("window.chosen === treeView.root && treeView.root > 0")


def test_the_tree_is_walked_by_keys(some: Page) -> None:
    some.get_by_role("treeitem").first.focus()
    some.keyboard.press("ArrowDown")
    focused = some.locator("[data-node]:focus")
    expect(focused).to_have_attribute("aria-level", "2")
    largest = focused.get_attribute("data-node")
    some.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-level", "2")
    assert focused.get_attribute("data-node") != largest
    some.keyboard.press("ArrowLeft")
    assert focused.get_attribute("data-node") == largest
    some.keyboard.press("Enter")
    assert some.evaluate("treeView.root") == int(largest or -1)
    expect(focused).to_have_attribute("aria-level", "1")
    some.keyboard.press("Escape")
    assert some.evaluate("treeView.root") == 0
    assert focused.get_attribute("data-node") == largest
    some.keyboard.press("ArrowUp")
    expect(focused).to_have_attribute("data-node", "0")
    expect(some.locator("[data-node][tabindex='0']")).to_have_count(1)


def test_a_focused_node_shows_what_it_is(some: Page) -> None:
    some.get_by_role("treeitem").first.focus()
    some.keyboard.press("ArrowDown")
    card = some.locator(".tree .span-card")
    expect(card).to_be_visible()
    expect(card).to_contain_text("checkouts")
    expect(card).to_contain_text("parked")


def test_search_marks_nodes_and_sums_them_once(some: Page) -> None:
    search = some.get_by_role("searchbox", name="Find a route")
    search.fill("synchronize")
    expect(some.locator(".tree .found")).to_contain_text("%")
    dim = some.locator(".tree .node.dim").count()
    assert 0 < dim < some.get_by_role("treeitem").count()
    share = some.evaluate(
        """async () => {
          const { searched } = await import("/js/calltree.js");
          return searched(treeView.tree, treeView.measure, "o").sum / treeView.measure[0];
        }"""
    )
    assert 0 < share <= 1
    search.fill("")
    expect(some.locator(".tree .node.dim")).to_have_count(0)


def test_the_table_says_the_same(some: Page) -> None:
    row = some.locator(".tree-table tbody tr").first
    largest = some.evaluate(
        """() => {
          const [, one] = treeView.rows;
          const { spent, checkouts, name } = treeView.tree;
          return {
            name: sides[0].texts[name[one.node]],
            us: ["busy", "blocked", "parked", "running", "ready"]
              .map((state) => spent[state][one.node]),
            checkouts: checkouts[one.node],
          };
        }"""
    )
    cells = row.locator("td").all_inner_texts()
    expect(row.get_by_role("button")).to_have_text(largest["name"])
    assert cells[1:6] == [seconds(us / 1e6) for us in largest["us"]]
    assert cells[6] == f"{largest['checkouts']:,}"
    row.get_by_role("button").click()
    assert some.evaluate("treeView.root") > 0


def test_time_that_was_never_spent_is_said_to_be_none(open_pictures: OpenPictures) -> None:
    page = open_pictures("some")
    assert totals(page)["ready_s"] == 0
    page.get_by_label("Show time that was").select_option("ready")
    expect(page.locator(".tree .empty")).to_have_text("No connection was ready.")


def test_it_fits_on_a_phone(open_pictures: OpenPictures) -> None:
    page = open_pictures("some", viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate("treeView.rows[0].width") < PHONE["width"]


# What each node spent itself, by the states that are shown.
OWN = """() => {
  const { outward: tree } = treeView;
  const states = ["busy", "blocked", "parked", "running", "ready"];
  const own = Array.from({ length: tree.size }, (_, n) =>
    states.reduce((sum, state) => sum + tree.spent[state][n], 0));
  const whole = [...own];
  for (let n = 1; n < tree.size; n++) own[tree.parent[n]] -= whole[n];
  return own;
}"""


def test_turned_round_the_lines_come_first_with_what_they_spent(some: Page) -> None:
    some.get_by_label("Show time that was").select_option("all")
    own = some.evaluate(OWN)
    lines: dict[str, float] = {}
    for node, us in enumerate(own):
        if node and us > 0:
            name = some.evaluate(
                """(n) => {
                  const { tree } = sides[0];
                  return `${tree.name[n]} ${sides[0].sites[tree.site[n]]?.slice(0, 3) ?? ""}`;
                }""",
                node,
            )
            lines[name] = lines.get(name, 0) + us
    turn = some.get_by_role("button", name="From the line out")
    turn.click()
    expect(turn).to_have_attribute("aria-pressed", "true")
    found = some.evaluate(
        """() => {
          const { tree, measure } = treeView;
          const found = {};
          for (let n = 1; n < tree.size; n++) {
            if (tree.parent[n]) continue;
            const site = sides[0].sites[tree.site[n]]?.slice(0, 3) ?? "";
            found[`${tree.name[n]} ${site}`] = measure[n];
          }
          return found;
        }"""
    )
    assert found == lines
    assert len(found) > 3
    # Routes are outermost now, and add up to the same.
    assert some.evaluate("treeView.measure[0]") == some.evaluate("treeView.whole")
    leaves = some.evaluate(
        """treeView.rows.filter((one) => !treeView.rows.some((other) => other.parent === one.node))
             .map((one) => treeView.tree.site[one.node])"""
    )
    assert set(leaves) == {-1}
    expect(some.locator(".tree-table thead")).not_to_contain_text("checkouts")
    turn.click()
    expect(some.locator(".tree-table thead")).to_contain_text("checkouts")


@pytest.mark.parametrize("inverted", [False, True])
def test_only_the_paths_through_what_was_found_are_left(some: Page, inverted: bool) -> None:
    some.get_by_label("Show time that was").select_option("all")
    if inverted:
        some.get_by_role("button", name="From the line out").click()
    only = some.get_by_role("button", name="Show only what was found")
    expect(only).to_be_disabled()
    some.get_by_role("searchbox", name="Find a route").fill("synchronize")
    share = some.locator(".tree .found").inner_text()
    marked = some.evaluate("treeView.search.sum")
    before = some.get_by_role("treeitem").count()
    only.click()
    assert some.locator(".tree .found").inner_text() == share
    assert 0 < some.get_by_role("treeitem").count() < before
    assert some.locator(".tree .node.dim").count() == 0
    assert some.evaluate("treeView.measure[0]") == pytest.approx(marked)
    # Every node that is left is on a path through one that was found.
    assert some.evaluate(
        """treeView.rows.every(({ node }) => {
          const { tree, search } = treeView;
          const isBelow = (n) => n > 0 && (search.matches[n] || isBelow(tree.parent[n]));
          const isAbove = (n) => search.matches[n] || Array.from(
            tree.below.items.subarray(tree.below.first[n], tree.below.first[n + 1])).some(isAbove);
          return isBelow(node) || isAbove(node);
        })"""
    )
    # The parts are of everything, not of what is left.
    expect(some.get_by_role("treeitem").first).to_have_attribute(
        "aria-label", re.compile(re.escape(share.split(", ")[1]))
    )
    some.get_by_role("searchbox", name="Find a route").fill("no such function")
    expect(some.locator(".tree .empty")).to_have_text("Nothing that was found was in use.")
    some.get_by_role("searchbox", name="Find a route").fill("")
    assert some.get_by_role("treeitem").count() == before
