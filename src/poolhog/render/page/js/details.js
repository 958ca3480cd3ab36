// What is said about a span, a request, and a window: in a card at the pointer, and aloud.

import { tickLabel, tickStep, windowLabel } from "./axis.js";
import { averagesFromBins, averagesOf, lentIn } from "./bins.js";
import { gapsOf } from "./averages.js";
import { PAINTS, STATES, placeOf, requestName, textOf } from "./data.js";
import { make } from "./dom.js";
import { microseconds, percent, shortened } from "./format.js";

const LONGEST_SQL = 400;

/**
 * What happens in a span, as lines with what they are.
 * @param {object} side @param {number} span
 * @returns {{state: string, head: string, lines: [string, string][]}}
 */
export function spanFacts(side, span) {
  const { spans, checkouts } = side;
  const state = PAINTS[spans.state[span]];
  const checkout = spans.checkout[span];
  const request = checkouts.request[checkout];
  const what = spans.what[span] >= 0 ? side.whats[spans.what[span]] : [-1, -1, -1];
  const kind = textOf(side, what[0]);
  const sql = textOf(side, what[1]);
  const place = placeOf(side, what[2]);
  const doing = state === "busy" && kind ? `busy: ${kind}` : state;
  const lines = [["of", requestName(side, request)]];
  if (sql) lines.push(["sql", shortened(sql, LONGEST_SQL)]);
  if (place) {
    lines.push(["at", `${place.where} in ${place.name}`]);
    if (place.source) lines.push(["code", place.source]);
  }
  lines.push(["checkout", checkoutWords(side, checkout)]);
  return { state, head: `${doing} ${microseconds(spans.end[span] - spans.start[span])}`, lines };
}

/** What is known of a request with no span in question. */
export function requestFacts(side, request) {
  const { requests } = side;
  const status = requests.status[request] > 0 ? `, status ${requests.status[request]}` : "";
  const path = textOf(side, requests.path[request]);
  const lines = [["of", requestName(side, request)]];
  if (path) lines.push(["path", path]);
  lines.push(["request", `${requestTimes(side, request)}${status}`]);
  return { state: "none", head: "holds no connection", lines };
}

/** A request's start and length in words. */
export function requestTimes(side, request) {
  const { start, end } = side.requests;
  const length = end[request] - start[request];
  return `from ${tickLabel(start[request], tickStep(length, 100))} on, for ${microseconds(length)}`;
}

/** Averages around an instant, in the same form. */
export function averageFacts(scene, instant, length) {
  const { side, rows, steps } = scene;
  const from = Math.max(0, instant - length / 2);
  const to = Math.min(side.length, from + length);
  const averages = gapsOf(side, from, to).length
    ? averagesFromBins(side.bins, side.length, from, to, 1)
    : averagesOf(rows, steps, from, to, 1);
  const lent = lentIn(averages, 0);
  const lines = STATES.slice(1)
    .filter((state) => averages[state][0] > 0.0005)
    .map((state) => [state, `${averages[state][0].toFixed(2)}: ${percent(averages[state][0] / lent)}`]);
  const waiting = averages.waiting[0].toFixed(2);
  lines.push(["waiting", `${waiting} requests on average, ${averages.most_waiting[0]} at most`]);
  return { state: "none", head: `${lent.toFixed(2)} connections lent on average`, lines };
}

/** Facts as one sentence, for a screen reader. */
export function spoken({ head, lines }) {
  return [head, ...lines.map(([name, value]) => `${name === "of" ? "" : `${name} `}${value}`)].join("; ");
}

/** A card that floats at a place in an element. */
export class Card {
  constructor() {
    this.element = make("div", { class: "span-card", hidden: true, "aria-hidden": "true" });
  }

  /** Shows facts near a point of the element that it is in. */
  show(facts, x, y) {
    const { element } = this;
    const swatch = make("span", { class: `swatch ${facts.state}` });
    const rows = facts.lines.map(([name, value]) =>
      make("div", { class: `fact ${name}` }, make("span", {}, name), make("b", {}, value)),
    );
    element.replaceChildren(make("p", { class: "fact-head" }, swatch, facts.head), ...rows);
    element.hidden = false;
    const room = element.offsetParent ?? document.body;
    const { offsetWidth: width, offsetHeight: height } = element;
    const left = Math.min(Math.max(4, x + 14), Math.max(4, room.clientWidth - width - 4));
    const above = y - height - 14;
    const below = y + 18 + height < room.clientHeight || above < 0;
    element.style.left = `${left}px`;
    element.style.top = `${below ? y + 18 : above}px`;
  }

  hide() {
    this.element.hidden = true;
  }
}

/**
 * What the picture says as a whole, for who cannot see it.
 * @param {object} side @param {{most: number}} steps
 */
export function conclusion(side, steps) {
  const { totals } = side.report;
  const { most } = steps;
  const shares = STATES.slice(1)
    .filter((state) => totals[`${state}_s`] > 0)
    .map((state) => `${state} ${percent(totals[`${state}_s`] / totals.use_s)}`);
  return [
    `Timeline of ${side.label}, ${windowLabel(0, side.length)}.`,
    most ? `At most ${most} requests waited for a connection at once.` : "No request waited.",
    shares.length ? `Of the time that connections were lent: ${shares.join(", ")}.` : "",
  ].join(" ").trim();
}

function checkoutWords(side, checkout) {
  const { wait, use, outcome } = side.checkouts;
  const waited = `waited ${microseconds(wait[checkout])}`;
  const used = use[checkout] < 0 ? "never granted" : `used ${microseconds(use[checkout])}`;
  return `${waited}, ${used}, ${textOf(side, outcome[checkout])}`;
}
