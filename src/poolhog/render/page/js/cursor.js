// A cursor that walks over the timeline's lanes by keys, and what is under a point.

import { requestFacts, spanFacts } from "./details.js";
import { rowAt, topOf } from "./layout.js";

/**
 * What is drawn at a place: an item of the requests' lanes, or of the pools'.
 * @typedef {{rows: import("./lanes.js").Rows, row: number, item: number}} Spot
 */

/**
 * The spot at a point of the picture, or `null`.
 * @param {object} scene @param {number} instant @param {number} y @param {number} reach microseconds
 * @returns {Spot | null}
 */
export function spotAt({ layout, rows }, instant, y, reach) {
  for (const block of [layout.requests, ...layout.pools]) {
    const row = rowAt(block, y);
    if (row < 0) continue;
    for (const among of rowsFor(rows, layout, block)) {
      const item = among.at(row, instant, reach);
      if (item >= 0) return { rows: among, row, item };
    }
    return null;
  }
  return null;
}

/** The block that a spot is drawn in, or `undefined`. @param {object} scene @param {Spot} spot */
export function blockOf({ layout, rows }, spot) {
  const blocks = spot.rows === rows.pools ? layout.pools : [layout.requests];
  return blocks.find((block) => topOf(block, spot.row) >= 0);
}

/** The request of a spot. @param {Spot} spot */
export function ownerOf({ rows, item }) {
  return rows.owner[item];
}

/** What is to be said of a spot. @param {object} scene @param {Spot} spot */
export function factsOf({ side, rows }, spot) {
  const source = spot.rows.source[spot.item];
  return spot.rows === rows.lives ? requestFacts(side, source) : spanFacts(side, source);
}

/**
 * The spot one step from another: to the lane above or below at about the same time, or to the span
 * before or after it. Stays where it is at the ends.
 * @param {object} scene @param {Spot | null} spot @param {"up" | "down" | "before" | "after"} way
 * @returns {Spot | null}
 */
export function stepped(scene, spot, way) {
  const lanes = lanesOf(scene);
  if (!spot) return nearest(scene, lanes, -1, 1, scene.from);
  if (way === "before" || way === "after") {
    const [low, high] = [spot.rows.first[spot.row], spot.rows.first[spot.row + 1]];
    const item = spot.item + (way === "after" ? 1 : -1);
    return item >= low && item < high ? { ...spot, item } : spot;
  }
  const block = blockOf(scene, spot);
  const here = lanes.findIndex((lane) => lane.block === block && lane.row === spot.row);
  const { start, end } = spot.rows;
  const middle = (Math.max(start[spot.item], scene.from) + Math.min(end[spot.item], scene.to)) / 2;
  return nearest(scene, lanes, here, way === "down" ? 1 : -1, middle) ?? spot;
}

/** The middle of a spot in the picture, for what is shown beside it. */
export function middleOf(scene, spot) {
  const { plot } = scene.layout;
  const block = blockOf(scene, spot);
  const scale = plot.width / (scene.to - scene.from);
  const inside = (instant) => Math.min(scene.to, Math.max(scene.from, instant));
  const middle = (inside(spot.rows.start[spot.item]) + inside(spot.rows.end[spot.item])) / 2;
  return [plot.x + (middle - scene.from) * scale, block ? topOf(block, spot.row) + block.bar / 2 : 0];
}

function lanesOf({ layout }) {
  return [layout.requests, ...layout.pools].flatMap((block) =>
    Array.from({ length: block.shown }, (_, i) => ({ block, row: block.first + i })),
  );
}

/** The first lane in a direction that has anything, at what is nearest to an instant. */
function nearest({ rows, layout }, lanes, here, way, instant) {
  for (let i = here + way; i >= 0 && i < lanes.length; i += way) {
    const { block, row } = lanes[i];
    for (const among of rowsFor(rows, layout, block)) {
      const [low, high] = [among.first[row], among.first[row + 1]];
      if (low === high) continue;
      const after = Math.min(high - 1, among.within(row, instant, Infinity)[0]);
      const before = Math.max(low, after - 1);
      const away = (item) => Math.max(among.start[item] - instant, instant - among.end[item], 0);
      return { rows: among, row, item: away(before) < away(after) ? before : after };
    }
  }
  return null;
}

function rowsFor(rows, layout, block) {
  return block === layout.requests ? [rows.requests, rows.lives] : [rows.pools];
}
