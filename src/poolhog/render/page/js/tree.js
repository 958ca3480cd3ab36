// Where connection time goes: a tree of routes and stacks as a picture, and the same as a table.

import { filtered, inverted, measured, nodeName, nodeText, pathTo, placed, searched, treeOf } from "./calltree.js";
import { placeLink } from "./commands.js";
import { placeOf } from "./data.js";
import { Card, spoken } from "./details.js";
import { button, make, save } from "./dom.js";
import { count, microseconds, percent, whole } from "./format.js";
import { LENT, NONE, PAINTS, PARKED, STATES } from "./palette.js";
import { CanvasSurface, fileName, fitted, paletteOf, standalone, SvgSurface } from "./surface.js";

const ROW = 30;
const STRIP = 6;
const LEAST = 1.5;
const MOST_ROWS = 12;
// What holds without use comes first.
const CHOSEN = STATES[PARKED];
const CHOICES = Object.fromEntries([CHOSEN, ...LENT, "all"].map((name) => [name, name === "all" ? LENT : [name]]));
const KEYS = {
  ArrowUp: (rows, at) => rows.findIndex((one) => one.node === rows[at].parent),
  ArrowDown: (rows, at) => rows.findIndex((one) => one.parent === rows[at].node),
  ArrowLeft: (rows, at) => rows.findLastIndex((one, i) => i < at && one.row === rows[at].row),
  ArrowRight: (rows, at) => rows.findIndex((one, i) => i > at && one.row === rows[at].row),
  Home: () => 0,
  End: (rows) => rows.length - 1,
};

/** The picture of a side's tree, with its controls and its table. It is drawn once it has a size. */
export class TreeView {
  /** @param {HTMLElement} element @param {ReturnType<typeof import("./data.js").decode>} side */
  constructor(element, side) {
    this.element = element;
    this.side = side;
    this.outward = treeOf(side);
    this.tree = this.outward;
    this.isInverted = false;
    this.isFiltered = false;
    this.root = 0;
    this.query = "";
    this.onSelect = () => {};
    this.onChange = () => {};
    this.choices = Object.keys(CHOICES);
    this.choice = this.tree.spent[CHOSEN][0] > 0 ? CHOSEN : "all";
    this.rows = [];
    this.#arrange();
    this.#build();
  }

  /** Shows a node over the whole width, and tells so. */
  zoom(node) {
    this.root = node;
    this.draw();
    this.onSelect(node);
  }

  /** Chooses which time is shown: a state, or `all`. */
  choose(choice) {
    this.choice = choice;
    this.chooser.value = choice;
    this.#arrange();
    this.draw();
  }

  /** Marks the nodes that have these words, or shows only these. */
  find(query) {
    this.query = query;
    this.finder.value = query;
    this.#arrange();
    this.draw();
  }

  /** Shows the lines first and their callers below them, or the routes first. */
  invert(isInverted) {
    if (isInverted === this.isInverted) return;
    this.isInverted = isInverted;
    this.inverter.setAttribute("aria-pressed", isInverted);
    this.root = 0;
    this.#arrange();
    this.draw();
  }

  /** Shows only the paths through nodes that were found, or all. */
  filter(isFiltered) {
    this.isFiltered = isFiltered;
    this.filterer.setAttribute("aria-pressed", isFiltered);
    this.#arrange();
    this.draw();
  }

  /** Computes what each node counts for, as it was chosen. */
  #arrange() {
    const states = CHOICES[this.choice];
    if (this.isInverted) this.inward ??= inverted(this.outward);
    const whole = this.isInverted ? this.inward : this.outward;
    this.whole = measured(whole, states)[0];
    this.search = searched(whole, measured(whole, states), this.query);
    this.tree = this.isFiltered && this.query.trim() ? filtered(whole, this.search.matches) : whole;
    this.measure = measured(this.tree, states);
    if (!(this.measure[this.root] > 0)) this.root = 0;
  }

  /** Draws the picture, its table and the way to it. */
  draw() {
    const width = this.pane.clientWidth;
    if (!width) return;
    const { tree, measure, search } = this;
    const drawn = placed(tree, measure, this.root, width, LEAST);
    this.rows = drawn.map((one) => ({ ...one, parent: tree.parent[one.node] }));
    this.#paint(this.surface, width, search);
    const share = percent(this.whole ? search.sum / this.whole : 0);
    this.found.textContent = this.query.trim() ? `${count(search.found, "place")}, ${share}` : "";
    this.surface.element.setAttribute("aria-label", this.#conclusion());
    this.empty.textContent = this.rows.length ? "" : this.#nothing();
    this.filterer.disabled = !this.query.trim();
    this.onChange();
    this.#crumbs();
    this.#table();
  }

  /** What is on the screen as a file of its own. */
  svg() {
    const palette = paletteOf(this.element);
    const surface = new SvgSurface((paint) => palette[paint], this.ruler);
    this.#paint(surface, this.pane.clientWidth, this.search);
    return standalone(surface.element, `${this.side.label}: where connection time goes`, this.#conclusion());
  }

  #build() {
    this.ruler = new CanvasSurface(make("canvas"), paletteOf(this.element));
    this.surface = new SvgSurface((paint) => `var(--${paint})`, this.ruler);
    const { element: svg } = this.surface;
    svg.setAttribute("role", "tree");
    this.card = new Card();
    this.empty = make("p", { class: "empty" });
    this.pane = make("div", { class: "tree-pane" }, svg, this.card.element, this.empty);
    this.crumbs = make("nav", { class: "tools crumbs", "aria-label": `Way to the shown place of ${this.side.label}` });
    this.found = make("output", { class: "found", "aria-live": "polite" });
    const region = { tabindex: 0, role: "region", "aria-label": `Places by connection time of ${this.side.label}` };
    this.list = make("div", { class: "scroll tree-table", ...region });
    const options = Object.keys(CHOICES).map((name) =>
      make("option", { value: name, selected: name === this.choice }, name === "all" ? "all use" : name),
    );
    this.chooser = make("select", { onchange: (event) => this.choose(event.target.value) }, ...options);
    const pressed = (press) => press.getAttribute("aria-pressed") === "true";
    this.inverter = button("From the line out", () => this.invert(!pressed(this.inverter)), {
      "aria-pressed": "false",
      title: "Lines first, and below each of them who called it",
    });
    this.filterer = button("Only these", () => this.filter(!pressed(this.filterer)), {
      "aria-pressed": "false",
      "aria-label": "Show only what was found",
      disabled: true,
    });
    this.finder = make("input", {
      type: "search",
      placeholder: "Find a route, function or line",
      "aria-label": "Find a route, function or line",
      oninput: (event) => this.find(event.target.value),
    });
    const tools = make(
      "div",
      { class: "toolbar" },
      make("div", { class: "tools" }, make("label", { class: "tools" }, "Show time that was ", this.chooser), this.inverter),
      make("div", { class: "tools finder", role: "search", "aria-label": `Places of ${this.side.label}` }, this.finder, this.filterer, this.found),
      button("Save as SVG", () => this.#save()),
    );
    const picture = make("div", { class: "tree-side" }, this.crumbs, this.pane);
    const body = make("div", { class: "tree-body" }, picture, this.list);
    this.element.classList.add("tree");
    this.element.append(tools, body);
    this.#listen(svg);
  }

  #save() {
    save(fileName("poolhog", this.side.label, "connection time"), "image/svg+xml", this.svg());
  }

  #listen(svg) {
    const at = (event) => {
      const group = event.target.closest?.("[data-node]");
      return group ? this.rows.findIndex((one) => one.node === Number(group.dataset.node)) : -1;
    };
    svg.addEventListener("click", (event) => {
      const index = at(event);
      if (index < 0) return;
      this.zoom(this.rows[index].node);
      this.#focus(0);
    });
    svg.addEventListener("pointermove", (event) => {
      const box = this.pane.getBoundingClientRect();
      this.#tell(at(event), event.clientX - box.left, event.clientY - box.top);
    });
    svg.addEventListener("pointerleave", () => this.card.hide());
    svg.addEventListener("focusin", (event) => {
      const index = at(event);
      const one = this.rows[index];
      if (!one || !event.target.matches(":focus-visible")) return;
      this.#tell(index, one.x + one.width / 2, one.row * ROW + ROW / 2);
    });
    svg.addEventListener("focusout", () => this.card.hide());
    svg.addEventListener("keydown", (event) => this.#key(event, at(event)));
    let width = 0;
    new ResizeObserver(() => {
      if (width !== this.pane.clientWidth) this.draw();
      width = this.pane.clientWidth;
    }).observe(this.pane);
  }

  #key(event, index) {
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (Object.hasOwn(KEYS, event.key)) {
      event.preventDefault();
      this.#focus(KEYS[event.key](this.rows, index));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.zoom(this.rows[index].node);
      this.#focus(0);
    } else if ((event.key === "Escape" || event.key === "Backspace") && this.root) {
      event.preventDefault();
      const { root } = this;
      this.zoom(this.tree.parent[root]);
      this.#focus(this.rows.findIndex((one) => one.node === root));
    }
  }

  /** Moves the focus to a drawn node; only one of them is a stop of the Tab key. */
  #focus(index) {
    const groups = this.surface.element.querySelectorAll("[data-node]");
    if (index < 0 || !groups[index]) return;
    for (const group of groups) group.setAttribute("tabindex", -1);
    groups[index].setAttribute("tabindex", 0);
    groups[index].focus();
  }

  #paint(surface, width, search) {
    const deepest = this.rows.reduce((most, one) => Math.max(most, one.row), -1);
    surface.begin(width, Math.max(1, (deepest + 1) * ROW));
    this.rows.forEach((one, i) => {
      const dim = !this.isFiltered && this.query.trim() && !search.matches[one.node];
      const facts = {
        role: "treeitem",
        "aria-level": one.row + 1,
        "aria-selected": one.node === this.root,
        "aria-label": spoken(this.#facts(one.node)),
        "data-node": one.node,
        tabindex: i ? -1 : 0,
        class: dim ? "node dim" : "node",
        opacity: dim ? 0.35 : null,
      };
      surface.group(facts, () => this.#paintNode(surface, one));
    });
  }

  /** A bar with its name, and below it how its time is made up of states. */
  #paintNode(surface, { node, x, width, row }) {
    const y = row * ROW;
    const wide = Math.max(0.5, width - 1);
    surface.rect("track", x, y, wide, ROW - 1);
    surface.rect(this.choice === "all" ? "plain" : this.choice, x, y, wide, ROW - 1 - STRIP, 0.16);
    const states = CHOICES[this.choice];
    let left = x;
    for (const state of states) {
      const part = (this.tree.spent[state][node] / this.measure[node]) * wide;
      if (part > 0) surface.rect(state, left, y + ROW - 1 - STRIP, part, STRIP);
      left += part;
    }
    const names = this.#names(node);
    const room = wide - 10;
    const roomy = names.find((one) => surface.textWidth(one, 12) <= room);
    const name = roomy ?? fitted(surface, names.at(-1), room, 12);
    if (name) surface.text(name, x + 5, y + 16, { size: 12 });
  }

  /** Names of a node, the longest first. */
  #names(node) {
    const name = nodeName(this.tree, node);
    const place = placeOf(this.side, this.tree.site[node]);
    const spent = `${microseconds(this.measure[node])}, ${this.#share(node)}`;
    const short = place ? `${name} (${fileOf(place)})` : name;
    return [`${short}: ${spent}`, short, name];
  }

  #share(node) {
    return percent(this.measure[node] / this.whole);
  }

  #facts(node) {
    const { tree, side } = this;
    const place = placeOf(side, tree.site[node]);
    const lines = [["of", nodeName(tree, node)]];
    if (place) lines.push(["at", place.where]);
    if (place?.source) lines.push(["code", place.source]);
    for (const state of LENT) {
      if (tree.spent[state][node]) lines.push([state, microseconds(tree.spent[state][node])]);
    }
    if (tree.checkouts) lines.push(["in", count(tree.checkouts[node], "checkout")]);
    const state = this.choice === "all" ? PAINTS[NONE] : this.choice;
    return { state, head: `${microseconds(this.measure[node])} ${this.#doing()}: ${this.#share(node)}`, lines };
  }

  #nothing() {
    const found = this.isFiltered && this.query.trim() ? "Nothing that was found" : "No connection";
    return `${found} was ${this.#doing()}.`;
  }

  #doing() {
    return this.choice === "all" ? "in use" : this.choice;
  }

  #tell(index, x, y) {
    if (index < 0) this.card.hide();
    else this.card.show(this.#facts(this.rows[index].node), x, y);
  }

  #crumbs() {
    const crumb = (node) => {
      const here = { "aria-current": node === this.root ? "location" : null };
      return button(nodeName(this.tree, node), () => this.zoom(node), here);
    };
    this.crumbs.replaceChildren(...pathTo(this.tree, this.root).map(crumb));
  }

  #conclusion() {
    const { measure, tree } = this;
    const [, largest] = placed(tree, measure, 0, 1, 0).map((one) => one.node);
    const most = largest === undefined ? "" : `; most of it by ${nodeName(tree, largest)}, ${this.#share(largest)}`;
    const way = this.isInverted ? ", from the line out" : "";
    return `Where connection time goes${way}: ${microseconds(measure[0])} ${this.#doing()}${most}`;
  }

  #table() {
    const { measure } = this;
    const inside = this.rows.slice(1);
    inside.sort((a, b) => measure[b.node] - measure[a.node] || a.row - b.row);
    const rows = inside.slice(0, MOST_ROWS);
    const left = inside.length > rows.length ? `; the ${rows.length} largest of ${inside.length}` : "";
    const caption = make("caption", {}, `By time ${this.#doing()}, with what is below each${left}`);
    const names = ["place", "share", ...LENT, ...(this.tree.checkouts ? ["checkouts"] : [])];
    const heads = names.map((name) => make("th", { scope: "col" }, name));
    const body = make("tbody", {}, ...rows.map(({ node }) => this.#row(node)));
    const head = make("thead", {}, make("tr", {}, ...heads));
    this.list.replaceChildren(make("table", {}, caption, head, body));
  }

  #row(node) {
    const { tree } = this;
    const hint = { class: "link", title: nodeText(tree, node) };
    const name = button(nodeName(tree, node), () => this.zoom(node), hint);
    const place = placeOf(this.side, tree.site[node]);
    const where = place ? make("span", { class: "quiet" }, " ", placeLink(this.side, tree.site[node], fileOf(place))) : "";
    const spent = LENT.map((state) => microseconds(tree.spent[state][node]));
    const checkouts = tree.checkouts ? [whole(tree.checkouts[node])] : [];
    const cells = [this.#share(node), ...spent, ...checkouts];
    const head = make("th", { scope: "row" }, name, where);
    return make("tr", {}, head, ...cells.map((cell) => make("td", {}, cell)));
  }
}

/** A place without its folders. */
function fileOf(place) {
  return place.where.split(/[\\/]/).at(-1);
}
