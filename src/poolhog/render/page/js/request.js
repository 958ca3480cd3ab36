// One request: its stages, equally wide, what was open meanwhile, and what happened step by step.

import { commandLine, logCommand, placeLink } from "./commands.js";
import { placeOf, requestId, textOf } from "./data.js";
import { make, makeSvg } from "./dom.js";
import { count, microseconds, separated, whole } from "./format.js";
import { BUSY, LENT, PARKED, STATES, WAITING } from "./palette.js";

const MOST_CHOICES = 300;
// Of the picture, in percent of its width: the whole, between two stages, and the narrowest bar.
const STAGE = 100;
const BETWEEN = 1;
const NARROWEST = 0.35;

/** The section of one side: a choice of requests, and the one that is chosen. */
export class RequestView {
  /** @param {HTMLElement} element @param {object} side decoded @param {string} label of the side */
  constructor(element, side, label = "") {
    this.side = side;
    this.label = label;
    this.onSelect = () => {};
    this.byRequest = new Map(side.lives.map((life, index) => [life.request, index]));
    this.chooser = make("select", { "aria-label": `The request${label ? ` of ${label}` : ""}` });
    this.chooser.append(...side.lives.slice(0, MOST_CHOICES).map((life, index) => this.#choice(life, index)));
    this.chooser.addEventListener("change", () => {
      const life = side.lives[Number(this.chooser.value)];
      this.show(life.request);
      this.onSelect(life.request);
    });
    this.body = make("div", { class: "life", "aria-live": "polite" });
    const told = make("p", { class: "quiet" }, this.#told());
    element.append(make("label", { class: "choose" }, make("span", {}, "Request"), this.chooser), told, this.body);
    if (side.lives.length) this.show(side.lives[0].request);
  }

  /** Shows a request, by its number; one that is not told step by step, says so. */
  show(request) {
    const index = this.byRequest.get(request);
    if (index === undefined) {
      const words = `Request ${requestId(this.side, request)} is not among those that are told step by step here.`;
      const command = commandLine(logCommand(this.side, request));
      this.body.replaceChildren(make("p", { class: "nothing" }, words), ...command);
      return;
    }
    this.chooser.value = String(index);
    const life = this.side.lives[index];
    this.body.replaceChildren(this.#head(life), ...this.#picture(life), this.#log(life));
  }

  #told() {
    const all = this.side.requests.size + this.side.leftOut.requests;
    const lives = this.side.lives.length;
    if (lives === all) return "All of them are here, those worth a look first.";
    return `${whole(lives)} of ${count(all, "request")} are told step by step: those of the findings, and the slowest.`;
  }

  #choice(life, index) {
    const { requests } = this.side;
    const name = textOf(this.side, requests.name[life.request]);
    const path = textOf(this.side, requests.path[life.request]);
    const where = path && !name.endsWith(path) ? ` (${path})` : "";
    const words = `${requestId(this.side, life.request)} ${name}${where}, ${microseconds(life.ended_us)}`;
    return make("option", { value: index }, words);
  }

  #head(life) {
    const { requests } = this.side;
    const status = requests.status[life.request];
    const [wait, ...lent] = life.spent;
    const parts = [`waited ${microseconds(wait)}`];
    for (const [index, us] of lent.entries()) {
      if (us > 0) parts.push(`${LENT[index]} ${microseconds(us)}`);
    }
    const answer = status > 0 ? `, answered ${status}` : "";
    return make(
      "div",
      { class: "life-head" },
      make("h3", {}, `${requestId(this.side, life.request)} ${textOf(this.side, requests.name[life.request])}`),
      make("p", { class: "life-verdict" }, textOf(this.side, life.verdict)),
      make("p", { class: "quiet" }, `${microseconds(life.ended_us)}${answer}; ${count(life.checkouts, "checkout")}: ${parts.join(", ")}.`),
      ...commandLine(logCommand(this.side, life.request)),
    );
  }

  #picture(life) {
    if (!life.stages.length) return [];
    return [new Life(life, this.side).figure];
  }

  #log(life) {
    const list = make("ol", { class: "log", "aria-label": "What happened, step by step" });
    for (const line of life.log) list.append(this.#line(line));
    const more = [[life.lines_left_out, "more line"], [life.operations_left_out, "more operation"]];
    for (const [number, noun] of more) {
      if (number) list.append(make("li", { class: "quiet" }, make("span", {}), make("span", {}, `… and ${count(number, noun)}`)));
    }
    return list;
  }

  #line([at, text, isResponse, state, length, site]) {
    const place = placeOf(this.side, site);
    const lasted = length >= 500 ? ` for ${microseconds(length)}` : "";
    const what = make("span", { class: "what" });
    if (state >= 0) what.append(swatch(STATES[state]), " ", make("b", {}, textOf(this.side, text)), lasted);
    else what.append(make("code", {}, textOf(this.side, text)), lasted);
    if (place) {
      const source = state > WAITING && place.source ? make("code", { class: "of" }, place.source) : "";
      what.append(make("span", { class: "quiet where" }, " ", placeLink(this.side, site, place.where.replace(/^.*[\\/]/, "")), " ", source));
    }
    return make("li", { class: isResponse ? "response" : state === PARKED ? "hog" : null }, make("time", {}, `${milliseconds(at)}`), what);
  }
}

/** A little box in the colour and texture of a state. */
function swatch(state) {
  return makeSvg(
    "svg",
    { class: "sample", "aria-hidden": "true", width: 16, height: 12 },
    makeSvg("rect", { class: state, width: 16, height: 12, rx: 2 }),
  );
}

function milliseconds(us) {
  return `${separated((us / 1000).toFixed(2))} ms`;
}

/** Draws a life; all places are in percent of the width. */
class Life {
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
      this.#row("connection checked out", held.sort((a, b) => (a[0] === STATES[BUSY]) - (b[0] === STATES[BUSY]))),
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
