// What the page does once it is there: decodes its data, and brings its parts to life.

import { copy } from "./commands.js";
import { decode } from "./data.js";
import { button } from "./dom.js";
import { filterPart, Permalink, timelinePart, treePart, viewPart } from "./permalink.js";
import { Playback } from "./playback.js";
import { RequestView } from "./request.js";
import { enliven } from "./tables.js";
import { synchronise, Timeline } from "./timeline.js";
import { TreeView } from "./tree.js";

document.documentElement.classList.add("scripted");
const data = JSON.parse(document.getElementById("data").textContent);
const sides = data.sides.map(decode);
const isPair = sides.length > 1;
const suffixOf = (number) => (number ? `.${number + 1}` : "");

const timelines = sides.map((side, number) => {
  const element = document.querySelector(`[data-timeline="${number}"]`);
  return side.requests.size ? new Timeline(element, side, { label: isPair ? side.label : "" }) : null;
});
const drawn = timelines.filter(Boolean);
if (drawn.length > 1) synchronise(drawn);
const playback = document.querySelector("[data-playback]");
if (drawn.length) new Playback(playback, drawn);

const requests = sides.map((side, number) => {
  const element = document.querySelector(`[data-life="${number}"]`);
  return side.lives.length ? new RequestView(element, side, isPair ? side.label : "") : null;
});

const trees = sides.map((side, number) => {
  const element = document.querySelector(`[data-tree="${number}"]`);
  return side.tree.parent.length > 1 ? new TreeView(element, side) : null;
});

sides.forEach((_, number) => {
  if (timelines[number] && requests[number]) {
    timelines[number].onSelect = (request) => requests[number].show(request);
    requests[number].onSelect = (request) => timelines[number].select(request, false);
  }
});

for (const element of document.querySelectorAll("[data-table]")) enliven(element);

const filters = [...document.querySelectorAll("[data-filter]")];
const seen = new Map();
const link = new Permalink([
  ...(drawn.length ? [viewPart(drawn)] : []),
  ...timelines.flatMap((one, number) => (one ? [timelinePart(one, suffixOf(number))] : [])),
  ...trees.flatMap((one, number) => (one ? [treePart(one, suffixOf(number))] : [])),
  ...filters.map((input) => {
    const { key } = input.closest("[data-table]").querySelector("table").dataset;
    const times = seen.get(key) ?? 0;
    seen.set(key, times + 1);
    return filterPart(input, `rows-${key}${suffixOf(times)}`);
  }),
]);
for (const part of [...drawn, ...trees.filter(Boolean)]) part.onChange = () => link.changed();
for (const input of filters) input.addEventListener("input", () => link.changed());
if (link.follow()) {
  const places = [[/(^|&)(view|selection|request|find|hide|lanes)\b/, "timeline"], [/(^|&)rows-/, "tables"]];
  const [, place] = places.find(([pattern]) => pattern.test(link.written)) ?? ["", "time"];
  document.getElementById(place).scrollIntoView();
}

if (drawn.length) {
  const press = button("Copy a link to what is shown", () => {
    link.write();
    copy(location.href, press);
  });
  playback.append(press);
}

for (const press of document.querySelectorAll("[data-copy]")) {
  press.addEventListener("click", () => copy(press.dataset.copy, press));
}

for (const press of document.querySelectorAll("[data-show]")) {
  const { show, from, to, request, checkout } = press.dataset;
  press.addEventListener("click", () => {
    const options = { request: Number(request), checkout: Number(checkout) };
    timelines[Number(show)]?.show(Number(from), Number(to), options);
    requests[Number(show)]?.show(Number(request));
  });
}

// Paper cannot be unfolded.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll(".finding details")) details.open = true;
});

for (const anchor of document.querySelectorAll("[data-help]")) {
  anchor.addEventListener("click", () => {
    document.querySelector("#help details").open = true;
  });
}
