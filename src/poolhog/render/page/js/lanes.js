// Lanes: what lies on each row of the timeline, found by binary search, and where the rows are drawn.

import { LENT, NONE, STATES, WAITING } from "./palette.js";

// Where checkouts of one request overlap, its lane shows the first of these that applies.
const MOST_HOLDING_FIRST = [...LENT, STATES[WAITING]].map((name) => STATES.indexOf(name));

// Heights and widths of what is on the timeline; CSS pixels.
const AXIS = 24;
const HEADING = 22;
const QUEUE = 46;
const GUTTER = 26;
const RIGHT = 10;
const TALLEST = 6000;

const COLUMNS = [
  ["row", Int32Array],
  ["start", Float64Array],
  ["end", Float64Array],
  ["state", Uint8Array],
  ["owner", Int32Array],
  ["source", Int32Array],
];

/** Items in the making, in columns that grow. */
export class Items {
  /** @param {number} room for so many at first */
  constructor(room) {
    this.size = 0;
    this.room = Math.max(16, room);
    for (const [name, Kind] of COLUMNS) this[name] = new Kind(this.room);
  }

  /** Adds an item. */
  put(row, start, end, state, owner, source) {
    if (this.size === this.room) this.#grow();
    const i = this.size++;
    this.row[i] = row;
    this.start[i] = start;
    this.end[i] = end;
    this.state[i] = state;
    this.owner[i] = owner;
    this.source[i] = source;
  }

  #grow() {
    this.room *= 2;
    for (const [name, Kind] of COLUMNS) {
      const more = new Kind(this.room);
      more.set(this[name]);
      this[name] = more;
    }
  }
}

/** Rows of items that do not overlap within a row; instants are microseconds. */
export class Rows {
  /**
   * @param {number} count how many rows
   * @param {Items} columns `owner` is a request, `source` the span, checkout or request that an item
   *   was made from
   */
  constructor(count, columns) {
    this.count = count;
    const order = ordered(columns, count);
    this.first = order.first;
    this.start = picked(Float64Array, columns.start, order.items);
    this.end = picked(Float64Array, columns.end, order.items);
    this.state = picked(Uint8Array, columns.state, order.items);
    this.owner = picked(Int32Array, columns.owner, order.items);
    this.source = picked(Int32Array, columns.source, order.items);
    this.sums = new Float64Array(this.start.length + 1);
    for (let i = 0; i < this.start.length; i++) {
      this.sums[i + 1] = this.sums[i] + this.end[i] - this.start[i];
    }
  }

  /** The first item of a row that ends after an instant, and the first that starts at `to` or later. */
  within(row, from, to) {
    const low = this.first[row];
    const high = this.first[row + 1];
    return [bisect(this.end, from, low, high), bisect(this.start, to, low, high, true)];
  }

  /** How many items there are between two instants, and how long they are on average. */
  measure(from, to) {
    let items = 0;
    let length = 0;
    for (let row = 0; row < this.count; row++) {
      const [low, high] = this.within(row, from, to);
      if (high <= low) continue;
      items += high - low;
      length += this.sums[high] - this.sums[low];
    }
    return { items, average: items ? length / items : 0 };
  }

  /** The item of a row at an instant, or the nearest one within `reach`; -1 if there is none. */
  at(row, instant, reach) {
    const [low, high] = this.within(row, instant - reach, instant + reach);
    let found = -1;
    let nearest = Infinity;
    for (let i = low; i < high; i++) {
      const away = Math.max(this.start[i] - instant, instant - this.end[i], 0);
      if (away < nearest) [found, nearest] = [i, away];
    }
    return found;
  }
}

/** The first index from `low` to `high` whose value is above `at` (or at least, if `orEqual`). */
export function bisect(values, at, low = 0, high = values.length, orEqual = false) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > at || (orEqual && values[middle] === at)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * The items of a row as they are drawn: one that is shorter than a cell is merged with those that
 * start in the same cell, into the state that lasts longest. Cells count from zero, not from the
 * window, so that nothing flickers while it moves.
 * @param {(state: number, start: number, end: number, item: number) => void} emit
 */
export function thinned(rows, row, from, to, cell, emit) {
  const [low, high] = rows.within(row, from, to);
  const { start, end, state } = rows;
  const spent = new Float64Array(NONE + 1);
  let open = -1;
  let first = 0;
  let longest = 0;
  const close = (next) => {
    if (open < 0) return;
    let most = state[longest];
    for (let s = 0; s <= NONE; s++) if (spent[s] > spent[most]) most = s;
    emit(most, start[first], Math.max(end[next - 1], start[first] + cell), longest);
    spent.fill(0);
    open = -1;
  };
  for (let i = low; i < high; i++) {
    const length = end[i] - start[i];
    if (length >= cell) {
      close(i);
      emit(state[i], start[i], end[i], i);
      continue;
    }
    const at = Math.floor(start[i] / cell);
    if (at !== open) {
      close(i);
      [open, first, longest] = [at, i, i];
    }
    spent[state[i]] += length;
    if (length > end[longest] - start[longest]) longest = i;
  }
  close(high);
}

/** Every row of a side: requests' lives and states, connections' uses and states, and the queue. */
export function rowsOf(side) {
  const { requests, checkouts, spans } = side;
  const firstLane = [0];
  for (const pool of side.pools) firstLane.push(firstLane.at(-1) + pool.lanes);
  const laneOf = (c) => (checkouts.lane[c] < 0 ? -1 : firstLane[checkouts.pool[c]] + checkouts.lane[c]);
  const lives = new Items(requests.size);
  for (let r = 0; r < requests.size; r++) {
    lives.put(requests.lane[r], requests.start[r], requests.end[r], NONE, r, r);
  }
  const uses = new Items(checkouts.size);
  const pooled = new Items(spans.size);
  for (let c = 0; c < checkouts.size; c++) {
    const row = laneOf(c);
    if (row < 0) continue;
    const owner = checkouts.request[c];
    uses.put(row, checkouts.granted[c], checkouts.end[c], NONE, owner, c);
    for (let s = checkouts.firstSpan[c]; s < checkouts.firstSpan[c + 1]; s++) {
      if (spans.state[s] !== WAITING) pooled.put(row, spans.start[s], spans.end[s], spans.state[s], owner, s);
    }
  }
  const { held, waits } = requestSpans(side);
  return {
    lives: new Rows(side.requestLanes, lives),
    requests: new Rows(side.requestLanes, held),
    uses: new Rows(firstLane.at(-1), uses),
    pools: new Rows(firstLane.at(-1), pooled),
    firstLane,
    waits,
    longestWait: waits.reduce((longest, [start, end]) => Math.max(longest, end - start), 0),
  };
}

/** The spans of each request without overlaps, and the times in which it waited. */
function requestSpans(side) {
  const { requests, ofRequest, checkouts, spans } = side;
  const held = new Items(spans.size);
  const waits = [];
  for (let r = 0; r < requests.size; r++) {
    const lane = requests.lane[r];
    const own = ofRequest.items.subarray(ofRequest.first[r], ofRequest.first[r + 1]);
    if (areApart(checkouts, own)) {
      for (const c of own) {
        for (let s = checkouts.firstSpan[c]; s < checkouts.firstSpan[c + 1]; s++) {
          held.put(lane, spans.start[s], spans.end[s], spans.state[s], r, s);
          if (spans.state[s] === WAITING) waits.push([spans.start[s], spans.end[s]]);
        }
      }
      continue;
    }
    const found = [];
    for (const c of own) {
      for (let s = checkouts.firstSpan[c]; s < checkouts.firstSpan[c + 1]; s++) found.push(s);
    }
    for (const { start, end, span } of flattened(spans, found)) {
      held.put(lane, start, end, spans.state[span], r, span);
    }
    for (const wait of union(spans, found)) waits.push(wait);
  }
  return { held, waits: waits.sort((a, b) => a[0] - b[0]) };
}

/** Whether no checkout was asked for before the one before it was over. */
function areApart({ asked, end }, own) {
  for (let i = 1; i < own.length; i++) if (asked[own[i]] < end[own[i - 1]]) return false;
  return true;
}

/**
 * The spans as pieces that do not overlap: of those that do, the one that holds most.
 * @param {{start: ArrayLike<number>, end: ArrayLike<number>, state: ArrayLike<number>}} spans
 * @param {number[]} chosen indexes of spans
 */
export function flattened(spans, chosen) {
  const sorted = [...chosen].sort((a, b) => spans.start[a] - spans.start[b] || a - b);
  const edges = [...new Set(sorted.flatMap((s) => [spans.start[s], spans.end[s]]))].sort((a, b) => a - b);
  const found = [];
  let active = [];
  let next = 0;
  for (let e = 0; e + 1 < edges.length; e++) {
    active = active.filter((s) => spans.end[s] > edges[e]);
    while (next < sorted.length && spans.start[sorted[next]] <= edges[e]) active.push(sorted[next++]);
    active = active.filter((s) => spans.end[s] > edges[e]);
    if (!active.length) continue;
    const rank = (s) => MOST_HOLDING_FIRST.indexOf(spans.state[s]);
    const span = active.reduce((best, s) => (rank(s) < rank(best) ? s : best));
    const last = found.at(-1);
    if (last?.span === span && last.end === edges[e]) last.end = edges[e + 1];
    else found.push({ start: edges[e], end: edges[e + 1], span });
  }
  return found;
}

/** The times in which any of the spans is one of waiting. */
function union(spans, chosen) {
  const found = [];
  const waiting = chosen.filter((s) => spans.state[s] === WAITING);
  for (const s of waiting.sort((a, b) => spans.start[a] - spans.start[b])) {
    const last = found.at(-1);
    if (last && spans.start[s] <= last[1]) last[1] = Math.max(last[1], spans.end[s]);
    else found.push([spans.start[s], spans.end[s]]);
  }
  return found;
}

function picked(Kind, values, order) {
  const found = new Kind(order.length);
  for (let i = 0; i < order.length; i++) found[i] = values[order[i]];
  return found;
}

/** The items of each row by their starts; they mostly come in that order already. */
function ordered({ row, start, size }, count) {
  const first = new Int32Array(count + 1);
  for (let i = 0; i < size; i++) first[row[i] + 1]++;
  for (let r = 0; r < count; r++) first[r + 1] += first[r];
  const next = first.slice();
  const items = new Int32Array(size);
  for (let i = 0; i < size; i++) items[next[row[i]]++] = i;
  for (let r = 0; r < count; r++) {
    const part = items.subarray(first[r], first[r + 1]);
    let sorted = true;
    for (let i = 1; i < part.length && sorted; i++) sorted = start[part[i]] >= start[part[i - 1]];
    if (!sorted) part.sort((a, b) => start[a] - start[b]);
  }
  return { first, items };
}

/**
 * @typedef {object} Block rows of one kind, one below the other
 * @property {number} y of the first row @property {number} pitch from row to row
 * @property {number} bar how high a bar is @property {number} shown how many rows are drawn
 * @property {number} first which row of all is its first @property {number} left how many are not
 * @property {number} heading the base line of its heading
 */

/**
 * The places of everything, in CSS pixels.
 * @param {number} width of the picture
 * @param {{requestLanes: number, pools: {lanes: number}[]}} side
 * @param {boolean} all whether every lane is drawn, and not just as many as fit
 */
export function layoutOf(width, side, all) {
  const plot = { x: GUTTER, width: Math.max(40, width - GUTTER - RIGHT) };
  let y = AXIS;
  const place = (rows, first, sizes) => {
    const block = { heading: y + 15, y: y + HEADING, first, ...sizes, left: rows - sizes.shown };
    y = block.y + block.shown * block.pitch + (block.left ? 16 : 0) + 6;
    return block;
  };
  const requests = place(side.requestLanes, 0, rowsFitted(side.requestLanes, 18, all ? 5 : 3, all, 306));
  const queue = { heading: y + 15, y: y + HEADING, height: QUEUE };
  y = queue.y + QUEUE + 8;
  const total = side.pools.reduce((sum, pool) => sum + pool.lanes, 0);
  const pools = [];
  let first = 0;
  for (const pool of side.pools) {
    const room = Math.max(24, (360 * pool.lanes) / Math.max(1, total));
    pools.push(place(pool.lanes, first, rowsFitted(pool.lanes, 22, all ? 6 : 4, all, room)));
    first += pool.lanes;
  }
  return { width, height: y + 4, plot, axis: AXIS, requests, queue, pools, cut: isCut(requests, pools) };
}

/** The row of a block at a height, or -1. @param {Block} block */
export function rowAt(block, y) {
  const row = Math.floor((y - block.y) / block.pitch);
  return row >= 0 && row < block.shown ? block.first + row : -1;
}

/** The top of a row's bar, or -1 if the row is not drawn. @param {Block} block */
export function topOf(block, row) {
  const index = row - block.first;
  return index >= 0 && index < block.shown ? block.y + index * block.pitch : -1;
}

function rowsFitted(rows, roomy, tight, all, room) {
  const most = all ? TALLEST : room;
  const pitch = Math.min(roomy, Math.max(tight, Math.floor(most / Math.max(1, rows))));
  const shown = Math.min(rows, Math.max(1, Math.floor(most / pitch)));
  return { pitch, shown, bar: pitch - (pitch > 8 ? 4 : 1) };
}

function isCut(requests, pools) {
  return requests.left > 0 || requests.pitch < 12 || pools.some((block) => block.left > 0 || block.pitch < 12);
}
