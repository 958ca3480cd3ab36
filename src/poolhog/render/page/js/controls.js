// The timeline's controls: zoom, find, which states are drawn, and the strip of the whole run.

import { averagesFromBins } from "./bins.js";
import { button, make } from "./dom.js";
import { count, whole, windowLabel } from "./format.js";
import { BLAMED, NONE, PAINTS, STACKED, STATES, WAITING, WORDS } from "./palette.js";
import { CanvasSurface } from "./surface.js";

// The strip: how high it is, and how near to an edge of its pane a grip is; CSS pixels.
const HEIGHT = 44;
const EDGE = 7;

const KEYS =
  "Arrows left and right move, + and − zoom, Home and End go to the ends, 0 shows the whole run. " +
  "Up and down go from lane to lane, comma and period from span to span, Enter follows the request. " +
  "S selects the span or what is shown, [ and ] make the selection longer, { and } shorter, F zooms to it. " +
  "Escape clears the selection, then stops following.";

/** What keys do on the picture, behind a disclosure. @param {string} id of the text */
export function keysTold(id) {
  const summary = make("summary", {}, "Keys");
  return make("details", { class: "keys" }, summary, make("p", { id }, KEYS));
}

/**
 * A toolbar; `label` is the name of the run.
 * @param {{zoom: (factor: number) => void, whole: () => void, lanes: (all: boolean) => void,
 *   save: () => void, find: (query: string) => number, step: (by: number) => [number, number]}} does
 *   `find` returns how many were found, `step` which of how many is shown
 */
export function toolbar(does, label) {
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
  const finding = finder(does, label);
  return { element: make("div", { class: "toolbar" }, zooms, finding.element, more), lanes, find: finding.find };
}

/**
 * Toggles for the states; what is off is not drawn. `show` sets all of them.
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
    const meaning = make("span", { class: "meaning" }, WORDS[name]);
    key.append(make("span", { class: `swatch ${name}` }), make("span", {}, name, meaning));
    return key;
  });
  const none = make("span", { class: "key still" }, make("span", { class: `swatch ${PAINTS[NONE]}` }), WORDS[PAINTS[NONE]]);
  const group = { class: "legend", role: "group", "aria-label": "States that are drawn" };
  const show = (hidden) => keys.forEach((key, state) => {
    if (key && (key.getAttribute("aria-pressed") !== "true") !== hidden[state]) key.click();
  });
  return { element: make("div", group, ...keys.filter(Boolean), none), show };
}

/** Who the colours of the queue are, as a list; nothing if nobody had to wait for anybody. */
export function blameLegend(side) {
  if (!side.bins.blame.length) return [];
  const entries = side.bins.blame.map((one, k) =>
    make("li", {}, make("span", { class: `swatch ${BLAMED[k]}` }), ` ${k + 1} `, side.texts[one.name]),
  );
  const other = make("li", {}, make("span", { class: `swatch ${STATES[WAITING]}` }), " others, or nobody");
  const words = make("span", { class: "meaning" }, "Requests wait because of");
  return [make("div", { class: "blamed" }, words, make("ul", { "aria-label": "Who made others wait" }, ...entries, other))];
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

function finder(does, label) {
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
    oninput: () => find(input.value),
    onkeydown: (event) => {
      if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
    },
  });
  const before = button("‹", () => step(-1), { "aria-label": "Previous request found", disabled: true });
  const after = button("›", () => step(1), { "aria-label": "Next request found", disabled: true });
  const group = { class: "tools finder", role: "search", "aria-label": `Requests of ${label}` };
  const find = (query) => {
    input.value = query;
    say(does.find(query) ? does.step(0) : [0, 0]);
  };
  return { element: make("div", group, input, before, after, status), find };
}

/** A strip that shows how many connections were lent over the whole run; dragging moves the view. */
export class Minimap {
  /**
   * @param {ReturnType<typeof import("./data.js").decode>} side
   * @param {import("./view.js").View} view @param {Record<string, string>} palette
   */
  constructor(side, view, palette) {
    this.side = side;
    this.view = view;
    this.canvas = make("canvas", { class: "minimap-canvas", "aria-hidden": "true" });
    this.pane = make("div", { class: "minimap-pane" });
    this.element = make("div", { class: "minimap" }, this.canvas, this.pane);
    this.surface = new CanvasSurface(this.canvas, palette);
    this.#listen();
  }

  /** Draws the strip anew, at its present width. */
  draw(palette) {
    this.surface.recolour(palette);
    const width = this.element.clientWidth;
    if (!width) return;
    this.surface.begin(width, HEIGHT);
    this.surface.rect("track", 0, 0, width, HEIGHT);
    const parts = Math.max(1, Math.floor(width / 2));
    const { side } = this;
    const averages = averagesFromBins(side.bins, side.length, 0, this.view.length, parts);
    const lanes = Math.max(1, side.pools.reduce((sum, pool) => sum + (pool.capacity ?? pool.lanes), 0));
    const floor = HEIGHT - 12;
    const below = new Float64Array(parts);
    for (const name of STACKED) {
      this.#layer(name, averages[name], below, lanes, 12, floor, width / parts);
    }
    const most = averages.waiting.reduce((high, one) => Math.max(high, one), 0);
    const waiting = STATES[WAITING];
    if (most) this.#layer(waiting, averages.waiting, new Float64Array(parts), most, 0, 11, width / parts);
    if (!side.complete) this.#markWindows(width);
    this.place();
  }

  /** Puts the pane where the view is. */
  place() {
    const { view, pane } = this;
    pane.style.left = `${(view.from / view.length) * 100}%`;
    pane.style.width = `${(view.width / view.length) * 100}%`;
  }

  #layer(name, values, below, top, y, height, width) {
    const quads = [];
    for (let p = 0; p < values.length; p++) {
      const high = (Math.min(values[p], top) / top) * height;
      if (high > 0.05) quads.push(p * width, y + height - below[p] - high, width, high);
      below[p] += high;
    }
    this.surface.rects(name, quads, quads.length);
  }

  #markWindows(width) {
    const scale = width / this.view.length;
    for (const [from, to] of this.side.windows) {
      this.surface.rect("ink", from * scale, HEIGHT - 3, Math.max(2, (to - from) * scale), 3);
    }
  }

  #listen() {
    const { element, view } = this;
    let grip = null;
    const instant = (event) => {
      const box = element.getBoundingClientRect();
      return ((event.clientX - box.left) / box.width) * view.length;
    };
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      const at = instant(event);
      const reach = (EDGE / element.clientWidth) * view.length;
      if (Math.abs(at - view.from) < reach) grip = "from";
      else if (Math.abs(at - view.to) < reach) grip = "to";
      else {
        if (at < view.from || at > view.to) view.set(at - view.width / 2, at + view.width / 2);
        grip = at - view.from;
      }
    });
    element.addEventListener("pointermove", (event) => {
      if (grip === null) return;
      const at = instant(event);
      if (grip === "from") view.set(Math.min(at, view.to - 20), view.to);
      else if (grip === "to") view.set(view.from, Math.max(at, view.from + 20));
      else view.set(at - grip, at - grip + view.width);
    });
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => (grip = null));
  }
}
