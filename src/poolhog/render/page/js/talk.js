// What the lab's page does once it is there: pictures play, sections are marked, slides are shown.

import { watchContents } from "./contents.js";
import { decode } from "./data.js";
import { arrive, playing } from "./playing.js";
import { Playback } from "./playback.js";
import { Slides } from "./slides.js";
import { synchronise, Timeline } from "./timeline.js";

const data = JSON.parse(document.getElementById("data").textContent);
const players = playing(document.querySelectorAll(".picture[data-plays]"));

for (const element of document.querySelectorAll("[data-movable]")) {
  const pictures = [...element.querySelectorAll("[data-timeline]")].map((place) => {
    const side = decode(data.sides[Number(place.dataset.timeline)]);
    const timeline = new Timeline(place, side, { label: side.label });
    // A page has several, and each has its own search.
    place.querySelector('[role="search"]').setAttribute("aria-label", `Requests of ${side.label}`);
    return timeline;
  });
  if (pictures.length > 1) synchronise(pictures);
  players.set(element, new Playback(element.querySelector("[data-playback]"), pictures));
}

watchContents(document.querySelector(".contents"));
const slides = new Slides(document);

function follow() {
  if (!slides.follow(location.hash)) arrive(location.hash, players);
}

addEventListener("hashchange", follow);
follow();
