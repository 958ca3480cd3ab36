// A side of the page's data, decoded: columns become typed arrays, instants microseconds.

import { STATES } from "./palette.js";

const NO_REQUEST = -1;

/**
 * What happened, ready to be drawn and searched. Every instant and length is in microseconds since
 * `startedS`, which is in seconds on the run's clock. Spans are in the order of their checkouts:
 * those of checkout `c` are `checkouts.firstSpan[c]` up to `checkouts.firstSpan[c + 1]`, and the
 * checkouts of request `r` are `ofRequest.items` from `ofRequest.first[r]` to `ofRequest.first[r + 1]`.
 * @param {object} side a side as it stands in the page
 */
export function decode(side) {
  const { timeline } = side;
  const requests = decodedRequests(timeline.requests);
  const checkouts = decodedCheckouts(timeline.checkouts);
  const spans = decodedSpans(timeline.spans, checkouts);
  return {
    label: side.label,
    spentS: side.spent_s,
    texts: side.texts,
    sites: side.sites,
    whats: timeline.whats,
    lives: side.lives,
    links: decodedLinks(side.links),
    tree: side.tree,
    startedS: timeline.started_s,
    length: Math.max(1, Math.round((timeline.ended_s - timeline.started_s) * 1e6)),
    complete: timeline.complete,
    leftOut: timeline.left_out,
    windows: timeline.windows.map(([from, to, why]) => [from, to, side.texts[why]]),
    bins: decodedBins(timeline.bins),
    pools: timeline.pools,
    requestLanes: timeline.request_lanes,
    requests,
    checkouts,
    spans,
    ofRequest: grouped(checkouts.request, requests.size),
  };
}

/** The text of an index, or "" for none. @param {ReturnType<typeof decode>} side */
export function textOf(side, index) {
  return index < 0 ? "" : side.texts[index];
}

/**
 * A site in words, or `null` for none: where it is, and the text of its line.
 * @param {ReturnType<typeof decode>} side @param {number} index
 */
export function placeOf(side, index) {
  if (index < 0) return null;
  const [file, line, name, source] = side.sites[index];
  const where = `${textOf(side, file)}:${line}`;
  return { where, name: textOf(side, name), source: textOf(side, source) };
}

/** The id by which the terminal knows a request: `poolhog log --request` takes it. */
export function requestId(side, request) {
  const { id, status } = side.requests;
  const key = textOf(side, id[request]);
  // An owner without a request is known by its name; the key has its process before it.
  return status[request] === NO_REQUEST ? key.slice(key.indexOf(" ") + 1) : key;
}

/** What a request is called where there is room: its id, and its name. */
export function requestName(side, request) {
  const name = textOf(side, side.requests.name[request]);
  return `${requestId(side, request)} ${name || textOf(side, side.requests.path[request])}`.trim();
}

/** The process of a request's first checkout. */
export function checkoutPid({ ofRequest, checkouts, pools }, request) {
  return pools[checkouts.pool[ofRequest.items[ofRequest.first[request]]]].pid;
}

/**
 * The items of each group, in one array: group `g` has `items[first[g]]` up to `items[first[g + 1]]`.
 * @param {ArrayLike<number>} groups the group of each item @param {number} size how many groups
 */
export function grouped(groups, size) {
  const first = new Int32Array(size + 1);
  for (let i = 0; i < groups.length; i++) if (groups[i] >= 0) first[groups[i] + 1]++;
  for (let g = 0; g < size; g++) first[g + 1] += first[g];
  const next = first.slice();
  const items = new Int32Array(first[size]);
  for (let i = 0; i < groups.length; i++) if (groups[i] >= 0) items[next[groups[i]]++] = i;
  return { first, items };
}

/** The running sums of what was coded as differences. @param {number[]} differences */
export function undelta(differences) {
  const found = new Float64Array(differences.length);
  let sum = 0;
  for (let i = 0; i < found.length; i++) found[i] = sum += differences[i];
  return found;
}

function decodedLinks({ target, editor, here }) {
  return { target, editor, here: new Set(here) };
}

function decodedRequests(columns) {
  const start = undelta(columns.start_d);
  return {
    size: start.length,
    id: columns.id,
    name: columns.name,
    path: columns.path,
    status: columns.status,
    lane: Int32Array.from(columns.lane),
    start,
    end: start.map((at, i) => at + columns.length[i]),
    responding: start.map((at, i) => (columns.responding[i] < 0 ? -1 : at + columns.responding[i])),
  };
}

function decodedCheckouts(columns) {
  const asked = undelta(columns.asked_d);
  const granted = asked.map((at, i) => at + columns.wait[i]);
  return {
    size: asked.length,
    id: columns.id,
    request: Int32Array.from(columns.request),
    pool: Int32Array.from(columns.pool),
    lane: Int32Array.from(columns.lane),
    asked,
    granted,
    wait: columns.wait,
    use: columns.use,
    end: granted.map((at, i) => at + Math.max(0, columns.use[i])),
    outcome: columns.outcome,
    site: columns.site,
    firstSpan: new Int32Array(asked.length + 1),
  };
}

/** The spans with absolute instants; tells the checkouts where theirs begin. */
function decodedSpans(columns, checkouts) {
  const checkout = Int32Array.from(undelta(columns.checkout_d));
  const start = new Float64Array(checkout.length);
  const end = new Float64Array(checkout.length);
  for (let i = 0; i < checkout.length; i++) {
    start[i] = checkouts.asked[checkout[i]] + columns.start[i];
    end[i] = start[i] + columns.length[i];
    checkouts.firstSpan[checkout[i] + 1]++;
  }
  for (let c = 0; c < checkouts.size; c++) checkouts.firstSpan[c + 1] += checkouts.firstSpan[c];
  const { state, what } = columns;
  return { size: checkout.length, checkout, start, end, state: Uint8Array.from(state), what };
}

function decodedBins(bins) {
  const found = { count: bins.count, most_waiting: Float64Array.from(bins.most_waiting) };
  for (const state of STATES) found[state] = Float64Array.from(bins[state]);
  found.blame = bins.blame.map(({ name, waiting }) => ({ name, waiting: Float64Array.from(waiting) }));
  return found;
}

/**
 * Which requests have the words in their name, path or id, in the SQL of one of their operations, or
 * where these were asked for; a whole id is that request's only. Letters' case does not matter.
 * @param {ReturnType<typeof decode>} side @param {string} query
 * @returns {{matches: Uint8Array, found: number[]}} a flag per request, and those in order of time
 */
export function findRequests(side, query) {
  const { requests, checkouts, spans } = side;
  const matches = new Uint8Array(requests.size);
  const words = query.trim().toLowerCase();
  let isId = false;
  for (let r = 0; r < requests.size && words; r++) {
    if (requestId(side, r).toLowerCase() === words) matches[r] = isId = true;
  }
  if (words && !isId) {
    const texts = Uint8Array.from(side.texts, (text) => text.toLowerCase().includes(words));
    const named = (text) => text >= 0 && texts[text];
    const sites = side.sites.map(([file, , name, source]) => named(file) || named(name) || named(source));
    const whats = side.whats.map(([, sql, site]) => named(sql) || (site >= 0 && sites[site]));
    for (let r = 0; r < requests.size; r++) {
      matches[r] = named(requests.name[r]) || named(requests.path[r]) || named(requests.id[r]) ? 1 : 0;
    }
    for (let s = 0; s < spans.size; s++) {
      if (spans.what[s] >= 0 && whats[spans.what[s]]) matches[checkouts.request[spans.checkout[s]]] = 1;
    }
  }
  const found = [];
  for (let r = 0; r < requests.size; r++) if (matches[r]) found.push(r);
  return { matches, found };
}
