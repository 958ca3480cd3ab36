// Averages: what is drawn where single spans would be too many, and the queue's length.

import { bisect } from "./lanes.js";
import { LENT, STATES } from "./palette.js";

/**
 * How many waited, step by step: from `at[i]` on, `count[i]`.
 * @param {[number, number][]} waits intervals by their start
 */
export function waitingSteps(waits) {
  const real = waits.filter(([start, end]) => end > start);
  const starts = Float64Array.from(real, ([start]) => start).sort();
  const ends = Float64Array.from(real, ([, end]) => end).sort();
  const at = [];
  const count = [];
  for (let s = 0, e = 0; e < ends.length; ) {
    const instant = Math.min(starts[s] ?? Infinity, ends[e]);
    while (starts[s] === instant) s++;
    while (ends[e] === instant) e++;
    if (s - e === (count.at(-1) ?? 0)) continue;
    at.push(instant);
    count.push(s - e);
  }
  const most = count.reduce((high, one) => Math.max(high, one), 0);
  return { at: Float64Array.from(at), count: Int32Array.from(count), most };
}

/** How many waited at an instant. */
export function waitingAt(steps, instant) {
  const next = bisect(steps.at, instant);
  return next ? steps.count[next - 1] : 0;
}

/** The most that waited in each of so many equal parts of a window. */
export function mostWaiting(steps, from, to, parts) {
  const found = new Float64Array(parts);
  const width = (to - from) / parts;
  let i = Math.max(0, bisect(steps.at, from) - 1);
  for (; i < steps.at.length && steps.at[i] < to; i++) {
    const ends = i + 1 < steps.at.length ? steps.at[i + 1] : to;
    const low = Math.max(0, Math.floor((steps.at[i] - from) / width));
    for (let p = low; p < parts && from + p * width < ends; p++) {
      found[p] = Math.max(found[p], steps.count[i]);
    }
  }
  return found;
}

/**
 * The average number of connections in each state, and of requests that waited, over equal parts of
 * a window, from what is there one by one.
 * @param {{pools: import("./lanes.js").Rows, waits: [number, number][],
 *   longestWait: number}} rows
 */
export function averagesOf(rows, steps, from, to, parts) {
  const found = empty(parts);
  const { pools } = rows;
  const width = (to - from) / parts;
  for (let row = 0; row < pools.count; row++) {
    const [low, high] = pools.within(row, from, to);
    for (let i = low; i < high; i++) {
      spread(found[STATES[pools.state[i]]], pools.start[i], pools.end[i], from, to, width);
    }
  }
  let i = firstFrom(rows.waits, from - rows.longestWait);
  for (; i < rows.waits.length && rows.waits[i][0] < to; i++) {
    spread(found.waiting, rows.waits[i][0], rows.waits[i][1], from, to, width);
  }
  found.most_waiting = mostWaiting(steps, from, to, parts);
  return found;
}

/** What `averagesOf` finds, from the bins of the whole run, which have everything but are coarse. */
export function averagesFromBins(bins, length, from, to, parts) {
  const found = empty(parts);
  const bin = length / bins.count;
  const width = (to - from) / parts;
  for (let p = 0; p < parts; p++) {
    const start = from + p * width;
    const low = Math.max(0, Math.floor(start / bin));
    for (let b = low; b < bins.count && b * bin < start + width; b++) {
      const overlap = Math.min(start + width, (b + 1) * bin) - Math.max(start, b * bin);
      if (overlap <= 0) continue;
      for (const state of STATES) found[state][p] += (bins[state][b] * overlap) / width;
      found.most_waiting[p] = Math.max(found.most_waiting[p], bins.most_waiting[b]);
    }
  }
  return found;
}

/** How many connections were lent in a part, whatever they did. */
export function lentIn(averages, part) {
  return LENT.reduce((sum, state) => sum + averages[state][part], 0);
}

function empty(parts) {
  const found = { parts, most_waiting: new Float64Array(parts) };
  for (const state of STATES) found[state] = new Float64Array(parts);
  return found;
}

/** Adds an interval to the parts that it touches, as shares of a part. */
function spread(into, start, end, from, to, width) {
  const first = Math.max(start, from);
  const last = Math.min(end, to);
  if (last <= first) return;
  const high = Math.min(into.length - 1, Math.floor((last - from) / width));
  for (let p = Math.floor((first - from) / width); p <= high; p++) {
    const begins = from + p * width;
    const overlap = Math.min(last, begins + width) - Math.max(first, begins);
    if (overlap > 0) into[p] += overlap / width;
  }
}

function firstFrom(waits, from) {
  let low = 0;
  let high = waits.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (waits[middle][0] >= from) high = middle;
    else low = middle + 1;
  }
  return low;
}
