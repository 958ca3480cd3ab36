// Round instants on a time axis.

import { microseconds, separated } from "./format.js";

// Up to which multiple of a power of ten which round number is the nearest, by their ratio.
const NEAREST = [[Math.SQRT2, 1], [Math.sqrt(10), 2], [Math.sqrt(50), 5], [Infinity, 10]];

/**
 * Round instants from one to the other, as near to so many as 1, 2 or 5 times a power of ten allows.
 * @param {number} from @param {number} to microseconds @param {number} about how many
 */
export function ticks(from, to, about) {
  const step = tickStep(to - from, about);
  const found = [];
  for (let n = Math.ceil(from / step - 1e-9); n * step <= to + step * 1e-9; n++) found.push(n * step);
  return found;
}

/** The distance between them: at least a microsecond. */
export function tickStep(length, about) {
  const rough = Math.max(1, length / Math.max(1, about));
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * NEAREST.find(([limit]) => rough < limit * power)[1];
}

/**
 * An instant with as many decimals as neighbours that far apart need: `1.5 s`, `20 ms`.
 * @param {number} at @param {number} step microseconds
 */
export function tickLabel(at, step) {
  if (at === 0) return "0 s";
  const decimals = Math.max(0, -Math.floor(Math.log10(step / 1e6) + 1e-9));
  const digits = (at / 1e6).toFixed(decimals);
  return `${separated(decimals ? digits.replace(/\.?0+$/, "") : digits)} s`;
}

/** A window in words: `1.2 s to 3.4 s (2.20 s)`. */
export function windowLabel(from, to) {
  const step = tickStep(to - from, 100);
  return `${tickLabel(from, step)} to ${tickLabel(to, step)} (${microseconds(to - from)})`;
}
