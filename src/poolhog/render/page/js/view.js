// The window of time that pictures show together, what is selected in it, and how wheel, pointer, fingers and keys move it.

import { prefersStillness } from "./dom.js";

const NARROWEST = 20;
const GLIDE_MS = 220;

/** From where to where, and the selection; microseconds. Tells its listeners when one of them changes. */
export class View {
  /** @param {number} length of the whole */
  constructor(length) {
    this.length = length;
    this.from = 0;
    this.to = length;
    this.selection = null;
    this.listeners = new Set();
    this.gliding = 0;
  }

  get width() {
    return this.to - this.from;
  }

  /** Looks from one instant to another, cut to the whole; `glide`: not at once. */
  set(from, to, { glide = false } = {}) {
    const [low, high] = clamped(from, to, this.length);
    cancelAnimationFrame(this.gliding);
    if (glide && !prefersStillness()) this.#glide(low, high);
    else this.#move(low, high);
  }

  /** Makes the window this many times as long, while one instant stays where it is. */
  zoom(factor, at = (this.from + this.to) / 2, options = {}) {
    const width = Math.min(this.length, Math.max(NARROWEST, this.width * factor));
    const scale = width / this.width;
    const from = at - (at - this.from) * scale;
    this.set(from, from + width, options);
  }

  /** Moves the window by so many microseconds. */
  pan(by, options = {}) {
    this.set(this.from + by, this.to + by, options);
  }

  /** Looks at everything. */
  whole(options = {}) {
    this.set(0, this.length, options);
  }

  /** Selects from one instant to another, in any order, cut to the whole. */
  select(one, other) {
    const inside = (at) => Math.round(Math.min(this.length, Math.max(0, at)));
    const [from, to] = [inside(Math.min(one, other)), inside(Math.max(one, other))];
    this.selection = to > from ? [from, to] : null;
    this.#tell();
  }

  /** Selects nothing. */
  clear() {
    if (!this.selection) return;
    this.selection = null;
    this.#tell();
  }

  #move(from, to) {
    if (from === this.from && to === this.to) return;
    this.from = from;
    this.to = to;
    this.#tell();
  }

  #tell() {
    for (const listener of this.listeners) listener();
  }

  #glide(from, to) {
    const began = performance.now();
    const before = [this.from, this.to];
    const step = (now) => {
      const passed = Math.min(1, Math.max(0, now - began) / GLIDE_MS);
      const eased = 1 - (1 - passed) ** 3;
      const along = (a, b) => (passed === 1 ? b : a + (b - a) * eased);
      this.#move(along(before[0], from), along(before[1], to));
      if (passed < 1) this.gliding = requestAnimationFrame(step);
    };
    this.gliding = requestAnimationFrame(step);
  }
}

/** A window of at least the narrowest width within the whole. */
export function clamped(from, to, length) {
  const width = Math.min(length, Math.max(NARROWEST, to - from));
  const low = Math.min(Math.max(0, from), length - width);
  return [low, low + width];
}

const WHEEL_PAUSE_MS = 250;
const DRAG_FROM = 4;

let lastWheelElsewhere = 0;
let watched = false;

/**
 * Lets wheel and pinch over an element move a view, and a finger that drags; a mouse that drags
 * selects, and moves the view while Shift is held.
 * @param {HTMLElement} element
 * @param {() => View} current the view, as it may be replaced
 * @param {{instantAt: (x: number) => number, usPerPixel: () => number,
 *   click: (x: number, y: number) => void, hover: (x: number, y: number) => void,
 *   leave: () => void}} picture `x` and `y` are CSS pixels in the element
 */
export function followPointer(element, current, picture) {
  watchWheel();
  element.addEventListener("wheel", (event) => onWheel(event, current(), picture), { passive: false });
  const pointers = new Map();
  let dragged = 0;
  let anchor = 0;
  const place = (event) => {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (!pointers.size) dragged = 0;
    const at = place(event);
    pointers.set(event.pointerId, at);
    anchor = picture.instantAt(at.x);
  });
  element.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = pointers.get(event.pointerId);
    if (!before) return picture.hover(now.x, now.y);
    const rest = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    pointers.set(event.pointerId, now);
    dragged += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    if (dragged < DRAG_FROM) return undefined;
    if (!element.hasPointerCapture(event.pointerId)) element.setPointerCapture(event.pointerId);
    picture.leave();
    if (rest.length) pinch(current(), picture, before.x, now.x, rest[0].x);
    else if (event.pointerType === "touch" || event.shiftKey) current().pan((before.x - now.x) * picture.usPerPixel());
    else current().select(anchor, Math.min(current().to, Math.max(current().from, picture.instantAt(now.x))));
    return undefined;
  });
  const up = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (event.type === "pointerup" && dragged < DRAG_FROM) {
      const { x, y } = place(event);
      picture.click(x, y);
    }
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", () => picture.leave());
}

/**
 * What a key does to a view: arrows pan, plus and minus zoom, Home and End go to the ends, 0 shows
 * everything. Tells whether the key was one of these.
 * @param {KeyboardEvent} event @param {View} view
 */
export function moveByKey(event, view) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const step = view.width * (event.shiftKey ? 0.5 : 0.1);
  const moves = {
    ArrowLeft: () => view.pan(-step),
    ArrowRight: () => view.pan(step),
    "+": () => view.zoom(1 / 1.5),
    "=": () => view.zoom(1 / 1.5),
    "-": () => view.zoom(1.5),
    _: () => view.zoom(1.5),
    Home: () => view.set(0, view.width),
    End: () => view.set(view.length - view.width, view.length),
    0: () => view.whole(),
  };
  const move = Object.hasOwn(moves, event.key) ? moves[event.key] : null;
  move?.();
  return move !== null;
}

/** The instant under each finger stays under it. */
function pinch(view, picture, before, now, other) {
  const spread = Math.max(8, Math.abs(before - other));
  const wider = Math.max(8, Math.abs(now - other));
  view.zoom(spread / wider, picture.instantAt(other));
}

/**
 * The wheel zooms at the pointer, and pans sideways. It is the page's where the picture shows
 * everything already, and where the reader is just scrolling past.
 */
function onWheel(event, view, picture) {
  if (performance.now() - lastWheelElsewhere < WHEEL_PAUSE_MS && !event.ctrlKey) {
    lastWheelElsewhere = performance.now();
    return;
  }
  const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
  const sideways = event.shiftKey ? event.deltaX + event.deltaY : event.deltaX;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    if (view.width >= view.length) return;
    event.preventDefault();
    view.pan(sideways * unit * picture.usPerPixel());
    return;
  }
  if (event.deltaY > 0 && view.width >= view.length) return;
  event.preventDefault();
  const factor = Math.exp(Math.max(-240, Math.min(240, event.deltaY * unit)) * 0.0025);
  view.zoom(factor, picture.instantAt(event.offsetX));
}

function watchWheel() {
  if (watched) return;
  watched = true;
  const note = (event) => {
    if (!event.target.closest?.("[data-zooms]")) lastWheelElsewhere = performance.now();
  };
  addEventListener("wheel", note, { passive: true, capture: true });
}
