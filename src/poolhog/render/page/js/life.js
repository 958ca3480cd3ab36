// The picture of one request's life: its stages, equally wide, and bars for what was open in them.

import { STATES, textOf } from "./data.js";
import { make, makeSvg } from "./dom.js";
import { microseconds } from "./format.js";

const STAGE = 100;
const BETWEEN = 1;
const NARROWEST = 0.35;

/** Draws a life; all places are in percent of the width. */
export class Life {
  /** @param {object} life as it stands in the data @param {object} side decoded */
  constructor(life, side) {
    this.life = life;
    this.side = side;
    this.step = STAGE / life.stages.length;
    this.corners = this.#corners();
    this.figure = this.#figure();
  }

  /** Where an instant is; one between two stages belongs to the first if it is an end. */
  place(at, isEnd) {
    const { corners } = this;
    let after = corners.findIndex(([time]) => (isEnd ? time >= at : time > at));
    if (after < 1) after = after === 0 ? 1 : corners.length - 1;
    const [begin, left] = corners[after - 1];
    const [until, right] = corners[after];
    const share = until > begin ? (at - begin) / (until - begin) : 1;
    return left + (right - left) * Math.min(Math.max(share, 0), 1);
  }

  #corners() {
    const found = [[0, 0]];
    this.life.stages.forEach(([, start, length], index) => {
      const left = index * this.step;
      found.push([start, left], [start + length, left + this.step - BETWEEN]);
    });
    found.push([Math.max(this.life.ended_us, found.at(-1)[0]), STAGE]);
    return found;
  }

  #figure() {
    const { life } = this;
    const stages = make("ol", { class: "stages" });
    stages.style.setProperty("--stages", String(life.stages.length));
    for (const [name, , length] of life.stages) {
      stages.append(
        make("li", {}, make("span", {}, textOf(this.side, name)), make("b", {}, microseconds(length))),
      );
    }
    const sessions = life.sessions.map(([start, length]) => ["session", start, length, "session open"]);
    const held = life.holding.map(([state, start, length]) => [STATES[state], start, length, STATES[state]]);
    const open = life.transactions.map(([start, length]) => ["transaction", start, length, "transaction open"]);
    const rows = make(
      "div",
      { class: "rows" },
      this.#row("session open", sessions),
      this.#row("connection checked out", held.sort((a, b) => (a[0] === "busy") - (b[0] === "busy"))),
      this.#row("transaction open", open),
      ...this.#response(),
    );
    const caption =
      "Stages are drawn equally wide, in the order in which they ran. Bars begin and end inside the " +
      "stage in which they did, and are drawn at least a hair wide.";
    return make("figure", { class: "lifecycle" }, stages, rows, make("figcaption", { class: "quiet" }, caption));
  }

  #row(label, bars) {
    const told = bars.map(([, start, length, name]) => `${name} for ${microseconds(length)}, from ${microseconds(start)} on`);
    const picture = makeSvg("svg", {
      class: "bar",
      role: "img",
      "aria-label": `${label}: ${told.slice(0, 12).join("; ") || "none"}`,
      width: "100%",
      height: 16,
    });
    bars.forEach(([paint, start, length], index) => {
      const right = this.place(start + length, true);
      const left = Math.min(this.place(start, false), STAGE - NARROWEST);
      const width = Math.max(right - left, NARROWEST);
      const bar = makeSvg("rect", { class: paint, x: `${left}%`, width: `${width}%`, height: 16 });
      bar.append(makeSvg("title", {}, told[index]));
      picture.append(bar);
    });
    const none = bars.length ? "" : make("span", { class: "quiet" }, " none");
    return make("div", { class: "row" }, make("p", { class: "row-name" }, label, none), picture);
  }

  #response() {
    if (this.life.responding_us < 0) return [];
    const x = (this.place(this.life.responding_us, true) + this.place(this.life.responding_us, false)) / 2;
    const mark = make("div", { class: "response-mark" }, make("span", {}, "response sent"));
    mark.style.setProperty("--at", `${x}%`);
    mark.classList.toggle("late", x > 60);
    return [mark];
  }
}
