// The timeline: who held which connection when, to be moved, zoomed, searched and followed.

import { drawAverages, drawGaps, gapsOf, partLength } from "./averages.js";
import { windowLabel } from "./axis.js";
import { waitingSteps } from "./bins.js";
import { legend, toolbar } from "./controls.js";
import { factsOf, middleOf, ownerOf, spotAt, stepped } from "./cursor.js";
import { requestName } from "./data.js";
import { Card, averageFacts, conclusion, spoken } from "./details.js";
import { button, make, prefersStillness, save } from "./dom.js";
import { drawAxis, drawLanes, drawLinks, frameItem, pixelOf } from "./drawing.js";
import { findRequests } from "./find.js";
import { Alternative, following } from "./following.js";
import { count, microseconds, whole } from "./format.js";
import { followPointer, moveByKey } from "./input.js";
import { rowsOf } from "./lanes.js";
import { layoutOf } from "./layout.js";
import { Minimap } from "./minimap.js";
import { SvgSurface, fileName, standalone } from "./picture.js";
import { CanvasSurface, paletteOf } from "./surface.js";
import { View } from "./view.js";

const MOST_SPANS = 20_000;
const FEW_SPANS = 2_000;
const PRINT_WIDTH = 720;
const SETTLED_MS = 150;
const KEYS =
  "Arrows left and right move, + and − zoom, Home and End go to the ends, 0 shows the whole run. " +
  "Up and down go from lane to lane, comma and period from span to span, Enter follows the request, " +
  "Escape stops.";

let timelines = 0;

/** The picture of one side of the page, with its controls. */
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
    this.view = new View(side.length);
    this.hidden = [false, false, false, false, false, false];
    this.playhead = Infinity;
    this.selected = -1;
    this.found = { matches: null, found: [], at: -1 };
    this.spot = null;
    this.hovered = null;
    this.all = false;
    this.onSelect = () => {};
    this.#build();
    this.#listen();
    this.draw();
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
      this.#showLanes(true);
    }
    const does = {
      look: (from, to) => this.show(from, to, { request, scroll: false }),
      stop: () => this.select(-1),
    };
    this.follow.replaceChildren(...(request >= 0 ? following(this.side, request, does) : []));
    this.follow.hidden = request < 0;
    if (request >= 0 && tell) this.onSelect(request);
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
    this.averages = this.#isDense(scene);
    this.paint(this.surface, scene);
    this.minimap.place();
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
      if (this.selected >= 0) drawLinks(surface, scene, this.selected);
      for (const spot of [this.hovered, this.spot]) {
        if (!spot) continue;
        const { rows, item, block, row } = spot;
        frameItem(surface, scene, block, row, rows.start[item], rows.end[item], spot === this.spot ? "accent" : "ink");
      }
    }
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
    this.alternative = new Alternative(side, (request) => this.#lookAt(request));
    this.tools = toolbar({
      zoom: (factor) => this.view.zoom(factor, undefined, { glide: true }),
      whole: () => this.view.whole({ glide: true }),
      lanes: (all) => this.#showLanes(all),
      save: () => save(fileName("poolhog", side.label), "image/svg+xml", this.svg()),
      find: (query) => this.#find(query),
      step: (by) => this.#step(by),
    });
    const present = new Set(side.spans.state);
    const states = legend(present, (state, hidden) => {
      this.hidden[state] = hidden;
      this.redraw();
    });
    this.printed = make("div", { class: "printed" });
    const keys = make("details", { class: "keys" }, make("summary", {}, "Keys"), make("p", { id: `${id}-keys` }, KEYS));
    const heading = this.label ? [make("h3", {}, this.label)] : [];
    this.element.classList.add("timeline");
    this.element.append(
      ...heading, this.tools.element, states, this.stage, this.printed, this.minimap.element,
      ...this.#leftOut(), this.note, this.follow, this.live, keys, this.alternative.element,
    );
  }

  #listen() {
    this.moved = () => this.redraw();
    this.view.listeners.add(this.moved);
    followPointer(this.stage, () => this.view, {
      instantAt: (x) => this.#instant(x),
      usPerPixel: () => this.view.width / this.layout.plot.width,
      click: (x, y) => this.#click(x, y),
      hover: (x, y) => this.#hover(x, y),
      leave: () => this.#hover(-1, -1),
    });
    this.stage.addEventListener("keydown", (event) => this.#key(event));
    this.stage.addEventListener("blur", () => this.#rove(null));
    new ResizeObserver(() => this.#resized()).observe(this.stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#recolour());
    addEventListener("beforeprint", () => this.#print());
    addEventListener("afterprint", () => this.printed.replaceChildren());
  }

  /** Where everything is there one by one, if that is not so everywhere. */
  #leftOut() {
    const { side } = this;
    if (side.complete) return [];
    const looks = side.windows.map(([from, to, why]) =>
      button(`${why}: ${windowLabel(from, to)}`, () => this.view.set(from, to, { glide: true })),
    );
    const gone = `${count(side.leftOut.checkouts, "checkout")} of ${whole(side.leftOut.checkouts + side.checkouts.size)}`;
    const words = `${gone} are in the averages only, so that this page stays small. One by one there is`;
    return [make("div", { class: "windows tools", role: "group", "aria-label": "Look at" }, make("span", {}, words), ...looks)];
  }

  /** Whether there is too much for lanes: too many spans, or so many that most are under a pixel. */
  #isDense({ side, rows, from, to, layout }) {
    const gone = gapsOf(side, from, to).reduce((sum, [start, end]) => sum + end - start, 0);
    if (gone > 0.85 * (Math.min(to, side.length) - from)) return true;
    const [above, below] = [rows.requests.measure(from, to), rows.pools.measure(from, to)];
    const items = above.items + below.items;
    if (items <= FEW_SPANS) return false;
    const average = (above.items * above.average + below.items * below.average) / items;
    return items > MOST_SPANS || (average / (to - from)) * layout.plot.width < 1;
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
    this.tools.lanes.hidden = !this.layout.cut && !this.all;
    if (this.alternative.window[0] !== from || this.alternative.window[1] !== to) this.alternative.look(from, to);
  }

  #lit() {
    const { matches, found } = this.found;
    if (this.selected < 0) return found.length ? matches : null;
    const lit = new Uint8Array(this.side.requests.size);
    lit[this.selected] = 1;
    return lit;
  }

  #find(query) {
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
    this.#lookAt(found[this.found.at]);
    return [this.found.at + 1, found.length];
  }

  #lookAt(request) {
    const { start, end } = this.side.requests;
    this.select(request);
    this.show(start[request], end[request], { request, scroll: false });
    this.live.textContent = `Following ${requestName(this.side, request)}`;
  }

  #click(x, y) {
    const spot = this.averages ? null : this.#spot(x, y);
    if (spot) this.select(ownerOf(spot));
    else if (this.selected >= 0) this.select(-1);
    this.#hover(x, y);
  }

  #hover(x, y) {
    const spot = x < 0 || this.averages ? null : this.#spot(x, y);
    const facts = spot ? factsOf(this.side, this.rows, spot) : this.#averageAt(x, y);
    this.stage.classList.toggle("on-span", spot !== null);
    if (facts) this.card.show(facts, x, y);
    else this.card.hide();
    if (this.hovered === spot) return;
    this.hovered = spot;
    this.redraw();
  }

  /** What the averages say at a point, if averages are drawn there. */
  #averageAt(x, y) {
    const at = this.#instant(x);
    if (x < this.layout.plot.x || y < this.layout.axis || at > Math.min(this.playhead, this.side.length)) return null;
    if (!this.averages && !gapsOf(this.side, at, at + 1).length) return null;
    const scene = this.scene();
    return averageFacts(scene, at, partLength(scene));
  }

  #key(event) {
    const ways = { ArrowUp: "up", ArrowDown: "down", ",": "before", ".": "after" };
    if (moveByKey(event, this.view)) event.preventDefault();
    else if (Object.hasOwn(ways, event.key)) {
      event.preventDefault();
      this.#rove(ways[event.key]);
    } else if (event.key === "Enter" && this.spot) {
      this.select(ownerOf(this.spot));
      this.live.textContent = `Following ${requestName(this.side, this.selected)}`;
    } else if (event.key === "Escape") {
      this.select(-1);
      this.#rove(null);
    }
  }

  /** Moves the cursor, and says what is there; `null` takes it away. */
  #rove(way) {
    const scene = this.scene();
    this.spot = way && !this.averages ? stepped(scene, this.#live(this.spot), way) : null;
    if (this.spot) {
      const { rows, item } = this.spot;
      const facts = factsOf(this.side, this.rows, this.spot);
      if (rows.end[item] < scene.from || rows.start[item] > scene.to) {
        const middle = (rows.start[item] + rows.end[item]) / 2;
        this.view.set(middle - this.view.width / 2, middle + this.view.width / 2);
      }
      this.card.show(facts, ...middleOf(this.scene(), this.spot));
      this.live.textContent = spoken(facts);
    } else if (way) {
      const middle = (scene.from + scene.to) / 2;
      this.live.textContent = spoken(averageFacts(scene, middle, partLength(scene)));
    } else this.card.hide();
    this.redraw();
  }

  /** A spot of an older layout in the present one. */
  #live(spot) {
    if (!spot) return null;
    const blocks = [this.layout.requests, ...this.layout.pools];
    const same = spot.rows === this.rows.pools ? blocks.slice(1) : blocks.slice(0, 1);
    const block = same.find((one) => spot.row >= one.first && spot.row < one.first + one.shown);
    return block ? { ...spot, block } : null;
  }

  #showLanes(all) {
    this.all = all;
    this.tools.lanes.setAttribute("aria-pressed", all);
    this.spot = this.hovered = null;
    this.draw();
  }

  #resized() {
    this.hovered = null;
    this.draw();
    this.minimap.draw(this.palette);
    this.spot = this.#live(this.spot);
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

  #spot(x, y) {
    const { plot } = this.layout;
    if (x < plot.x || x > plot.x + plot.width) return null;
    const scene = this.scene();
    return spotAt(scene, this.#instant(x), y, (3 * this.view.width) / plot.width);
  }

  #instant(x) {
    const { plot } = this.layout;
    return this.view.from + ((x - plot.x) / plot.width) * this.view.width;
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
