// What the reader does on the timeline: point at a span, click it, walk over the lanes by keys.

import { gapsOf, partLength } from "./averages.js";
import { requestName } from "./data.js";
import { averageFacts, requestFacts, spanFacts, spoken } from "./details.js";
import { rowAt, topOf } from "./lanes.js";
import { followPointer, moveByKey } from "./view.js";

const REACH = 3;
const WAYS = { ArrowUp: "up", ArrowDown: "down", ",": "before", ".": "after" };
// By which part of the window a key moves an end of the selection.
const EDGE = 0.02;
const EDGES = { "[": [-EDGE, 0], "{": [EDGE, 0], "]": [0, EDGE], "}": [0, -EDGE] };

/** Watches the stage of a timeline. */
export class Steering {
  /** @param {import("./timeline.js").Timeline} picture */
  constructor(picture) {
    this.picture = picture;
    this.cursor = null;
    this.hovered = null;
    const { stage } = picture;
    followPointer(stage, () => picture.view, {
      instantAt: (x) => this.#instant(x),
      usPerPixel: () => picture.view.width / picture.layout.plot.width,
      click: (x, y) => this.#click(x, y),
      hover: (x, y) => this.#hover(x, y),
      leave: () => this.#hover(-1, -1),
    });
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("blur", () => this.#rove(null));
  }

  /** What is to be framed, and in which paint. */
  marked() {
    const found = [[this.hovered, "ink"], [this.cursor, "accent"]];
    return found.filter(([spot]) => spot);
  }

  #click(x, y) {
    const { picture } = this;
    const spot = this.#spot(x, y);
    if (spot) picture.select(ownerOf(spot));
    else if (picture.view.selection) picture.view.clear();
    else if (picture.selected >= 0) picture.select(-1);
    this.#hover(x, y);
  }

  #hover(x, y) {
    const { picture } = this;
    const spot = this.#spot(x, y);
    const facts = spot ? factsOf(picture.scene(), spot) : this.#averageAt(x, y);
    picture.stage.classList.toggle("on-span", spot !== null);
    if (facts) picture.card.show(facts, x, y);
    else picture.card.hide();
    if (spot?.rows === this.hovered?.rows && spot?.item === this.hovered?.item) return;
    this.hovered = spot;
    picture.redraw();
  }

  /** What the averages say at a point, if averages are drawn there. */
  #averageAt(x, y) {
    const { side, layout, playhead, averages } = this.picture;
    const at = this.#instant(x);
    if (x < layout.plot.x || y < layout.axis || at > Math.min(playhead, side.length)) return null;
    if (!averages && !gapsOf(side, at, at + 1).length) return null;
    const scene = this.picture.scene();
    return averageFacts(scene, at, partLength(scene));
  }

  #key(event) {
    const { picture } = this;
    if (moveByKey(event, picture.view)) event.preventDefault();
    else if (Object.hasOwn(WAYS, event.key)) {
      event.preventDefault();
      this.#rove(WAYS[event.key]);
    } else if (event.key === "Enter" && this.cursor) {
      picture.select(ownerOf(this.cursor));
      picture.live.textContent = `Following ${requestName(picture.side, picture.selected)}`;
    } else if (event.key === "Escape") {
      if (picture.view.selection) {
        picture.view.clear();
        picture.live.textContent = "Nothing is selected";
        return;
      }
      picture.select(-1);
      this.#rove(null);
    } else this.#select(event);
  }

  /** What a key does to the selection. */
  #select(event) {
    const { view } = this.picture;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === "s") {
      const { rows, item } = this.cursor ?? {};
      if (rows) view.select(rows.start[item], rows.end[item]);
      else view.select(view.from, view.to);
    } else if (key === "f" && view.selection) view.set(...view.selection, { glide: true });
    else if (Object.hasOwn(EDGES, key)) {
      const [from, to] = view.selection ?? [view.from, view.to];
      const [first, last] = EDGES[key].map((part) => part * view.width);
      if (to + last > from + first) view.select(from + first, to + last);
    } else return;
    event.preventDefault();
  }

  /** Moves the cursor, and says what is there; `null` takes it away. */
  #rove(way) {
    const { picture } = this;
    const scene = picture.scene();
    this.cursor = way && !picture.averages ? stepped(scene, this.cursor, way) : null;
    if (this.cursor) this.#tell(scene);
    else if (way) {
      const middle = (scene.from + scene.to) / 2;
      picture.live.textContent = spoken(averageFacts(scene, middle, partLength(scene)));
    } else picture.card.hide();
    picture.redraw();
  }

  #tell({ from, to }) {
    const { picture, cursor } = this;
    const { rows, item } = cursor;
    if (rows.end[item] < from || rows.start[item] > to) {
      const middle = (rows.start[item] + rows.end[item]) / 2;
      picture.view.set(middle - (to - from) / 2, middle + (to - from) / 2);
    }
    const scene = picture.scene();
    const facts = factsOf(scene, cursor);
    picture.card.show(facts, ...middleOf(scene, cursor));
    picture.live.textContent = spoken(facts);
  }

  #spot(x, y) {
    const { picture } = this;
    const { plot } = picture.layout;
    if (picture.averages || x < plot.x || x > plot.x + plot.width) return null;
    const at = this.#instant(x);
    if (at > picture.playhead) return null;
    return spotAt(picture.scene(), at, y, (REACH * picture.view.width) / plot.width);
  }

  #instant(x) {
    const { view, layout } = this.picture;
    return view.from + ((x - layout.plot.x) / layout.plot.width) * view.width;
  }
}

/**
 * What is drawn at a place: an item of the requests' lanes, or of the pools'.
 * @typedef {{rows: import("./lanes.js").Rows, row: number, item: number}} Spot
 */

/**
 * The spot at a point of the picture, or `null`.
 * @param {object} scene @param {number} instant @param {number} y @param {number} reach microseconds
 * @returns {Spot | null}
 */
function spotAt({ layout, rows }, instant, y, reach) {
  for (const block of [layout.requests, ...layout.pools]) {
    const row = rowAt(block, y);
    if (row < 0) continue;
    for (const among of rowsFor(rows, layout, block)) {
      const item = among.at(row, instant, reach);
      if (item >= 0) return { rows: among, row, item };
    }
    return null;
  }
  return null;
}

/** The block that a spot is drawn in, or `undefined`. @param {object} scene @param {Spot} spot */
export function blockOf({ layout, rows }, spot) {
  const blocks = spot.rows === rows.pools ? layout.pools : [layout.requests];
  return blocks.find((block) => topOf(block, spot.row) >= 0);
}

/** The request of a spot. @param {Spot} spot */
function ownerOf({ rows, item }) {
  return rows.owner[item];
}

/** What is to be said of a spot. @param {object} scene @param {Spot} spot */
function factsOf({ side, rows }, spot) {
  const source = spot.rows.source[spot.item];
  return spot.rows === rows.lives ? requestFacts(side, source) : spanFacts(side, source);
}

/**
 * The spot one step from another: to the lane above or below at about the same time, or to the span
 * before or after it. Stays where it is at the ends.
 * @param {object} scene @param {Spot | null} spot @param {"up" | "down" | "before" | "after"} way
 * @returns {Spot | null}
 */
function stepped(scene, spot, way) {
  const lanes = lanesOf(scene);
  if (!spot) return nearest(scene, lanes, -1, 1, scene.from);
  if (way === "before" || way === "after") {
    const [low, high] = [spot.rows.first[spot.row], spot.rows.first[spot.row + 1]];
    const item = spot.item + (way === "after" ? 1 : -1);
    return item >= low && item < high ? { ...spot, item } : spot;
  }
  const block = blockOf(scene, spot);
  const here = lanes.findIndex((lane) => lane.block === block && lane.row === spot.row);
  const { start, end } = spot.rows;
  const middle = (Math.max(start[spot.item], scene.from) + Math.min(end[spot.item], scene.to)) / 2;
  return nearest(scene, lanes, here, way === "down" ? 1 : -1, middle) ?? spot;
}

/** The middle of a spot in the picture, for what is shown beside it. */
function middleOf(scene, spot) {
  const { plot } = scene.layout;
  const block = blockOf(scene, spot);
  const scale = plot.width / (scene.to - scene.from);
  const inside = (instant) => Math.min(scene.to, Math.max(scene.from, instant));
  const middle = (inside(spot.rows.start[spot.item]) + inside(spot.rows.end[spot.item])) / 2;
  return [plot.x + (middle - scene.from) * scale, block ? topOf(block, spot.row) + block.bar / 2 : 0];
}

function lanesOf({ layout }) {
  return [layout.requests, ...layout.pools].flatMap((block) =>
    Array.from({ length: block.shown }, (_, i) => ({ block, row: block.first + i })),
  );
}

/** The first lane in a direction that has anything, at what is nearest to an instant. */
function nearest({ rows, layout }, lanes, here, way, instant) {
  for (let i = here + way; i >= 0 && i < lanes.length; i += way) {
    const { block, row } = lanes[i];
    for (const among of rowsFor(rows, layout, block)) {
      const [low, high] = [among.first[row], among.first[row + 1]];
      if (low === high) continue;
      const after = Math.min(high - 1, among.within(row, instant, Infinity)[0]);
      const before = Math.max(low, after - 1);
      const away = (item) => Math.max(among.start[item] - instant, instant - among.end[item], 0);
      return { rows: among, row, item: away(before) < away(after) ? before : after };
    }
  }
  return null;
}

function rowsFor(rows, layout, block) {
  return block === layout.requests ? [rows.requests, rows.lives] : [rows.pools];
}
