// What is said about a span, a request, and a window: at the pointer, aloud, below, and as a table.

import { gapsOf } from "./averages.js";
import { averagesFromBins, averagesOf, lentIn } from "./bins.js";
import { commandLine, logCommand } from "./commands.js";
import { placeOf, requestName, textOf } from "./data.js";
import { button, make } from "./dom.js";
import { count, microseconds, percent, shortened, tickLabel, tickStep, windowLabel } from "./format.js";
import { BUSY, LENT, NONE, PAINTS, STATES, WAITING } from "./palette.js";

const LONGEST_SQL = 400;
const MOST_ROWS = 20;
const MOST_BUTTONS = 8;

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
  const doing = spans.state[span] === BUSY && kind ? `${state}: ${kind}` : state;
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
  return { state: PAINTS[NONE], head: "holds no connection", lines };
}

/** A request's start and length in words. */
function requestTimes(side, request) {
  const { start, end } = side.requests;
  const length = end[request] - start[request];
  return `from ${tickLabel(start[request], tickStep(length, 100))} on, for ${microseconds(length)}`;
}

/** Averages around an instant, as facts. */
export function averageFacts(scene, instant, length) {
  const { side, rows, steps } = scene;
  const from = Math.max(0, instant - length / 2);
  const to = Math.min(side.length, from + length);
  const averages = gapsOf(side, from, to).length
    ? averagesFromBins(side.bins, side.length, from, to, 1)
    : averagesOf(rows, steps, from, to, 1);
  const lent = lentIn(averages, 0);
  const lines = LENT
    .filter((state) => averages[state][0] > 0.0005)
    .map((state) => [state, `${averages[state][0].toFixed(2)}: ${percent(averages[state][0] / lent)}`]);
  const waiting = averages.waiting[0].toFixed(2);
  lines.push([STATES[WAITING], `${waiting} requests on average, ${averages.most_waiting[0]} at most`]);
  return { state: PAINTS[NONE], head: `${lent.toFixed(2)} connections lent on average`, lines };
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
  const { spentS } = side;
  const used = LENT.reduce((sum, state) => sum + spentS[state], 0);
  const { most } = steps;
  const shares = LENT
    .filter((state) => spentS[state] > 0)
    .map((state) => `${state} ${percent(spentS[state] / used)}`);
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

/**
 * What is followed: the request's name and its checkouts, each to be looked at.
 * @param {object} side @param {number} request
 * @param {{look: (from: number, to: number) => void, stop: () => void}} does
 */
export function following(side, request, does) {
  const { requests, checkouts, ofRequest } = side;
  const own = [...ofRequest.items.subarray(ofRequest.first[request], ofRequest.first[request + 1])];
  const spent = spentBy(side, request);
  const told = STATES.map((name, s) => (spent[s] ? `${name} ${microseconds(spent[s])}` : ""));
  const words = told.filter(Boolean).join(", ") || "no time";
  const path = textOf(side, requests.path[request]);
  const look = (from, to) => () => does.look(from, to);
  const looks = own.slice(0, MOST_BUTTONS).map((c, i) =>
    button(`Checkout ${i + 1}`, look(checkouts.asked[c], checkouts.end[c]), {
      "aria-label": `Look at checkout ${i + 1} of ${own.length}`,
    }),
  );
  const rest = own.length > looks.length ? ` and ${own.length - looks.length} more` : "";
  return [
    make("p", {}, make("strong", {}, requestName(side, request)), ` ${path}, ${requestTimes(side, request)}`),
    make("p", { class: "quiet" }, `${count(own.length, "checkout")}: ${words}`),
    make(
      "div",
      { class: "tools" },
      button("Whole request", look(requests.start[request], requests.end[request])),
      ...looks,
      rest,
      button("Stop following", does.stop),
    ),
    ...commandLine(logCommand(side, request)),
  ];
}

/** The microseconds that a request's checkouts spent in each state. */
function spentBy(side, request) {
  const { ofRequest, checkouts, spans } = side;
  const spent = new Float64Array(STATES.length);
  for (let i = ofRequest.first[request]; i < ofRequest.first[request + 1]; i++) {
    const c = ofRequest.items[i];
    for (let s = checkouts.firstSpan[c]; s < checkouts.firstSpan[c + 1]; s++) {
      spent[spans.state[s]] += spans.end[s] - spans.start[s];
    }
  }
  return spent;
}

/** A table of the longest requests in a window, behind a disclosure. */
export class Alternative {
  /** @param {object} side @param {(request: number) => void} choose */
  constructor(side, choose) {
    this.side = side;
    this.choose = choose;
    this.table = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Requests of ${side.label}` });
    const summary = make("summary", {}, "The same as a table");
    this.element = make("details", { class: "alternative" }, summary, this.table);
    this.window = [0, side.length];
    this.element.addEventListener("toggle", () => this.#fill());
  }

  /** Takes another window. */
  look(from, to) {
    this.window = [from, to];
    this.#fill();
  }

  #fill() {
    if (!this.element.open) return;
    const [from, to] = this.window;
    const { requests } = this.side;
    const seen = [];
    for (let r = 0; r < requests.size; r++) if (requests.start[r] < to && requests.end[r] > from) seen.push(r);
    const length = (r) => requests.end[r] - requests.start[r];
    const rows = seen.sort((a, b) => length(b) - length(a) || a - b).slice(0, MOST_ROWS);
    const heads = ["request", "starts", "lasts", ...STATES].map((name) => make("th", { scope: "col" }, name));
    const all = count(seen.length, "request");
    const shown = seen.length > rows.length ? `The ${rows.length} longest of ${all}` : all;
    const partly = this.side.complete ? "" : ", of those that are shown one by one";
    const caption = make("caption", {}, `${shown} from ${windowLabel(from, to)}${partly}`);
    const head = make("thead", {}, make("tr", {}, ...heads));
    const body = make("tbody", {}, ...rows.map((r) => this.#row(r, length(r))));
    this.table.replaceChildren(make("table", {}, caption, head, body));
  }

  #row(request, length) {
    const { side } = this;
    const name = button(requestName(side, request), () => this.choose(request), { class: "link" });
    const times = [side.requests.start[request], length, ...spentBy(side, request)];
    const cells = times.map((us) => make("td", {}, microseconds(us)));
    return make("tr", {}, make("th", { scope: "row" }, name), ...cells);
  }
}
