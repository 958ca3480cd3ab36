// The timeline: who held which connection when, to be moved, zoomed, searched and followed.

import { drawAverages, drawGaps, isDense, partLength } from "./averages.js";
import { waitingSteps } from "./bins.js";
import { blameLegend, keysTold, legend, Minimap, toolbar, windowButtons } from "./controls.js";
import { findRequests, requestName } from "./data.js";
import { Alternative, Card, conclusion, following } from "./details.js";
import { make, prefersStillness, save } from "./dom.js";
import { drawAxis, drawLabels, drawLanes, drawLinks, drawSelection, frameItem, pixelOf } from "./drawing.js";
import { microseconds, windowLabel } from "./format.js";
import { layoutOf, rowsOf } from "./lanes.js";
import { PAINTS } from "./palette.js";
import { blockOf, Steering } from "./steering.js";
import { StretchPanel } from "./stretch.js";
import { CanvasSurface, fileName, paletteOf, standalone, SvgSurface } from "./surface.js";
import { View } from "./view.js";

const PRINT_WIDTH = 720;
const HIDDEN_WIDTH = 800;
const SETTLED_MS = 150;
let timelines = 0;

/** The picture of one side of the page, with its controls. It is drawn as soon as it has a size. */
export class Timeline {
  /**
   * @param {HTMLElement} element that it fills
   * @param {ReturnType<typeof import("./data.js").decode>} side
   * @param {{label?: string}} options `label`: a heading, where there are several
   */
  constructor(element, side, { label = "" } = {}) {
    this.element = element;
    this.side = side;
    this.label = label;
    this.rows = rowsOf(side);
    this.steps = waitingSteps(this.rows.waits);
    // Of the whole run, although only parts of it may be there step by step.
    this.steps.most = Math.max(this.steps.most, ...side.bins.most_waiting);
    this.view = new View(side.length);
    this.hidden = PAINTS.map(() => false);
    this.playhead = Infinity;
    this.selected = -1;
    this.query = "";
    this.found = { matches: null, found: [], at: -1 };
    this.all = false;
    this.layout = layoutOf(HIDDEN_WIDTH, side, false);
    this.onSelect = () => {};
    this.onChange = () => {};
    this.#build();
    this.#listen();
  }

  /**
   * Looks at a window, and follows a request in it.
   * @param {number} fromUs @param {number} toUs microseconds of this side
   * @param {{request?: number | string, checkout?: number | string, scroll?: boolean}} options
   *   indexes or ids; `scroll`: whether the page moves so that the picture is seen
   */
  show(fromUs, toUs, { request = -1, checkout = -1, scroll = true } = {}) {
    const c = this.#index(this.side.checkouts, checkout);
    const r = request === -1 && c >= 0 ? this.side.checkouts.request[c] : this.#index(this.side.requests, request);
    if (r >= 0) this.select(r, false);
    const margin = Math.max(50, (toUs - fromUs) * 0.12);
    this.view.set(fromUs - margin, toUs + margin, { glide: true });
    if (!scroll) return;
    this.stage.focus({ preventScroll: true });
    this.stage.scrollIntoView({ block: "center", behavior: prefersStillness() ? "auto" : "smooth" });
  }

  /** Follows a request: it and its connections stay lit. -1 follows none. */
  select(request, tell = true) {
    this.selected = request;
    if (request >= 0 && !this.all && this.side.requests.lane[request] >= this.layout.requests.shown) {
      this.showLanes(true);
    }
    const does = {
      look: (from, to) => this.show(from, to, { request, scroll: false }),
      stop: () => this.select(-1),
    };
    this.follow.replaceChildren(...(request >= 0 ? following(this.side, request, does) : []));
    this.follow.hidden = request < 0;
    if (request >= 0 && tell) this.onSelect(request);
    this.onChange();
    this.redraw();
  }

  /** Moves with another view from now on. @param {View} view */
  useView(view) {
    this.view.listeners.delete(this.moved);
    this.view = view;
    this.minimap.view = view;
    view.listeners.add(this.moved);
    this.redraw();
  }

  /** Nothing after this instant is drawn; microseconds. */
  setPlayhead(instant) {
    this.playhead = instant;
    this.redraw();
  }

  /** Draws before the next frame. */
  redraw() {
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  /** Draws now. */
  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const width = this.stage.clientWidth;
    if (!width) return;
    this.layout = layoutOf(width, this.side, this.all);
    this.canvas.style.height = `${this.layout.height}px`;
    this.surface.begin(width, this.layout.height);
    const scene = this.scene();
    this.averages = isDense(scene);
    this.paint(this.surface, scene);
    this.minimap.place();
    this.stretch.show(this.view.selection);
    this.#say(scene);
  }

  /** What is to be drawn now; see `Scene`. */
  scene(layout = this.layout) {
    const { side, rows, steps, hidden } = this;
    const { from, to } = this.view;
    const until = Math.min(this.playhead, side.length);
    return { side, rows, steps, hidden, layout, from, to, lit: this.#lit(), until };
  }

  /** Draws a scene on a surface that has begun. */
  paint(surface, scene) {
    drawAxis(surface, scene);
    if (this.averages) drawAverages(surface, scene);
    else {
      drawLanes(surface, scene);
      drawGaps(surface, scene);
      drawLabels(surface, scene);
      if (this.selected >= 0) drawLinks(surface, scene, this.selected);
      for (const [spot, frame] of this.steering.marked()) {
        const { rows, item, row } = spot;
        const block = blockOf(scene, spot);
        if (block) frameItem(surface, scene, block, row, rows.start[item], rows.end[item], frame);
      }
    }
    if (this.view.selection) drawSelection(surface, scene, this.view.selection);
    const x = pixelOf(scene, this.playhead);
    if (x < scene.layout.width) surface.line("ink", x, scene.layout.axis - 4, x, scene.layout.height, 1.5);
  }

  /** What is on the screen as a file of its own. */
  svg() {
    const surface = new SvgSurface((paint) => this.palette[paint], this.surface);
    surface.begin(this.layout.width, this.layout.height);
    this.paint(surface, this.scene());
    const { from, to } = this.view;
    const title = `${this.side.label}: who held which connection, ${windowLabel(from, to)}`;
    return standalone(surface.element, title, `${conclusion(this.side, this.steps)} ${this.note.textContent}`);
  }

  #build() {
    const { side } = this;
    const id = `timeline${++timelines}`;
    this.palette = paletteOf(this.element);
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.surface = new CanvasSurface(this.canvas, this.palette);
    this.card = new Card();
    this.stage = make("div", {
      class: "stage",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "timeline",
      "aria-label": conclusion(side, this.steps),
      "aria-describedby": `${id}-keys`,
      "data-zooms": true,
    }, this.canvas, this.card.element);
    this.minimap = new Minimap(side, this.view, this.palette);
    this.note = make("p", { class: "note", "aria-live": "polite" });
    this.live = make("p", { class: "unseen", "aria-live": "polite" });
    this.follow = make("div", { class: "following", hidden: true });
    this.alternative = new Alternative(side, (request) => this.lookAt(request));
    this.tools = toolbar({
      zoom: (factor) => this.view.zoom(factor, undefined, { glide: true }),
      whole: () => this.view.whole({ glide: true }),
      lanes: (all) => this.showLanes(all),
      save: () => save(fileName("poolhog", side.label), "image/svg+xml", this.svg()),
      find: (query) => this.#find(query),
      step: (by) => this.#step(by),
    }, side.label);
    const present = new Set(side.spans.state);
    this.states = legend(present, (state, hidden) => {
      this.hidden[state] = hidden;
      this.onChange();
      this.redraw();
    });
    this.stretch = new StretchPanel(side, this.steps, {
      zoom: () => this.view.set(...this.view.selection, { glide: true }),
      clear: () => {
        this.view.clear();
        this.stage.focus({ preventScroll: true });
      },
    });
    this.printed = make("div", { class: "printed" });
    const windows = windowButtons(side, (from, to) => this.view.set(from, to, { glide: true }));
    const heading = this.label ? [make("h3", {}, this.label)] : [];
    this.element.classList.add("timeline");
    this.element.append(
      ...heading, this.tools.element, this.states.element, ...blameLegend(side), this.stage, this.printed, this.minimap.element,
      ...windows, this.note, this.stretch.element, this.follow, this.live, keysTold(`${id}-keys`), this.alternative.element,
    );
  }

  #listen() {
    this.moved = () => {
      this.onChange();
      this.redraw();
    };
    this.view.listeners.add(this.moved);
    this.steering = new Steering(this);
    new ResizeObserver(() => this.#resized()).observe(this.stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#recolour());
    addEventListener("beforeprint", () => this.#print());
    addEventListener("afterprint", () => this.printed.replaceChildren());
  }

  #say(scene) {
    const pixel = microseconds(((scene.to - scene.from) / scene.layout.plot.width) * 1.5);
    const words = this.averages
      ? `Shown as averages of ${microseconds(partLength(scene))}: zoom in to see each request.`
      : `What is shorter than ${pixel} is drawn that wide, to be seen at all.`;
    if (this.words !== words) this.note.textContent = this.words = words;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.#settled(), SETTLED_MS);
  }

  #settled() {
    const { from, to } = this.view;
    const { dataset } = this.element;
    dataset.from = Math.round(from);
    dataset.to = Math.round(to);
    dataset.drawn = this.averages ? "averages" : "lanes";
    dataset.spans = this.rows.requests.measure(from, to).items + this.rows.pools.measure(from, to).items;
    this.tools.lanes.hidden = this.averages || (!this.layout.cut && !this.all);
    this.#announce();
    if (this.alternative.window[0] !== from || this.alternative.window[1] !== to) this.alternative.look(from, to);
  }

  /** Says aloud what is selected, once it stays so. */
  #announce() {
    const selected = this.view.selection ? this.stretch.words : "";
    if (selected && selected !== this.announced) this.live.textContent = selected;
    this.announced = selected;
  }

  #lit() {
    const { matches, found } = this.found;
    if (this.selected < 0) return found.length ? matches : null;
    const lit = new Uint8Array(this.side.requests.size);
    lit[this.selected] = 1;
    return lit;
  }

  #find(query) {
    this.query = query;
    this.found = { ...findRequests(this.side, query), at: -1 };
    this.select(-1);
    return this.found.found.length;
  }

  /** Goes to the next request that was found, or to none by 0: which it is, of how many. */
  #step(by) {
    const { found } = this.found;
    if (!found.length) return [0, 0];
    if (!by) return [0, found.length];
    const next = this.found.at < 0 && by < 0 ? -1 : this.found.at + by;
    this.found.at = (next + found.length) % found.length;
    this.lookAt(found[this.found.at]);
    return [this.found.at + 1, found.length];
  }

  /** Follows a request, and shows all of it. */
  lookAt(request) {
    const { start, end } = this.side.requests;
    this.select(request);
    this.show(start[request], end[request], { request, scroll: false });
    this.live.textContent = `Following ${requestName(this.side, request)}`;
  }

  /** Draws every lane, or as many as fit. */
  showLanes(all) {
    this.all = all;
    this.tools.lanes.setAttribute("aria-pressed", all);
    this.onChange();
    this.draw();
  }

  #resized() {
    this.draw();
    this.minimap.draw(this.palette);
  }

  #recolour() {
    this.palette = paletteOf(this.element);
    this.surface.recolour(this.palette);
    this.#resized();
  }

  /** Draws for paper: in the colours that the style sheet has for print. */
  #print() {
    const surface = new SvgSurface((paint) => `var(--${paint})`, this.surface);
    const layout = layoutOf(PRINT_WIDTH, this.side, this.all);
    surface.begin(layout.width, layout.height);
    this.paint(surface, this.scene(layout));
    this.printed.replaceChildren(surface.element);
  }

  #index({ id }, given) {
    return typeof given === "string" ? id.findIndex((text) => this.side.texts[text] === given) : given;
  }
}

/** Lets several timelines show the same window of time. @param {Timeline[]} pictures */
export function synchronise(pictures) {
  const shared = new View(Math.max(...pictures.map((picture) => picture.side.length)));
  for (const picture of pictures) picture.useView(shared);
  return shared;
}
