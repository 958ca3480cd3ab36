// How numbers, instants and places are written: the words of the terminal, in the browser.

/**
 * A duration with three digits, such as `5.02 s` or `12.3 ms`; two decimals below 1 ms.
 * @param {number} value seconds
 */
export function seconds(value) {
  const size = Math.abs(value);
  if (size >= 0.9995) return `${threeDigits(value)} s`;
  const milliseconds = value * 1000;
  if (Math.abs(milliseconds) >= 0.995) return `${threeDigits(milliseconds)} ms`;
  if (Math.abs(milliseconds) >= 0.005) return `${milliseconds.toFixed(2)} ms`;
  return Math.abs(milliseconds) > 1e-6 ? "<0.01 ms" : "0 s";
}

/**
 * A duration in integer microseconds, as `seconds` writes it.
 * @param {number} us
 */
export function microseconds(us) {
  return seconds(us / 1e6);
}

/**
 * Such as `1 request` or `1,000 requests`.
 * @param {number} number @param {string} noun
 */
export function count(number, noun) {
  return number === 1 ? `1 ${noun}` : `${whole(number)} ${noun}s`;
}

/**
 * An integer with separators: `1,000`.
 * @param {number} number
 */
export function whole(number) {
  return separated(number.toFixed(0));
}

/**
 * A share of one as percent: `83 %`, `0.4 %`, `<0.1 %`; never 100 for less than all, nor 0 for more
 * than nothing.
 * @param {number} share
 */
export function percent(share) {
  if (share <= 0) return "0 %";
  if (share < 0.001) return "<0.1 %";
  if (share < 0.0095) return `${(share * 100).toFixed(1)} %`;
  if (share < 1 && share > 0.995) return ">99 %";
  return `${Math.round(share * 100)} %`;
}

/**
 * The text, or its beginning with an ellipsis.
 * @param {string} text @param {number} most characters
 */
export function shortened(text, most) {
  return text.length <= most ? text : `${text.slice(0, most - 1).trimEnd()}…`;
}

/**
 * A written number with commas between thousands. The browser's own way is slow the first time.
 * @param {string} digits
 */
export function separated(digits) {
  return digits.replace(/\B(?=(\d{3})+(?!\d))(?<!\..*)/g, ",");
}

function threeDigits(value) {
  const rounded = Number(Math.abs(value).toPrecision(3));
  const digits = Math.min(2, Math.max(0, 2 - Math.floor(Math.log10(rounded))));
  return separated(value.toFixed(digits));
}

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
