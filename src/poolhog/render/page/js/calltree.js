// The tree of connection time: from routes to lines or from lines to routes, filtered, and laid out.

import { grouped, placeOf, textOf } from "./data.js";
import { LENT } from "./palette.js";

/**
 * The tree of a side; node 0 is its root, and microseconds of a node are with those below it.
 * @param {ReturnType<typeof import("./data.js").decode>} side
 */
export function treeOf(side) {
  const { parent, name, site, checkouts } = side.tree;
  const spent = Object.fromEntries(LENT.map((state) => [state, side.tree[state]]));
  return shaped(side, { parent, name, site, checkouts, spent });
}

function shaped(side, columns) {
  const { parent } = columns;
  return { side, size: parent.length, ...columns, below: grouped(parent, parent.length) };
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
function childrenOf({ below }, measure, node) {
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

/**
 * The tree from inside out: below its root are the lines at which time was spent, below each of them
 * the functions that called it, the innermost first, and at last the routes. Microseconds of a node
 * are those of the paths through it; checkouts are not known.
 * @param {ReturnType<typeof treeOf>} tree
 */
export function inverted(tree) {
  const columns = { parent: [-1], name: [tree.name[0]], site: [tree.site[0]] };
  const spent = Object.fromEntries(LENT.map((state) => [state, [tree.spent[state][0]]]));
  const known = new Map();
  const nodeBelow = (parent, node) => {
    const key = `${parent} ${tree.name[node]} ${lineKey(tree, node)}`;
    if (known.has(key)) return known.get(key);
    const made = columns.parent.length;
    known.set(key, made);
    columns.parent.push(parent);
    columns.name.push(tree.name[node]);
    columns.site.push(tree.site[node]);
    for (const state of LENT) spent[state].push(0);
    return made;
  };
  for (let n = 1; n < tree.size; n++) {
    const own = LENT.map((state) => ownOf(tree, state, n));
    if (!own.some((us) => us > 0)) continue;
    let at = 0;
    for (let above = n; above > 0; above = tree.parent[above]) {
      at = nodeBelow(at, above);
      LENT.forEach((state, i) => (spent[state][at] += own[i]));
    }
  }
  return shaped(tree.side, { ...columns, checkouts: null, spent });
}

/** The microseconds of a node without those of the nodes below it. */
function ownOf({ spent, below }, state, node) {
  let us = spent[state][node];
  for (let i = below.first[node]; i < below.first[node + 1]; i++) us -= spent[state][below.items[i]];
  return us;
}

/** What nodes have in common that are the same line, whoever called it. */
function lineKey({ side, site }, node) {
  return site[node] < 0 ? "" : side.sites[site[node]].slice(0, 3).join(" ");
}

/**
 * The tree with only the time of paths through a node that matches: its own, what is above it and
 * what is below.
 * @param {ReturnType<typeof treeOf>} tree @param {Uint8Array} matches
 */
export function filtered(tree, matches) {
  const within = new Uint8Array(tree.size);
  for (let n = 0; n < tree.size; n++) within[n] = matches[n] || (n && within[tree.parent[n]]) ? 1 : 0;
  const spent = {};
  for (const state of LENT) {
    const us = Float64Array.from(tree.spent[state], (whole, n) => (within[n] ? whole : 0));
    for (let n = tree.size - 1; n > 0; n--) if (!within[tree.parent[n]]) us[tree.parent[n]] += us[n];
    spent[state] = us;
  }
  return { ...tree, spent };
}
