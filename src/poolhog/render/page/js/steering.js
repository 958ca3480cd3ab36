// What the reader does on the timeline: point at a span, click it, walk over the lanes by keys.

import { gapsOf, partLength } from "./averages.js";
import { factsOf, middleOf, ownerOf, spotAt, stepped } from "./cursor.js";
import { requestName } from "./data.js";
import { averageFacts, spoken } from "./details.js";
import { followPointer, moveByKey } from "./input.js";

const REACH = 3;
const WAYS = { ArrowUp: "up", ArrowDown: "down", ",": "before", ".": "after" };

/** Watches the stage of a timeline. */
export class Steering {
  /** @param {import("./timeline.js").Timeline} picture */
  constructor(picture) {
    this.picture = picture;
    this.cursor = null;
    this.hovered = null;
    const { stage } = picture;
    followPointer(stage, () => picture.view, {
      instantAt: (x) => this.#instant(x),
      usPerPixel: () => picture.view.width / picture.layout.plot.width,
      click: (x, y) => this.#click(x, y),
      hover: (x, y) => this.#hover(x, y),
      leave: () => this.#hover(-1, -1),
    });
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("blur", () => this.#rove(null));
  }

  /** What is to be framed, and in which paint. */
  marked() {
    const found = [[this.hovered, "ink"], [this.cursor, "accent"]];
    return found.filter(([spot]) => spot);
  }

  #click(x, y) {
    const { picture } = this;
    const spot = this.#spot(x, y);
    if (spot) picture.select(ownerOf(spot));
    else if (picture.selected >= 0) picture.select(-1);
    this.#hover(x, y);
  }

  #hover(x, y) {
    const { picture } = this;
    const spot = this.#spot(x, y);
    const facts = spot ? factsOf(picture.scene(), spot) : this.#averageAt(x, y);
    picture.stage.classList.toggle("on-span", spot !== null);
    if (facts) picture.card.show(facts, x, y);
    else picture.card.hide();
    if (spot?.rows === this.hovered?.rows && spot?.item === this.hovered?.item) return;
    this.hovered = spot;
    picture.redraw();
  }

  /** What the averages say at a point, if averages are drawn there. */
  #averageAt(x, y) {
    const { side, layout, playhead, averages } = this.picture;
    const at = this.#instant(x);
    if (x < layout.plot.x || y < layout.axis || at > Math.min(playhead, side.length)) return null;
    if (!averages && !gapsOf(side, at, at + 1).length) return null;
    const scene = this.picture.scene();
    return averageFacts(scene, at, partLength(scene));
  }

  #key(event) {
    const { picture } = this;
    if (moveByKey(event, picture.view)) event.preventDefault();
    else if (Object.hasOwn(WAYS, event.key)) {
      event.preventDefault();
      this.#rove(WAYS[event.key]);
    } else if (event.key === "Enter" && this.cursor) {
      picture.select(ownerOf(this.cursor));
      picture.live.textContent = `Following ${requestName(picture.side, picture.selected)}`;
    } else if (event.key === "Escape") {
      picture.select(-1);
      this.#rove(null);
    }
  }

  /** Moves the cursor, and says what is there; `null` takes it away. */
  #rove(way) {
    const { picture } = this;
    const scene = picture.scene();
    this.cursor = way && !picture.averages ? stepped(scene, this.cursor, way) : null;
    if (this.cursor) this.#tell(scene);
    else if (way) {
      const middle = (scene.from + scene.to) / 2;
      picture.live.textContent = spoken(averageFacts(scene, middle, partLength(scene)));
    } else picture.card.hide();
    picture.redraw();
  }

  #tell({ from, to }) {
    const { picture, cursor } = this;
    const { rows, item } = cursor;
    if (rows.end[item] < from || rows.start[item] > to) {
      const middle = (rows.start[item] + rows.end[item]) / 2;
      picture.view.set(middle - (to - from) / 2, middle + (to - from) / 2);
    }
    const scene = picture.scene();
    const facts = factsOf(scene, cursor);
    picture.card.show(facts, ...middleOf(scene, cursor));
    picture.live.textContent = spoken(facts);
  }

  #spot(x, y) {
    const { picture } = this;
    const { plot } = picture.layout;
    if (picture.averages || x < plot.x || x > plot.x + plot.width) return null;
    const at = this.#instant(x);
    if (at > picture.playhead) return null;
    return spotAt(picture.scene(), at, y, (REACH * picture.view.width) / plot.width);
  }

  #instant(x) {
    const { view, layout } = this.picture;
    return view.from + ((x - layout.plot.x) / layout.plot.width) * view.width;
  }
}
