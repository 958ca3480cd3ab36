// The window of time that is looked at, shared by pictures that move together.

import { prefersStillness } from "./dom.js";

const NARROWEST = 20;
const GLIDE_MS = 220;

/** From where to where; microseconds. Tells its listeners when it moves. */
export class View {
  /** @param {number} length of the whole */
  constructor(length) {
    this.length = length;
    this.from = 0;
    this.to = length;
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

  #move(from, to) {
    if (from === this.from && to === this.to) return;
    this.from = from;
    this.to = to;
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
