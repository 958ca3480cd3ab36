// What the page does once it is there: decodes its data, and brings its parts to life.

import { decode } from "./data.js";
import { Playback } from "./playback.js";
import { RequestView } from "./request.js";
import { enliven } from "./tables.js";
import { synchronise, Timeline } from "./timeline.js";
import { TreeView } from "./tree.js";

const data = JSON.parse(document.getElementById("data").textContent);
const sides = data.sides.map(decode);
const isPair = sides.length > 1;

const timelines = sides.map((side, number) => {
  const element = document.querySelector(`[data-timeline="${number}"]`);
  return side.requests.size ? new Timeline(element, side, { label: isPair ? side.label : "" }) : null;
});
const drawn = timelines.filter(Boolean);
if (drawn.length > 1) synchronise(drawn);
if (drawn.length) new Playback(document.querySelector("[data-playback]"), drawn);

const requests = sides.map((side, number) => {
  const element = document.querySelector(`[data-life="${number}"]`);
  return side.lives.length ? new RequestView(element, side, isPair ? side.label : "") : null;
});

sides.forEach((side, number) => {
  const element = document.querySelector(`[data-tree="${number}"]`);
  if (side.tree.parent.length > 1) new TreeView(element, side);
  if (timelines[number] && requests[number]) {
    timelines[number].onSelect = (request) => requests[number].show(request);
    requests[number].onSelect = (request) => timelines[number].select(request, false);
  }
});

for (const element of document.querySelectorAll("[data-table]")) enliven(element);

for (const button of document.querySelectorAll("[data-show]")) {
  const { show, from, to, request, checkout } = button.dataset;
  button.addEventListener("click", () => {
    const options = { request: Number(request), checkout: Number(checkout) };
    timelines[Number(show)]?.show(Number(from), Number(to), options);
    requests[Number(show)]?.show(Number(request));
  });
}

// Paper cannot be unfolded.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll(".finding details")) details.open = true;
});

for (const link of document.querySelectorAll("[data-help]")) {
  link.addEventListener("click", () => {
    document.querySelector("#help details").open = true;
  });
}
