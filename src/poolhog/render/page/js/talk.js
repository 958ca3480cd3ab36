// What the lab's page does once it is there: its bursts can be played, moved and looked into.

import { decode } from "./data.js";
import { Playback } from "./playback.js";
import { synchronise, Timeline } from "./timeline.js";

const data = JSON.parse(document.getElementById("data").textContent);

for (const element of document.querySelectorAll("[data-movable]")) {
  const pictures = [...element.querySelectorAll("[data-timeline]")].map((place) => {
    const side = decode(data.sides[Number(place.dataset.timeline)]);
    return new Timeline(place, side, { label: side.label });
  });
  if (pictures.length > 1) synchronise(pictures);
  new Playback(element.querySelector("[data-playback]"), pictures);
}
