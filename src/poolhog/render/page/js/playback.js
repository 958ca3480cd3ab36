// Playing what is shown of a run: it appears as time passes, in one timeline or in several at once.

import { gapsOf } from "./averages.js";
import { waitingAt } from "./bins.js";
import { button, make, prefersStillness } from "./dom.js";
import { count, tickLabel, tickStep } from "./format.js";
import { LENT, STATES } from "./palette.js";

const SPEEDS = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const WHOLE_S = 8;
const CHOICES = 3;
const SETTLED_MS = 100;

/**
 * The speed at which a run of so many microseconds takes about eight seconds, and those around it.
 * @returns {{usual: number, offered: number[]}} multiples of real time
 */
export function speedsFor(length) {
  const wanted = length / 1e6 / WHOLE_S;
  const away = (speed) => Math.abs(Math.log(speed / wanted));
  const usual = SPEEDS.reduce((best, speed) => (away(speed) < away(best) ? speed : best));
  const at = SPEEDS.indexOf(usual);
  const near = SPEEDS.slice(Math.max(0, at - CHOICES), at + CHOICES + 1);
  return { usual, offered: [...new Set([...near, 1])].sort((a, b) => a - b) };
}

/**
 * How many connections are lent at an instant in each state, and how many requests wait.
 * @param {import("./timeline.js").Timeline} picture @param {number} instant
 */
function countsAt({ rows, steps }, instant) {
  const found = Object.fromEntries(STATES.map((state) => [state, 0]));
  for (let row = 0; row < rows.pools.count; row++) {
    const [item, end] = rows.pools.within(row, instant, Infinity);
    if (item < end && rows.pools.start[item] <= instant) found[STATES[rows.pools.state[item]]]++;
  }
  found.waiting = waitingAt(steps, instant);
  return found;
}

/** Play, pause, speed and scrub for timelines that share a view: of the stretch that this shows. */
export class Playback {
  /** @param {HTMLElement} element @param {import("./timeline.js").Timeline[]} pictures */
  constructor(element, pictures, { autoplay = false } = {}) {
    this.element = element;
    this.pictures = pictures;
    this.length = Math.max(...pictures.map((picture) => picture.side.length));
    this.at = this.length;
    this.playing = false;
    this.isChosen = false;
    this.shown = [];
    this.#build();
    this.#follow();
    if (autoplay && !prefersStillness()) this.play();
  }

  /** From where to where it plays: what the timelines show, up to the end of the run. */
  get range() {
    const { from, to } = this.pictures[0].view;
    return [Math.min(from, this.length), Math.min(to, this.length)];
  }

  /** Plays on, or from the beginning of what is shown if it is at its end or elsewhere. */
  play() {
    this.#follow();
    const [from, to] = this.range;
    if (this.at >= to || this.at < from) this.seek(from);
    this.playing = true;
    this.#name();
    let last = performance.now();
    const step = (now) => {
      if (!this.playing) return;
      this.seek(this.at + Math.max(0, now - last) * 1000 * this.speed);
      last = now;
      if (this.at >= this.range[1]) this.pause();
      else this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  /** Stops where it is. */
  pause() {
    this.playing = false;
    cancelAnimationFrame(this.frame);
    this.#name();
  }

  /** Goes to an instant of what is shown; at the end of it everything is drawn. */
  seek(instant) {
    const [from, to] = this.range;
    this.at = Math.min(to, Math.max(from, instant));
    const over = this.at >= to;
    for (const picture of this.pictures) picture.setPlayhead(over ? Infinity : this.at);
    const step = tickStep(to - from, 100);
    const label = (at) => tickLabel(Math.round(at / step) * step, step);
    this.scrub.value = String(this.at);
    this.scrub.setAttribute("aria-valuetext", label(this.at));
    const start = from > 0 ? ` (from ${label(from)})` : "";
    this.clock.textContent = `${label(this.at)} of ${label(to)}${start}`;
    this.pictures.forEach((picture, i) => {
      this.counts[i].textContent = over ? this.#summary(picture) : this.#now(picture);
    });
  }

  #build() {
    this.toggle = button("Play", () => (this.playing ? this.pause() : this.play()), { class: "play" });
    this.speeds = make("select", {
      onchange: (event) => {
        this.speed = Number(event.target.value);
        this.isChosen = true;
      },
    });
    this.scrub = make("input", {
      type: "range",
      min: 0,
      max: this.length,
      step: "any", // else an instant near an end is taken for the end, and Home and End do nothing
      "aria-label": "Instant that is shown",
      oninput: () => {
        this.pause();
        this.seek(Number(this.scrub.value));
      },
    });
    this.clock = make("span", { class: "clock" });
    this.counts = this.pictures.map(() => make("span"));
    this.element.classList.add("playback");
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", "Playback");
    const label = make("label", {}, "Speed ", this.speeds);
    const counts = make("p", { class: "counts" }, ...this.counts);
    this.element.append(this.toggle, this.scrub, this.clock, label, counts);
    this.pictures[0].view.listeners.add(() => {
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.#follow(), SETTLED_MS);
    });
  }

  /** Plays what is shown from now on, once it stands still, at a speed that suits it unless one was chosen. */
  #follow() {
    const [from, to] = this.range;
    if (from === this.shown[0] && to === this.shown[1]) return;
    const isOver = !this.shown.length || this.at >= this.shown[1];
    this.shown = [from, to];
    const { usual, offered } = speedsFor(to - from);
    const chosen = this.isChosen ? this.speed : usual;
    this.speed = chosen;
    const choices = [...new Set([...offered, chosen])].sort((a, b) => a - b);
    const options = choices.map((speed) =>
      make("option", { value: speed, selected: speed === chosen }, speed === 1 ? "real time" : `${speed} ×`),
    );
    this.speeds.replaceChildren(...options);
    this.scrub.min = from;
    this.scrub.max = to;
    this.seek(isOver && !this.playing ? to : this.at);
  }

  #name() {
    this.toggle.textContent = this.playing ? "Pause" : "Play";
  }

  #now(picture) {
    const { side } = picture;
    if (this.at > side.length) return `${this.#label(picture)}over`;
    if (gapsOf(side, this.at, this.at + 1).length) return this.#average(picture);
    const now = countsAt(picture, this.at);
    const lent = LENT.reduce((sum, state) => sum + now[state], 0);
    const parts = LENT.filter((state) => now[state]).map((state) => `${now[state]} ${state}`);
    const what = lent ? `${count(lent, "connection")} lent (${parts.join(", ")})` : "no connection lent";
    return `${this.#label(picture)}${what}, ${count(now.waiting, "request")} waiting`;
  }

  /** Where only averages are kept. */
  #average(picture) {
    const { bins, length } = picture.side;
    const bin = Math.min(bins.count - 1, Math.floor((this.at / length) * bins.count));
    const parts = LENT.filter((state) => bins[state][bin] >= 0.05);
    const lent = LENT.reduce((sum, state) => sum + bins[state][bin], 0);
    const told = parts.map((state) => `${bins[state][bin].toFixed(1)} ${state}`).join(", ");
    const what = `${lent.toFixed(1)} connections lent on average${told ? ` (${told})` : ""}`;
    return `${this.#label(picture)}${what}, ${bins.waiting[bin].toFixed(1)} requests waiting`;
  }

  #summary(picture) {
    const { steps } = picture;
    const most = `at most ${count(steps.most, "request")} waited at once`;
    return `${this.#label(picture)}${steps.most ? most : "no request waited"}`;
  }

  #label(picture) {
    return this.pictures.length > 1 ? `${picture.label || picture.side.label}: ` : "";
  }
}
