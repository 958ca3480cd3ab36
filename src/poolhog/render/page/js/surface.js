// A canvas to draw on in CSS pixels and in the names of paints, sharp on any screen.

import { PAINTS } from "./data.js";

const TILE = 6;
const TEXTURES = {
  parked: [[-1, 7, 7, -1], [-1, 1, 1, -1], [5, 7, 7, 5]],
  running: [[0, 1.5, 6, 1.5], [0, 4.5, 6, 4.5]],
  ready: [[1.5, 0, 1.5, 6], [4.5, 0, 4.5, 6]],
};
/** The paints of those whom the most requests wait for, the first one first. */
export const BLAMED = ["blame1", "blame2", "blame3", "blame4"];
const SURFACE_PAINTS = ["card", "edge", "ink", "muted", "grid", "track", "accent", "plain", ...BLAMED];
/** What a bar needs to be wide to show its texture; CSS pixels. */
export const TEXTURED_FROM = 5;
/** The strokes of a state's texture on a tile of 6 by 6, or none. */
export const texturesOf = (paint) => TEXTURES[paint] ?? [];
const LIGHT_INK = "#ffffff";
const DARK_INK = "#000000";
/** The typeface of the pictures. */
export const FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif";

/** The colours of an element by the names of paints, as its style sheet has them now. */
export function paletteOf(element) {
  const style = getComputedStyle(element);
  const names = [...PAINTS, ...SURFACE_PAINTS];
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
    context.strokeStyle = "rgba(255,255,255,.38)";
    context.lineWidth = 1.2;
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
