// Surfaces to draw on in CSS pixels and in the names of paints: a canvas, and SVG to be saved or printed.

import { makeSvg } from "./dom.js";
import { PAINTS, SURFACES, TEXTURES, TILE } from "./palette.js";

/** What a bar needs to be wide to show its texture; CSS pixels. */
const TEXTURED_FROM = 5;
const STRIPE = { colour: "#fff", alpha: 0.38, width: 1.2 };
const LIGHT_INK = "#ffffff";
const DARK_INK = "#000000";
/** The typeface of the pictures. */
const FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif";
const NOT_IN_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

let surfaces = 0;

/** The colours of an element by the names of paints, as its style sheet has them now. */
export function paletteOf(element) {
  const style = getComputedStyle(element);
  const names = [...PAINTS, ...SURFACES];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Draws on a canvas. What it can do, `SvgSurface` can do in the same words. */
export class CanvasSurface {
  /** @param {HTMLCanvasElement} canvas @param {Record<string, string>} palette */
  constructor(canvas, palette) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.recolour(palette);
  }

  /** Takes other colours. */
  recolour(palette) {
    this.palette = palette;
    this.fills = {};
  }

  /** Begins a picture of this size. */
  begin(width, height) {
    const ratio = devicePixelRatio || 1;
    if (ratio !== this.ratio) this.fills = {};
    this.ratio = ratio;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.fillStyle = this.palette.card;
    this.context.fillRect(0, 0, width, height);
  }

  /**
   * Fills rectangles: four numbers each, in one flat array; wide ones that are not pale get the
   * state's texture.
   */
  rects(paint, quads, length, alpha = 1) {
    if (!length) return;
    const { context } = this;
    context.globalAlpha = alpha;
    context.fillStyle = this.palette[paint];
    for (let i = 0; i < length; i += 4) {
      context.fillRect(quads[i], quads[i + 1], quads[i + 2], quads[i + 3]);
    }
    if (TEXTURES[paint] && alpha === 1) {
      context.fillStyle = this.#texture(paint);
      for (let i = 0; i < length; i += 4) {
        if (quads[i + 2] < TEXTURED_FROM) continue;
        context.fillRect(quads[i], quads[i + 1], quads[i + 2], quads[i + 3]);
      }
    }
    context.globalAlpha = 1;
  }

  /** One rectangle. */
  rect(paint, x, y, width, height, alpha = 1) {
    this.rects(paint, [x, y, width, height], 4, alpha);
  }

  /** The outline of a rectangle. */
  frame(paint, x, y, width, height, stroke = 2) {
    this.context.strokeStyle = this.palette[paint];
    this.context.lineWidth = stroke;
    this.context.strokeRect(x, y, width, height);
  }

  /** A straight line; `dash` is how long its dashes are, 0 if it has none. */
  line(paint, x1, y1, x2, y2, stroke = 1, dash = 0) {
    const { context } = this;
    context.strokeStyle = this.palette[paint];
    context.lineWidth = stroke;
    context.setLineDash(dash ? [dash, dash] : []);
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
    context.setLineDash([]);
  }

  /** A filled polygon of flat coordinates. */
  area(paint, points, alpha = 1) {
    const { context } = this;
    context.beginPath();
    for (let i = 0; i < points.length; i += 2) context.lineTo(points[i], points[i + 1]);
    context.closePath();
    context.globalAlpha = alpha;
    context.fillStyle = this.palette[paint];
    context.fill();
    if (TEXTURES[paint] && alpha === 1) {
      context.fillStyle = this.#texture(paint);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  /**
   * Text on its base line. `on`: on a bar of that paint, black or white with a rim of the bar's
   * colour; else in the paint, with a rim of the card's colour if `halo`.
   */
  text(content, x, y, { paint = "ink", size = 11, weight = 400, align = "left", on, halo } = {}) {
    const { context } = this;
    context.font = `${weight} ${size}px ${FONT}`;
    context.textAlign = align;
    if (on || halo) {
      context.lineJoin = "round";
      context.lineWidth = 3;
      context.strokeStyle = this.palette[on ?? "card"];
      context.strokeText(content, x, y);
    }
    context.fillStyle = on ? inkOn(this.palette[on]) : this.palette[paint];
    context.fillText(content, x, y);
  }

  /** How wide a text would be. */
  textWidth(content, size = 11, weight = 400) {
    this.context.font = `${weight} ${size}px ${FONT}`;
    return this.context.measureText(content).width;
  }

  /** Draws within a rectangle only. */
  clip(x, y, width, height, draw) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    draw();
    context.restore();
  }

  #texture(paint) {
    if (this.fills[paint]) return this.fills[paint];
    const tile = document.createElement("canvas");
    tile.width = tile.height = Math.round(TILE * this.ratio);
    const context = tile.getContext("2d");
    context.scale(tile.width / TILE, tile.width / TILE);
    context.strokeStyle = STRIPE.colour;
    context.globalAlpha = STRIPE.alpha;
    context.lineWidth = STRIPE.width;
    for (const [x1, y1, x2, y2] of TEXTURES[paint]) {
      context.beginPath();
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
      context.stroke();
    }
    const pattern = this.context.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(TILE / tile.width));
    this.fills[paint] = pattern;
    return pattern;
  }
}

/**
 * A text, or as much of its beginning as there is room for; "" if that is hardly anything.
 * @param {{textWidth: CanvasSurface["textWidth"]}} surface @param {number} room CSS pixels
 */
export function fitted(surface, content, room, size = 11, weight = 400) {
  const fits = (text) => surface.textWidth(text, size, weight) <= room;
  if (fits(content)) return content;
  let [low, high] = [0, content.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (fits(`${content.slice(0, middle)}…`)) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? `${content.slice(0, low).trimEnd()}…` : "";
}

/** Black or white, whichever can be read on a colour. @param {string} colour such as `#1fae84` */
export function inkOn(colour) {
  return contrast(colour, LIGHT_INK) > contrast(colour, DARK_INK) ? LIGHT_INK : DARK_INK;
}

/** How much two colours differ, from 1 to 21, as WCAG 2 defines it. */
export function contrast(one, other) {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function luminance(colour) {
  const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255);
  const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/**
 * Draws into an SVG element of its own (`element`), as `CanvasSurface` draws on a canvas.
 */
export class SvgSurface {
  /**
   * @param {(paint: string) => string} colour of a paint: a literal for a file that stands alone, or
   *   a CSS variable for a picture on the page
   * @param {CanvasSurface} ruler which measures texts, and has a palette
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
    if (wide && alpha === 1 && TEXTURES[paint]) {
      this.#add("path", { d: wide, fill: `url(#${this.#texture(paint)})`, opacity });
    }
  }

  #texture(paint) {
    const id = `${this.prefix}${paint}`;
    if (this.textures.has(paint)) return id;
    this.textures.add(paint);
    const strokes = TEXTURES[paint].map(([x1, y1, x2, y2]) => `M${x1},${y1}L${x2},${y2}`).join("");
    const stroke = { stroke: STRIPE.colour, "stroke-opacity": STRIPE.alpha, "stroke-width": STRIPE.width };
    const tile = { id, width: TILE, height: TILE, patternUnits: "userSpaceOnUse" };
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
