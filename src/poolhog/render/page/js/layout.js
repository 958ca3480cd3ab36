// Where things are on the timeline: its axis, the requests' lanes, the queue, the pools' lanes.

const AXIS = 24;
const HEADING = 22;
const QUEUE = 46;
const GUTTER = 26;
const RIGHT = 10;
const TALLEST = 6000;

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

/** The block that a row of the connections' is in. */
export function poolBlock(layout, row) {
  return layout.pools.find((block) => row >= block.first && row < block.first + block.shown + block.left);
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
