// The timeline's buttons: zoom, find, which states are drawn, what to save.

import { windowLabel } from "./axis.js";
import { STATES } from "./data.js";
import { button, make } from "./dom.js";
import { count, whole } from "./format.js";

const MEANINGS = {
  waiting: " for a connection",
  busy: ": an operation is in flight",
  parked: ": held, awaiting something else",
  running: ": held, executing Python",
  ready: ": held, waiting for its turn to run",
};

const KEYS =
  "Arrows left and right move, + and − zoom, Home and End go to the ends, 0 shows the whole run. " +
  "Up and down go from lane to lane, comma and period from span to span, Enter follows the request, " +
  "Escape stops.";

/** What keys do on the picture, behind a disclosure. @param {string} id of the text */
export function keysTold(id) {
  const summary = make("summary", {}, "Keys");
  return make("details", { class: "keys" }, summary, make("p", { id }, KEYS));
}

/**
 * A toolbar.
 * @param {{zoom: (factor: number) => void, whole: () => void, lanes: (all: boolean) => void,
 *   save: () => void, find: (query: string) => number, step: (by: number) => [number, number]}} does
 *   `find` returns how many were found, `step` which of how many is shown
 */
export function toolbar(does) {
  const lanes = button("All lanes", () => {
    const all = lanes.getAttribute("aria-pressed") !== "true";
    lanes.setAttribute("aria-pressed", all);
    does.lanes(all);
  }, { "aria-pressed": "false" });
  const zooms = make(
    "div",
    { class: "tools", role: "group", "aria-label": "Zoom" },
    button("−", () => does.zoom(2), { "aria-label": "Zoom out" }),
    button("+", () => does.zoom(0.5), { "aria-label": "Zoom in" }),
    button("Whole run", () => does.whole()),
  );
  const more = make(
    "div",
    { class: "tools" },
    lanes,
    button("Save as SVG", () => does.save()),
  );
  return { element: make("div", { class: "toolbar" }, zooms, finder(does), more), lanes };
}

/**
 * Toggles for the states; what is off is not drawn.
 * @param {Set<number>} present the states that occur @param {(state: number, hidden: boolean) => void} set
 */
export function legend(present, set) {
  const keys = STATES.map((name, state) => {
    if (!present.has(state)) return null;
    const key = button("", () => {
      const shown = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", shown);
      set(state, !shown);
    }, { "aria-pressed": "true", class: "key", title: "Draw these, or not" });
    const meaning = make("span", { class: "meaning" }, MEANINGS[name]);
    key.append(make("span", { class: `swatch ${name}` }), make("span", {}, name, meaning));
    return key;
  });
  const none = make("span", { class: "key still" }, make("span", { class: "swatch none" }), "holding none");
  const group = { class: "legend", role: "group", "aria-label": "States that are drawn" };
  return make("div", group, ...keys.filter(Boolean), none);
}

/**
 * Buttons for the windows in which everything is there one by one, if that is not so everywhere.
 * @param {object} side @param {(from: number, to: number) => void} look
 */
export function windowButtons(side, look) {
  if (side.complete) return [];
  const looks = side.windows.map(([from, to, why]) =>
    button(`${why}: ${windowLabel(from, to)}`, () => look(from, to)),
  );
  const gone = side.leftOut.checkouts;
  const all = whole(gone + side.checkouts.size);
  const words =
    `${count(gone, "checkout")} of ${all} are in the averages only, so that this page stays small. ` +
    "Every request is shown in";
  const group = { class: "windows tools", role: "group", "aria-label": "Windows with every request" };
  return [make("div", group, make("span", {}, words), ...looks)];
}

function finder(does) {
  const status = make("output", { class: "found", "aria-live": "polite" });
  const say = ([now, all]) => {
    status.textContent = all ? `${whole(now)} of ${whole(all)}` : input.value.trim() ? "none found" : "";
    before.disabled = after.disabled = !all;
  };
  const step = (by) => say(does.step(by));
  const input = make("input", {
    type: "search",
    placeholder: "Find a route, path or SQL",
    "aria-label": "Find requests by route, path, number or SQL",
    oninput: () => say(does.find(input.value) ? does.step(0) : [0, 0]),
    onkeydown: (event) => {
      if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
    },
  });
  const before = button("‹", () => step(-1), { "aria-label": "Previous request found", disabled: true });
  const after = button("›", () => step(1), { "aria-label": "Next request found", disabled: true });
  const group = { class: "tools finder", role: "search" };
  return make("div", group, input, before, after, status);
}
