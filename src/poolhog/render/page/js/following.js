// Under the timeline: the request that is followed, and the same as a table.

import { windowLabel } from "./axis.js";
import { STATES, requestName, textOf } from "./data.js";
import { requestTimes } from "./details.js";
import { button, make } from "./dom.js";
import { count, microseconds } from "./format.js";

const MOST_ROWS = 20;
const MOST_BUTTONS = 8;

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
  ];
}

/** The microseconds that a request's checkouts spent in each state. */
export function spentBy(side, request) {
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
    this.table = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Requests" });
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
