// What is shown, in the address behind its "#": to be sent to others, and to go back to.

import { textOf } from "./data.js";
import { STATES } from "./palette.js";

const SETTLED_MS = 350;

/**
 * Keeps the address as what is shown, and shows what the address says. Parts that it does not know,
 * or that cannot be shown, are ignored.
 */
export class Permalink {
  /** @param {{read: () => [string, string][], apply: (get: (name: string) => string) => void}[]} parts */
  constructor(parts) {
    this.parts = parts;
    this.timer = 0;
    this.written = this.text();
    addEventListener("popstate", () => this.follow());
  }

  /** What is shown, as it stands behind the "#"; "" for what is shown at first. */
  text() {
    const pairs = this.parts.flatMap((part) => part.read()).filter(([, value]) => value !== "");
    return new URLSearchParams(pairs).toString();
  }

  /** Something else is shown: the address will say so once it stays. */
  changed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.write(), SETTLED_MS);
  }

  /** Writes the address now; the one before stays in the history. */
  write() {
    clearTimeout(this.timer);
    const text = this.text();
    if (text === this.written) return;
    this.written = text;
    try {
      history.pushState(null, "", `#${text}`);
    } catch {
      // A viewer that shows the page in a frame may forbid it: then there is no address to keep.
    }
  }

  /** Shows what the address says; tells whether it says anything, and not only a section. */
  follow() {
    const text = location.hash.slice(1);
    if (text && !text.includes("=")) return false;
    const given = new URLSearchParams(text);
    for (const part of this.parts) part.apply((name) => given.get(name) ?? "");
    clearTimeout(this.timer);
    this.written = this.text();
    return text !== "";
  }
}

/** The window and the selection that timelines share. @param {import("./timeline.js").Timeline[]} pictures */
export function viewPart(pictures) {
  const { view } = pictures[0];
  const isWhole = () => view.from <= 0 && view.to >= view.length;
  return {
    read: () => [
      ["view", isWhole() ? "" : stretchText(view.from, view.to)],
      ["selection", view.selection ? stretchText(...view.selection) : ""],
    ],
    apply: (get) => {
      const [from, to] = stretchOf(get("view"), view.length) ?? [0, view.length];
      view.set(from, to);
      const selection = stretchOf(get("selection"), view.length);
      if (selection) view.select(...selection);
      else view.clear();
    },
  };
}

/** What one timeline shows besides. @param {import("./timeline.js").Timeline} picture @param {string} suffix */
export function timelinePart(picture, suffix) {
  const { side } = picture;
  const idOf = (request) => (request < 0 ? "" : textOf(side, side.requests.id[request]));
  return {
    read: () => [
      [`find${suffix}`, picture.query.trim()],
      [`request${suffix}`, idOf(picture.selected)],
      [`hide${suffix}`, STATES.filter((_, state) => picture.hidden[state]).join(",")],
      [`lanes${suffix}`, picture.all ? "all" : ""],
    ],
    apply: (get) => {
      const hidden = get(`hide${suffix}`).split(",");
      picture.states.show(STATES.map((name) => hidden.includes(name)));
      const query = get(`find${suffix}`);
      if (query !== picture.query) picture.tools.find(query);
      const all = get(`lanes${suffix}`) === "all";
      if (all !== picture.all) picture.showLanes(all);
      const id = get(`request${suffix}`);
      const request = id ? side.requests.id.findIndex((text) => side.texts[text] === id) : -1;
      if (request !== picture.selected) picture.select(request);
    },
  };
}

/** What a tree shows. @param {import("./tree.js").TreeView} view @param {string} suffix */
export function treePart(view, suffix) {
  const usual = view.choice;
  return {
    read: () => [
      [`time${suffix}`, view.choice === usual ? "" : view.choice],
      [`tree${suffix}`, view.isInverted ? "inverted" : ""],
      [`words${suffix}`, view.query.trim()],
      [`only${suffix}`, view.isFiltered ? "1" : ""],
      [`place${suffix}`, view.root ? String(view.root) : ""],
    ],
    apply: (get) => {
      const choice = get(`time${suffix}`);
      view.choose(view.choices.includes(choice) ? choice : usual);
      view.invert(get(`tree${suffix}`) === "inverted");
      view.filter(get(`only${suffix}`) === "1");
      view.find(get(`words${suffix}`));
      const place = get(`place${suffix}`);
      const node = /^\d{1,6}$/.test(place) ? Number(place) : 0;
      view.zoom(view.measure[node] > 0 ? node : 0);
    },
  };
}

/** What a table is filtered by. @param {HTMLInputElement} input @param {string} name */
export function filterPart(input, name) {
  return {
    read: () => [[name, input.value.trim()]],
    apply: (get) => {
      if (get(name) === input.value.trim()) return;
      input.value = get(name);
      input.dispatchEvent(new Event("input"));
    },
  };
}

function stretchText(from, to) {
  return `${Math.round(from)}-${Math.round(to)}`;
}

/** Two instants in order within a run, or `null`. */
function stretchOf(text, length) {
  const found = /^(\d{1,15})-(\d{1,15})$/.exec(text);
  if (!found) return null;
  const [from, to] = [Number(found[1]), Number(found[2])];
  return from < to && from < length && to <= length + 1 ? [from, to] : null;
}
