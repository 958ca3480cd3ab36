// Pictures as SVG: drawn in the words of a canvas, to be saved or printed.

import { makeSvg } from "./dom.js";
import { FONT, TEXTURED_FROM, inkOn, texturesOf } from "./surface.js";

const NOT_IN_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

let surfaces = 0;

/**
 * Draws into an SVG element of its own (`element`), as `CanvasSurface` draws on a canvas.
 */
export class SvgSurface {
  /**
   * @param {(paint: string) => string} colour of a paint: a literal for a file that stands alone, or
   *   a CSS variable for a picture on the page
   * @param {import("./surface.js").CanvasSurface} ruler which measures texts, and has a palette
   */
  constructor(colour, ruler) {
    this.colour = colour;
    this.inkOn = (paint) => inkOn(ruler.palette[paint]);
    this.textWidth = (content, size, weight) => ruler.textWidth(content, size, weight);
    this.prefix = `picture${++surfaces}-`;
    this.element = makeSvg("svg", { xmlns: "http://www.w3.org/2000/svg", "font-family": FONT });
  }

  /** Begins a picture of this size. */
  begin(width, height) {
    const [w, h] = [short(width), short(height)];
    for (const [name, value] of [["width", w], ["height", h], ["viewBox", `0 0 ${w} ${h}`]]) {
      this.element.setAttribute(name, value);
    }
    this.element.replaceChildren();
    this.defs = this.#add("defs");
    this.into = this.element;
    this.textures = new Set();
    this.rect("card", 0, 0, width, height);
  }

  /** Fills rectangles: four numbers each, in one flat array, as on a canvas. */
  rects(paint, quads, length, alpha = 1) {
    let plain = "";
    let wide = "";
    for (let i = 0; i < length; i += 4) {
      const [x, y, w, h] = [quads[i], quads[i + 1], quads[i + 2], quads[i + 3]].map(short);
      const path = `M${x},${y}h${w}v${h}h-${w}z`;
      plain += path;
      if (quads[i + 2] >= TEXTURED_FROM) wide += path;
    }
    this.#fill(paint, plain, wide, alpha);
  }

  /** One rectangle. */
  rect(paint, x, y, width, height, alpha = 1) {
    this.rects(paint, [x, y, width, height], 4, alpha);
  }

  /** The outline of a rectangle. */
  frame(paint, x, y, width, height, stroke = 2) {
    const place = { x: short(x), y: short(y), width: short(width), height: short(height) };
    this.#add("rect", { ...place, fill: "none", stroke: this.colour(paint), "stroke-width": stroke });
  }

  /** A straight line; `dash` is how long its dashes are, 0 if it has none. */
  line(paint, x1, y1, x2, y2, stroke = 1, dash = 0) {
    this.#add("path", {
      d: `M${short(x1)},${short(y1)}L${short(x2)},${short(y2)}`,
      stroke: this.colour(paint),
      "stroke-width": stroke,
      "stroke-dasharray": dash || null,
    });
  }

  /** A filled polygon of flat coordinates. */
  area(paint, points, alpha = 1) {
    let path = "";
    for (let i = 0; i < points.length; i += 2) {
      path += `${i ? "L" : "M"}${short(points[i])},${short(points[i + 1])}`;
    }
    this.#fill(paint, `${path}z`, `${path}z`, alpha);
  }

  /** Text on its base line, as on a canvas. */
  text(content, x, y, { paint = "ink", size = 11, weight = 400, align = "left", on, halo } = {}) {
    const edge = on || halo ? this.colour(on ?? "card") : null;
    const around = edge
      ? { stroke: edge, "stroke-width": 3, "stroke-linejoin": "round", "paint-order": "stroke" }
      : {};
    const anchor = { left: null, center: "middle", right: "end" }[align];
    const at = { x: short(x), y: short(y), "font-size": size, "text-anchor": anchor };
    const fill = on ? this.inkOn(on) : this.colour(paint);
    this.#add("text", { ...at, "font-weight": weight, fill, ...around }, content);
  }

  /** Draws within a rectangle only. */
  clip(x, y, width, height, draw) {
    const id = `${this.prefix}clip${this.defs.childNodes.length}`;
    const place = { x: short(x), y: short(y), width: short(width), height: short(height) };
    this.defs.append(makeSvg("clipPath", { id }, makeSvg("rect", place)));
    const outer = this.into;
    this.into = this.#add("g", { "clip-path": `url(#${id})` });
    draw();
    this.into = outer;
  }

  /** Draws within a group of its own, and returns it. @param {object} attributes of the group */
  group(attributes, draw) {
    const outer = this.into;
    const made = this.#add("g", attributes);
    this.into = made;
    draw();
    this.into = outer;
    return made;
  }

  #fill(paint, plain, wide, alpha) {
    if (!plain) return;
    const opacity = alpha < 1 ? alpha : null;
    this.#add("path", { d: plain, fill: this.colour(paint), opacity });
    if (wide && alpha === 1 && texturesOf(paint).length) {
      this.#add("path", { d: wide, fill: `url(#${this.#texture(paint)})`, opacity });
    }
  }

  #texture(paint) {
    const id = `${this.prefix}${paint}`;
    if (this.textures.has(paint)) return id;
    this.textures.add(paint);
    const strokes = texturesOf(paint).map(([x1, y1, x2, y2]) => `M${x1},${y1}L${x2},${y2}`).join("");
    const stroke = { stroke: "#fff", "stroke-opacity": 0.38, "stroke-width": 1.2 };
    const tile = { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" };
    this.defs.append(makeSvg("pattern", tile, makeSvg("path", { d: strokes, ...stroke })));
    return id;
  }

  #add(tag, attributes = {}, ...children) {
    const made = makeSvg(tag, attributes, ...children);
    (this.into ?? this.element).append(made);
    return made;
  }
}

/**
 * The text of a file of an SVG element, with a title and a description for who cannot see it.
 * @param {SVGElement} svg @param {string} title @param {string} description
 */
export function standalone(svg, title, description) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("role", "img");
  copy.setAttribute("aria-label", title);
  copy.prepend(makeSvg("title", {}, title), makeSvg("desc", {}, description));
  const text = new XMLSerializer().serializeToString(copy).replace(NOT_IN_XML, "\ufffd");
  return `<?xml version="1.0" encoding="UTF-8"?>\n${text}\n`;
}

/** A file's name of words: letters, digits and dashes only. */
export function fileName(...words) {
  const name = words.join("-").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  return `${name || "poolhog"}.svg`;
}

function short(value) {
  return Math.round(value * 100) / 100;
}
