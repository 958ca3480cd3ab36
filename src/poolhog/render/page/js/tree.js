// Connection time as a tree: by route, and below it by the stack that spent it.

import { STATES, grouped, placeOf, textOf } from "./data.js";

/** The states that a connection's time is split into. */
export const LENT = STATES.slice(1);

/**
 * The tree of a side; node 0 is its root, and microseconds of a node are with those below it.
 * @param {ReturnType<typeof import("./data.js").decode>} side
 */
export function treeOf(side) {
  const { parent, name, site, checkouts } = side.icicle;
  const depth = new Int32Array(parent.length);
  for (let n = 0; n < parent.length; n++) depth[n] = parent[n] < 0 ? 0 : depth[parent[n]] + 1;
  const spent = Object.fromEntries(LENT.map((state) => [state, side.icicle[state]]));
  const below = grouped(parent, parent.length);
  return { side, size: parent.length, parent, name, site, checkouts, depth, spent, below };
}

/** What each node counts for: its microseconds in the chosen states. @param {string[]} states */
export function measured(tree, states) {
  const found = new Float64Array(tree.size);
  for (const state of states) for (let n = 0; n < tree.size; n++) found[n] += tree.spent[state][n];
  return found;
}

/**
 * Where nodes are drawn: the root over the whole width, and the nodes below each other side by side,
 * the largest first. Those that are narrower than `least` are left out, with all below them.
 * @returns {{node: number, x: number, width: number, row: number}[]} parents first
 */
export function placed(tree, measure, root, width, least) {
  if (!(measure[root] > 0)) return [];
  const scale = width / measure[root];
  const found = [{ node: root, x: 0, width, row: 0 }];
  for (let i = 0; i < found.length; i++) {
    const { node, row } = found[i];
    let { x } = found[i];
    for (const child of childrenOf(tree, measure, node)) {
      const wide = measure[child] * scale;
      if (wide >= least) found.push({ node: child, x, width: wide, row: row + 1 });
      x += wide;
    }
  }
  return found;
}

/** The nodes below one, the largest first. */
export function childrenOf({ below }, measure, node) {
  const children = [...below.items.subarray(below.first[node], below.first[node + 1])];
  return children.sort((a, b) => measure[b] - measure[a] || a - b);
}

/** A node and those above it, the root first. */
export function pathTo({ parent }, node) {
  const found = [];
  for (let n = node; n >= 0; n = parent[n]) found.unshift(n);
  return found;
}

/**
 * The nodes that have the words in their names or places, and what these count for together: a node
 * below another that matches counts once.
 * @returns {{matches: Uint8Array, found: number, sum: number}}
 */
export function searched(tree, measure, query) {
  const words = query.trim().toLowerCase();
  const matches = new Uint8Array(tree.size);
  const within = new Uint8Array(tree.size);
  let found = 0;
  let sum = 0;
  for (let n = 1; n < tree.size && words; n++) {
    const above = within[tree.parent[n]];
    if (nodeText(tree, n).toLowerCase().includes(words)) {
      matches[n] = 1;
      if (measure[n] > 0) found++;
      if (!above) sum += measure[n];
    }
    within[n] = above || matches[n];
  }
  return { matches, found, sum };
}

/** What a node is called: a route, or a function. */
export function nodeName({ side, name }, node) {
  return textOf(side, name[node]);
}

/** A node's name, place and line of code. */
export function nodeText(tree, node) {
  const place = placeOf(tree.side, tree.site[node]);
  return [nodeName(tree, node), place?.where, place?.source].filter(Boolean).join(" ");
}
