// The timeline as averages: where single spans would be too many, or were left out.

import { averagesFromBins, averagesOf } from "./bins.js";
import { drawBlame, drawHeading, pixelOf, queueHeading } from "./drawing.js";
import { whole } from "./format.js";
import { STACKED, STATES, WAITING } from "./palette.js";

const PART = 2;
const MOST_SPANS = 20_000;
const FEW_SPANS = 2_000;

/**
 * Draws the whole window as averages.
 * @param {import("./drawing.js").Scene} scene
 */
export function drawAverages(surface, scene) {
  const { layout, side, steps } = scene;
  const top = layout.requests.heading;
  const split = Math.round(top + (layout.height - top) * 0.36);
  drawHeading(surface, layout, top, `${queueHeading(steps.most)} (pale), and on average (full)`);
  const queue = { y: top + 8, height: split - top - 20 };
  drawHeading(surface, layout, split + 10, poolsHeading(side));
  const pools = { y: split + 18, height: layout.height - split - 26 };
  drawWindow(surface, scene, scene.from, scene.to, queue, pools, capacityOf(side));
  drawScale(surface, layout, pools, capacityOf(side));
  drawScale(surface, layout, queue, steps.most);
}

/**
 * Draws averages over those parts of the window in which not everything is there one by one.
 * @param {import("./drawing.js").Scene} scene
 */
export function drawGaps(surface, scene) {
  const { layout, side, from, to } = scene;
  const last = layout.pools.at(-1);
  const pools = { y: layout.pools[0].y, height: last.y + last.shown * last.pitch - layout.pools[0].y };
  for (const [start, end] of gapsOf(side, from, to)) {
    const [left, right] = [pixelOf(scene, start), pixelOf(scene, end)];
    surface.rect("card", left, layout.axis, right - left, layout.height - layout.axis);
    drawWindow(surface, scene, start, end, layout.queue, pools, lanesOf(side));
    surface.line("edge", left, layout.axis, left, layout.height, 1, 4);
    surface.line("edge", right, layout.axis, right, layout.height, 1, 4);
    const words = "only averages are kept here";
    if (surface.textWidth(words) + 12 < right - left) {
      const middle = { paint: "muted", align: "center", halo: true };
      surface.text(words, (left + right) / 2, layout.requests.y + 14, middle);
    }
  }
}

/**
 * Whether there is too much for lanes: too many spans, or so many that most are under a pixel; or
 * hardly anything of the window is there one by one.
 * @param {import("./drawing.js").Scene} scene
 */
export function isDense({ side, rows, from, to, layout }) {
  const gone = gapsOf(side, from, to).reduce((sum, [start, end]) => sum + end - start, 0);
  if (gone > 0.85 * (Math.min(to, side.length) - from)) return true;
  const [above, below] = [rows.requests.measure(from, to), rows.pools.measure(from, to)];
  const items = above.items + below.items;
  if (items <= FEW_SPANS) return false;
  const average = (above.items * above.average + below.items * below.average) / items;
  return items > MOST_SPANS || (average / (to - from)) * layout.plot.width < 1;
}

/** The parts of a window, up to the side's end, that are in none of the side's windows. */
export function gapsOf(side, from, end) {
  const found = [];
  const to = Math.min(end, side.length);
  let at = from;
  for (const [start, end] of [...side.windows].sort((a, b) => a[0] - b[0])) {
    if (start > at) found.push([at, Math.min(start, to)]);
    at = Math.max(at, end);
    if (at >= to) break;
  }
  if (at < to) found.push([at, to]);
  return found.filter(([start, end]) => end > start);
}

/** How long one average lasts where a picture is so wide; microseconds. */
export function partLength(scene) {
  const { side, from, to, layout } = scene;
  const drawn = ((to - from) / layout.plot.width) * PART;
  return gapsOf(side, from, to).length ? Math.max(drawn, side.length / side.bins.count) : drawn;
}

/** Both charts of a part of the window, each in its place. */
function drawWindow(surface, scene, start, end, queue, pools, top) {
  const { side, rows, steps, layout } = scene;
  const last = Math.min(end, scene.until);
  if (last <= start) return;
  const [left, right] = [pixelOf(scene, start), pixelOf(scene, last)];
  const parts = Math.max(1, Math.round((right - left) / PART));
  const covered = !gapsOf(side, start, last).length;
  const averages = covered
    ? averagesOf(rows, steps, start, last, parts)
    : averagesFromBins(side.bins, side.length, start, last, parts);
  const { most } = steps;
  surface.clip(left, 0, right - left, layout.height, () => {
    surface.rect("track", left, pools.y, right - left, pools.height);
    drawLayers(surface, averages, left, right, pools, top, scene.hidden);
    if (most && !scene.hidden[WAITING]) {
      layer(surface, STATES[WAITING], null, averages.most_waiting, left, right, queue, most, 0.35);
      layer(surface, STATES[WAITING], null, averages.waiting, left, right, queue, most);
      drawBlame(surface, side, start, last, averages.waiting, { left, right, ...queue, most });
    }
  });
  const bottom = queue.y + queue.height + 0.5;
  surface.line("edge", left, bottom, right, bottom);
}

function drawLayers(surface, averages, left, right, place, top, hidden) {
  let below = new Float64Array(averages.parts);
  for (const name of STACKED) {
    if (hidden[STATES.indexOf(name)]) continue;
    const above = below.map((sum, p) => sum + averages[name][p]);
    layer(surface, name, below, above, left, right, place, top);
    below = above;
  }
}

/** The area between two rows of numbers, in steps. */
function layer(surface, paint, below, above, left, right, place, top, alpha = 1) {
  const width = (right - left) / above.length;
  const y = (value) => place.y + place.height * (1 - Math.min(1, value / top));
  const points = [];
  for (let p = 0; p < above.length; p++) {
    points.push(left + p * width, y(above[p]), left + (p + 1) * width, y(above[p]));
  }
  for (let p = above.length - 1; p >= 0; p--) {
    const value = below ? below[p] : 0;
    points.push(left + (p + 1) * width, y(value), left + p * width, y(value));
  }
  surface.area(paint, points, alpha);
}

function drawScale(surface, layout, place, top) {
  if (!top) return;
  const number = { paint: "muted", size: 10, align: "right" };
  surface.text(whole(top), layout.plot.x - 4, place.y + 8, number);
  surface.text("0", layout.plot.x - 4, place.y + place.height, number);
}

function poolsHeading(side) {
  const pools = side.pools.length > 1 ? `${side.pools.length} pools` : "the pool";
  return `Connections of ${pools} by state, on average: ${whole(capacityOf(side))} at most`;
}

function lanesOf(side) {
  return Math.max(1, side.pools.reduce((sum, pool) => sum + pool.lanes, 0));
}

/** How many connections there are to lend: what all limits allow, or what was lent where none is set. */
function capacityOf(side) {
  return Math.max(1, side.pools.reduce((sum, pool) => sum + (pool.capacity ?? pool.lanes), 0));
}
