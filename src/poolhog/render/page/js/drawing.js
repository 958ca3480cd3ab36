// The timeline, drawn lane by lane, and the queue with those whom the requests wait for.

import { mostWaiting } from "./bins.js";
import { requestId, requestName } from "./data.js";
import { count, tickLabel, ticks, tickStep } from "./format.js";
import { thinned, topOf } from "./lanes.js";
import { BLAMED, DRAWN, NONE, PAINTS, WAITING } from "./palette.js";
import { fitted } from "./surface.js";

const NARROWEST = 1.5;
const DIMMED = 0.22;
// How high and how wide the place for a number on the queue has to be; CSS pixels.
const TALL = 11;
const WIDE = 14;

/** Numbers that grow: rectangles to be filled at once. */
class Quads {
  constructor() {
    this.values = new Float32Array(4096);
    this.length = 0;
  }

  push(x, y, width, height) {
    if (this.length + 4 > this.values.length) {
      const more = new Float32Array(this.values.length * 2);
      more.set(this.values);
      this.values = more;
    }
    const { values, length } = this;
    values[length] = x;
    values[length + 1] = y;
    values[length + 2] = width;
    values[length + 3] = height;
    this.length += 4;
  }
}

// One heap of rectangles for each state, lit and dimmed, used again for every picture.
const HEAPS = Array.from({ length: 2 * (NONE + 1) }, () => new Quads());

/**
 * What a drawing is of.
 * @typedef {object} Scene
 * @property {object} side @property {object} rows @property {object} steps of the queue
 * @property {object} layout @property {number} from @property {number} to microseconds
 * @property {boolean[]} hidden by state @property {Uint8Array | null} lit requests that are not dimmed
 * @property {number} until what comes later is not drawn
 */

/** The pixel of an instant. @param {Scene} scene */
export function pixelOf({ layout, from, to }, instant) {
  return layout.plot.x + ((instant - from) / (to - from)) * layout.plot.width;
}

/** The axis with its lines, through everything. @param {Scene} scene */
export function drawAxis(surface, scene) {
  const { layout, from, to } = scene;
  const about = Math.max(2, Math.floor(layout.plot.width / 110));
  const step = tickStep(to - from, about);
  for (const at of ticks(from, to, about)) {
    const x = Math.round(pixelOf(scene, at)) + 0.5;
    surface.line("grid", x, layout.axis - 4, x, layout.height - 4);
    const label = tickLabel(at, step);
    const half = surface.textWidth(label, 11) / 2;
    const middle = Math.min(layout.width - half - 2, Math.max(half + 2, x));
    surface.text(label, middle, layout.axis - 9, { paint: "muted", align: "center" });
  }
}

/** The words above a block. */
export function drawHeading(surface, layout, y, words) {
  const text = fitted(surface, words, layout.width - 12, 11, 600);
  surface.text(text, 6, y, { paint: "muted", weight: 600, halo: true });
}

/** Every lane, and the queue between them. @param {Scene} scene */
export function drawLanes(surface, scene) {
  const { rows, layout } = scene;
  const { plot, requests } = layout;
  for (const block of layout.pools) {
    for (let row = 0; row < block.shown; row++) {
      const y = block.y + row * block.pitch;
      surface.rect("track", plot.x, y, plot.width, block.bar);
    }
  }
  drawQueue(surface, scene);
  surface.clip(plot.x, 0, plot.width, layout.height, () => {
    fill(surface, scene, rows.lives, [requests]);
    fill(surface, scene, rows.requests, [requests]);
    fill(surface, scene, rows.pools, layout.pools);
    drawSeams(surface, scene);
    drawNames(surface, scene);
  });
}

/** What stands beside the lanes and above them. @param {Scene} scene */
export function drawLabels(surface, { side, steps, layout }) {
  const { plot, requests, queue } = layout;
  const number = { paint: "muted", size: 10, align: "right" };
  drawHeading(surface, layout, requests.heading, requestsHeading(side));
  drawFold(surface, layout, requests, "lane of requests", "lanes of requests");
  drawHeading(surface, layout, queue.heading, queueHeading(steps.most));
  if (steps.most) surface.text(String(steps.most), plot.x - 5, queue.y + 9, number);
  poolHeadings(side).forEach((heading, i) => {
    const block = layout.pools[i];
    drawHeading(surface, layout, block.heading, heading);
    drawFold(surface, layout, block, "connection", "connections");
    for (let row = 0; row < block.shown; row++) {
      if (block.pitch <= 10 && row % 5) continue;
      const y = block.y + row * block.pitch + block.bar / 2 + 3.5;
      surface.text(String(row + 1), plot.x - 5, y, number);
    }
  });
}

/** How many waited, step by step. @param {Scene} scene */
function drawQueue(surface, scene) {
  const { steps, layout, from, to } = scene;
  const { queue, plot } = layout;
  const most = steps.most;
  const floor = queue.y + queue.height + 0.5;
  surface.line("edge", plot.x, floor, plot.x + plot.width, floor);
  if (!most || scene.hidden[WAITING]) return;
  const parts = Math.round(plot.width);
  const until = Math.min(parts, Math.ceil(pixelOf(scene, scene.until) - plot.x));
  const counts = mostWaiting(steps, from, to, parts);
  const bottom = queue.y + queue.height;
  const points = [plot.x, bottom];
  let last = 0;
  for (let p = 0; p <= until; p++) {
    const now = p < until ? counts[p] : 0;
    if (now === last) continue;
    const x = plot.x + p;
    points.push(x, bottom - (last / most) * queue.height, x, bottom - (now / most) * queue.height);
    last = now;
  }
  points.push(plot.x + until, bottom);
  surface.area(PAINTS[WAITING], points);
  const place = { left: plot.x, right: plot.x + until, y: queue.y, height: queue.height, most };
  drawBlame(surface, scene.side, from, from + ((to - from) * until) / parts, counts.subarray(0, until), place);
}

/** The bars of every row of these blocks. */
function fill(surface, scene, rows, blocks) {
  const { layout, from, to, hidden, lit, until } = scene;
  const { plot } = layout;
  const scale = plot.width / (to - from);
  const last = Math.min(to, until);
  for (const heap of HEAPS) heap.length = 0;
  for (const block of blocks) {
    for (let row = 0; row < block.shown; row++) {
      const y = block.y + row * block.pitch;
      thinned(rows, block.first + row, from, last, 1 / scale, (state, start, end, item) => {
        if (hidden[state]) return;
        const left = Math.max(-8, (start - from) * scale);
        const right = Math.min(plot.width + 8, (Math.min(end, last) - from) * scale);
        const heap = HEAPS[2 * state + (lit && !lit[rows.owner[item]] ? 1 : 0)];
        heap.push(plot.x + left, y, Math.max(right - left, NARROWEST), block.bar);
      });
    }
  }
  for (const state of DRAWN) {
    surface.rects(PAINTS[state], HEAPS[2 * state + 1].values, HEAPS[2 * state + 1].length, DIMMED);
  }
  for (const state of DRAWN) {
    surface.rects(PAINTS[state], HEAPS[2 * state].values, HEAPS[2 * state].length);
  }
}

/** A gap between two checkouts of a connection that follow one another at once. */
function drawSeams(surface, scene) {
  eachWide(scene, scene.rows.uses, scene.layout.pools, 5, (x, _, y, block) => {
    surface.rect("card", x - 0.5, y, 1, block.bar);
  });
}

/** What a bar is of, where it is wide enough to say so. */
function drawNames(surface, scene) {
  const { side, rows, layout } = scene;
  const say = (words, x, width, y, block, on) => {
    const room = width - 10;
    const style = { size: 10.5, weight: 600, on };
    const fits = [words, words.split(" ")[0]].find(
      (text) => surface.textWidth(text, style.size, style.weight) <= room,
    );
    if (fits) surface.text(fits, x + 5, y + block.bar / 2 + 4, style);
  };
  const blocks = [layout.requests].filter((block) => block.bar >= 12);
  eachWide(scene, rows.lives, blocks, 22, (x, width, y, block, owner, row) =>
    say(requestName(side, owner), x, width, y, block, paintAt(scene, rows.requests, row, x, PAINTS[NONE])),
  );
  const pools = layout.pools.filter((block) => block.bar >= 12);
  eachWide(scene, rows.uses, pools, 22, (x, width, y, block, owner, row) =>
    say(requestId(side, owner), x, width, y, block, paintAt(scene, rows.pools, row, x, "track")),
  );
}

/** The paint that a text would be on that starts near a pixel of a row. */
function paintAt({ layout, from, to, hidden }, rows, row, x, otherwise) {
  const { plot } = layout;
  const item = rows.at(row, from + ((x + 12 - plot.x) / plot.width) * (to - from), 0);
  return item < 0 || hidden[rows.state[item]] ? otherwise : PAINTS[rows.state[item]];
}

/** Calls with the visible part of each item that is at least so wide. */
function eachWide(scene, rows, blocks, widest, call) {
  const { layout, from, to, lit, until } = scene;
  const { plot } = layout;
  const scale = plot.width / (to - from);
  const last = Math.min(to, until);
  for (const block of blocks) {
    for (let row = 0; row < block.shown; row++) {
      const [low, high] = rows.within(block.first + row, from, last);
      for (let i = low; i < high; i++) {
        if ((rows.end[i] - rows.start[i]) * scale < widest) continue;
        if (lit && !lit[rows.owner[i]]) continue;
        const left = Math.max(0, (rows.start[i] - from) * scale);
        const right = Math.min(plot.width, (Math.min(rows.end[i], last) - from) * scale);
        if (right - left < widest) continue;
        const y = block.y + row * block.pitch;
        call(plot.x + left, right - left, y, block, rows.owner[i], block.first + row);
      }
    }
  }
}

/** The checkouts of a request, and lines from it to them. @param {Scene} scene */
export function drawLinks(surface, scene, request) {
  const { side, layout, rows } = scene;
  const top = topOf(layout.requests, side.requests.lane[request]);
  const { first, items } = side.ofRequest;
  for (let i = first[request]; i < first[request + 1]; i++) {
    const c = items[i];
    if (side.checkouts.lane[c] < 0) continue;
    const row = rows.firstLane[side.checkouts.pool[c]] + side.checkouts.lane[c];
    const block = layout.pools[side.checkouts.pool[c]];
    const y = topOf(block, row);
    if (y < 0 || top < 0) continue;
    for (const at of [side.checkouts.granted[c], side.checkouts.end[c]]) {
      const x = pixelOf(scene, at);
      if (x < layout.plot.x || x > layout.plot.x + layout.plot.width || at > scene.until) continue;
      surface.line("ink", x, top + layout.requests.bar, x, y, 1.2, 3);
    }
    frameItem(surface, scene, block, row, side.checkouts.granted[c], side.checkouts.end[c]);
  }
  const { lane, start, end } = side.requests;
  frameItem(surface, scene, layout.requests, lane[request], start[request], end[request]);
}

/** An outline around a stretch of a row. @param {Scene} scene */
export function frameItem(surface, scene, block, row, start, end, paint = "ink") {
  const y = topOf(block, row);
  const { plot } = scene.layout;
  const left = Math.max(plot.x - 4, pixelOf(scene, start));
  const right = Math.min(plot.x + plot.width + 4, pixelOf(scene, Math.min(end, scene.until)));
  if (y < 0 || start > scene.until || right < plot.x || left > plot.x + plot.width) return;
  surface.frame(paint, left - 1, y - 1, Math.max(2, right - left) + 2, block.bar + 2);
}

/** The stretch that is selected. @param {Scene} scene @param {[number, number]} selection */
export function drawSelection(surface, scene, [from, to]) {
  const { plot, axis, height } = scene.layout;
  const inside = (x) => Math.min(plot.x + plot.width, Math.max(plot.x, x));
  const [left, right] = [inside(pixelOf(scene, from)), inside(pixelOf(scene, to))];
  if (right <= left) return;
  surface.rect("accent", left, axis - 4, right - left, height - axis, 0.14);
  for (const x of [left, right]) surface.line("accent", x, axis - 4, x, height - 4, 1.5);
}

/** What stands above the requests. */
function requestsHeading(side) {
  const shared = side.requestLanes < side.requests.size;
  return `${count(side.requests.size, "request")}${shared ? ": a lane shows one after the other" : ""}`;
}

/** What stands above the queue. */
export function queueHeading(most) {
  return most ? `Requests waiting at once: ${most} at most` : "No request waited";
}

/** What stands above each pool: its name, its process, and how many connections it lends. */
function poolHeadings(side) {
  const several = new Set(side.pools.map((pool) => pool.pid)).size > 1;
  return side.pools.map((pool) => {
    const limit = pool.capacity === null ? "no limit" : count(pool.capacity, "connection");
    return `Pool ${pool.name} · ${several || side.pools.length > 1 ? `pid ${pool.pid} · ` : ""}${limit}`;
  });
}

function drawFold(surface, layout, block, one, many) {
  if (!block.left) return;
  const words = `${block.left} more ${block.left === 1 ? one : many}: “All lanes” shows more`;
  const y = block.y + block.shown * block.pitch + 11;
  const text = fitted(surface, words, layout.plot.width);
  surface.text(text, layout.plot.x, y, { paint: "muted", halo: true });
}

/**
 * The parts of those who are to blame in an instant's waiting; what is left is anybody else's.
 * @param {object} side @param {number} instant microseconds
 */
export function sharesAt({ bins, length }, instant) {
  const bin = Math.min(bins.count - 1, Math.max(0, Math.floor((instant / length) * bins.count)));
  const waiting = bins.blame.reduce((sum, one) => sum + one.waiting[bin], 0);
  const whole = Math.max(bins.waiting[bin], waiting);
  return bins.blame.map((one) => (whole > 0 ? one.waiting[bin] / whole : 0));
}

/**
 * Draws over the queue, from below, how many waited for each; and its number where there is room.
 * @param {ArrayLike<number>} counts how many waited, in equal parts of the window from `from` to `to`
 * @param {{left: number, right: number, y: number, height: number, most: number}} place
 */
export function drawBlame(surface, side, from, to, counts, place) {
  const parts = counts.length;
  if (!side.bins.blame.length || !parts) return;
  const width = (place.right - place.left) / parts;
  const y = (value) => place.y + place.height * (1 - Math.min(1, value / place.most));
  const shares = Array.from(counts, (count, p) =>
    count ? sharesAt(side, from + ((p + 0.5) / parts) * (to - from)) : null,
  );
  let below = new Float64Array(parts);
  side.bins.blame.forEach((_, k) => {
    const above = below.map((sum, p) => sum + (shares[p] ? shares[p][k] * counts[p] : 0));
    const points = [];
    for (let p = 0; p < parts; p++) {
      points.push(place.left + p * width, y(above[p]), place.left + (p + 1) * width, y(above[p]));
    }
    for (let p = parts - 1; p >= 0; p--) {
      points.push(place.left + (p + 1) * width, y(below[p]), place.left + p * width, y(below[p]));
    }
    surface.area(BLAMED[k], points);
    const at = middleOfLongest(parts, width, (p) => y(below[p]) - y(above[p]) >= TALL);
    if (at >= 0) {
      const middle = (y(below[at]) + y(above[at])) / 2 + 3.5;
      const style = { size: 10, weight: 700, align: "center", on: BLAMED[k] };
      surface.text(String(k + 1), place.left + (at + 0.5) * width, middle, style);
    }
    below = above;
  });
}

/** The middle of the longest run of parts for which it is so, or -1 if it is not wide enough. */
function middleOfLongest(parts, width, holds) {
  let best = -1;
  let longest = 0;
  let run = 0;
  for (let p = 0; p < parts; p++) {
    run = holds(p) ? run + 1 : 0;
    if (run > longest) [longest, best] = [run, p - (run >> 1)];
  }
  return longest * width >= WIDE ? best : -1;
}
