// The whole run in a strip, with the part that is looked at.

import { averagesFromBins } from "./bins.js";
import { STATES } from "./data.js";
import { make } from "./dom.js";
import { CanvasSurface } from "./surface.js";

const HEIGHT = 44;
const EDGE = 7;

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
    for (const name of ["parked", "ready", "running", "busy"]) {
      this.#layer(name, averages[name], below, lanes, 12, floor, width / parts);
    }
    const most = averages.waiting.reduce((high, one) => Math.max(high, one), 0);
    if (most) this.#layer("waiting", averages.waiting, new Float64Array(parts), most, 0, 11, width / parts);
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
    this.surface.rects(STATES.includes(name) ? name : "plain", quads, quads.length);
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
