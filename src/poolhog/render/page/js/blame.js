// The queue by who is to blame: whose holding the requests waited for, of those that did the most.

import { make } from "./dom.js";
import { BLAMED } from "./surface.js";

const TALL = 11;
const WIDE = 14;

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
    const at = widest(parts, width, (p) => y(below[p]) - y(above[p]) >= TALL);
    if (at >= 0) {
      const middle = (y(below[at]) + y(above[at])) / 2 + 3.5;
      const style = { size: 10, weight: 700, align: "center", on: BLAMED[k] };
      surface.text(String(k + 1), place.left + (at + 0.5) * width, middle, style);
    }
    below = above;
  });
}

/** Who the colours of the queue are, as a list; nothing if nobody had to wait for anybody. */
export function blameLegend(side) {
  if (!side.bins.blame.length) return [];
  const entries = side.bins.blame.map((one, k) =>
    make("li", {}, make("span", { class: `swatch ${BLAMED[k]}` }), ` ${k + 1} `, side.texts[one.name]),
  );
  const other = make("li", {}, make("span", { class: "swatch waiting" }), " others, or nobody");
  const words = make("span", { class: "meaning" }, "Requests wait because of");
  return [make("div", { class: "blamed" }, words, make("ul", { "aria-label": "Who made others wait" }, ...entries, other))];
}

/** The middle of the longest run of parts for which it is so, or -1 if it is not wide enough. */
function widest(parts, width, holds) {
  let best = -1;
  let longest = 0;
  let run = 0;
  for (let p = 0; p < parts; p++) {
    run = holds(p) ? run + 1 : 0;
    if (run > longest) [longest, best] = [run, p - (run >> 1)];
  }
  return longest * width >= WIDE ? best : -1;
}
