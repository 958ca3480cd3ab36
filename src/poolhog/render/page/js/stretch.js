// A stretch of time that was selected: what happened in it, in numbers.

import { gapsOf } from "./averages.js";
import { averagesFromBins, mostWaiting } from "./bins.js";
import { commandLine, placeLink, timelineCommand } from "./commands.js";
import { placeOf, textOf } from "./data.js";
import { button, make } from "./dom.js";
import { count, microseconds, percent, windowLabel } from "./format.js";
import { LENT, STATES, WAITING } from "./palette.js";

const MOST_ROWS = 8;

/**
 * What happened between two instants. States are microseconds in the order of `STATES`, of all
 * checkouts. Where only averages are kept, `averaged` microseconds of the stretch, states are from
 * these, and routes, lines and counts are without them.
 * @param {object} side @param {object} steps of the queue @param {number} from @param {number} to
 */
export function totalsOf(side, steps, from, to) {
  const { checkouts, spans, requests } = side;
  const gaps = gapsOf(side, from, to);
  const kept = between(gaps, from, Math.min(to, side.length));
  const found = {
    states: new Float64Array(STATES.length),
    routes: new Map(),
    lines: new Map(),
    requests: new Set(),
    checkouts: 0,
    waits: { count: 0, us: 0, longest: 0, most: mostIn(side, steps, from, to, kept, gaps) },
    averaged: 0,
  };
  for (let c = 0; c < checkouts.size; c++) {
    if (checkouts.asked[c] >= to || checkouts.end[c] <= from) continue;
    const request = checkouts.request[c];
    let waited = 0;
    let seen = false;
    for (let s = checkouts.firstSpan[c]; s < checkouts.firstSpan[c + 1]; s++) {
      const us = overlap(kept, spans.start[s], spans.end[s]);
      if (us <= 0) continue;
      const state = spans.state[s];
      seen = true;
      found.states[state] += us;
      add(found.routes, requests.name[request], state, us).requests.add(request);
      const site = spans.what[s] < 0 ? -1 : side.whats[spans.what[s]][2];
      add(found.lines, lineOf(side, site), state, us).site = site;
      if (state === WAITING) waited += us;
    }
    if (!seen) continue;
    found.checkouts++;
    found.requests.add(request);
    if (!waited) continue;
    found.waits.count++;
    found.waits.us += waited;
    found.waits.longest = Math.max(found.waits.longest, waited);
  }
  for (const [start, end] of gaps) {
    const averages = averagesFromBins(side.bins, side.length, start, end, 1);
    STATES.forEach((name, state) => (found.states[state] += averages[name][0] * (end - start)));
    found.averaged += end - start;
  }
  return found;
}

/** What is left of a stretch without the gaps in it. */
function between(gaps, from, to) {
  const found = [];
  let at = from;
  for (const [start, end] of [...gaps, [to, to]]) {
    if (start > at) found.push([at, start]);
    at = Math.max(at, end);
  }
  return found;
}

function overlap(kept, start, end) {
  let us = 0;
  for (const [low, high] of kept) us += Math.max(0, Math.min(end, high) - Math.max(start, low));
  return us;
}

function mostIn(side, steps, from, to, kept, gaps) {
  const exact = kept.map(([low, high]) => mostWaiting(steps, low, high, 1)[0]);
  const coarse = gaps.map(([low, high]) => averagesFromBins(side.bins, side.length, low, high, 1).most_waiting[0]);
  return Math.max(0, ...exact, ...coarse);
}

function add(groups, key, state, us) {
  let one = groups.get(key);
  if (!one) groups.set(key, (one = { states: new Float64Array(STATES.length), requests: new Set(), site: -1 }));
  one.states[state] += us;
  return one;
}

/** What lines have in common that are one to the reader, whoever called them. */
function lineOf(side, site) {
  return site < 0 ? "" : side.sites[site].slice(0, 3).join(" ");
}

function sumOf(states) {
  return states.reduce((sum, us) => sum + us, 0);
}

/** The totals of a timeline's selection, below its picture. */
export class StretchPanel {
  /** @param {object} side @param {object} steps @param {{zoom: () => void, clear: () => void}} does */
  constructor(side, steps, does) {
    this.side = side;
    this.steps = steps;
    this.does = does;
    this.shown = "";
    this.element = make("div", { class: "stretch", hidden: true, role: "region", "aria-label": `Selected stretch of ${side.label}` });
  }

  /** Shows what happened in a selection; `null` hides it. @param {[number, number] | null} selection */
  show(selection) {
    const key = String(selection);
    if (key === this.shown) return;
    this.shown = key;
    this.element.hidden = !selection;
    if (!selection) {
      this.element.replaceChildren();
      return;
    }
    const [from, to] = selection;
    const found = totalsOf(this.side, this.steps, from, to);
    this.words = `Selected ${windowLabel(from, to)}. ${sentence(found)}`;
    const heading = make("p", {}, make("strong", {}, `Selected ${windowLabel(from, to)}`));
    const tools = make(
      "div",
      { class: "tools" },
      button("Zoom to selection", this.does.zoom),
      button("Clear selection", this.does.clear),
    );
    this.element.replaceChildren(
      heading,
      make("p", { class: "totals" }, sentence(found)),
      ...this.#partly(found),
      tools,
      ...this.#tables(found),
      ...commandLine(timelineCommand(this.side, from, to)),
    );
  }

  #partly({ averaged }) {
    if (!averaged) return [];
    const words = `Of ${microseconds(averaged)} of this only averages are kept: routes, lines and counts are without it.`;
    return [make("p", { class: "quiet" }, words)];
  }

  #tables(found) {
    const present = STATES.map((_, state) => state).filter((state) => found.states[state] > 0);
    const route = (key) => textOf(this.side, key);
    const line = (_, { site }) => this.#line(site);
    return [
      table(this.side, "Routes", "route", found.routes, present, route),
      table(this.side, "Lines of code", "line", found.lines, present, line),
    ].filter(Boolean);
  }

  #line(site) {
    const place = placeOf(this.side, site);
    if (!place) return "code that was not seen";
    const short = place.where.split(/[\\/]/).at(-1);
    const code = place.source ? make("code", {}, ` ${place.source}`) : "";
    return make("span", {}, placeLink(this.side, site, short), ` in ${place.name}`, code);
  }
}

function sentence({ states, waits, requests, checkouts }) {
  const lent = LENT.reduce((sum, name) => sum + states[STATES.indexOf(name)], 0);
  const parts = LENT.map((name) => [name, states[STATES.indexOf(name)]]).filter(([, us]) => us > 0);
  const told = parts.map(([name, us]) => `${name} ${microseconds(us)} (${percent(us / lent)})`).join(", ");
  const used = lent ? `Connections were checked out for ${microseconds(lent)}: ${told}.` : "No connection was checked out.";
  const waited = states[WAITING]
    ? `${count(waits.count, "checkout")} waited ${microseconds(states[WAITING])} in total, up to ` +
      `${microseconds(waits.longest)} each, at most ${waits.most} at once.`
    : "Nobody waited.";
  return `${used} ${waited} ${count(requests.size, "request")}, ${count(checkouts, "checkout")}.`;
}

/** The groups with the most time, with their states; `null` if there is none. */
function table(side, caption, noun, groups, present, name) {
  const ordered = [...groups].sort(([, a], [, b]) => sumOf(b.states) - sumOf(a.states));
  if (!ordered.length) return null;
  const rest = ordered.length - MOST_ROWS;
  const more = rest > 0 ? `, the ${MOST_ROWS} with the most time of ${ordered.length}` : "";
  const heads = [noun, ...present.map((state) => STATES[state])].map((text) => make("th", { scope: "col" }, text));
  const rows = ordered.slice(0, MOST_ROWS).map(([key, one]) => {
    const cells = present.map((state) => make("td", {}, one.states[state] ? microseconds(one.states[state]) : "·"));
    return make("tr", {}, make("th", { scope: "row" }, name(key, one)), ...cells);
  });
  const made = make(
    "table",
    {},
    make("caption", {}, `${caption} in the selection${more}`),
    make("thead", {}, make("tr", {}, ...heads)),
    make("tbody", {}, ...rows),
  );
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${caption} in the selection of ${side.label}` }, made);
}
