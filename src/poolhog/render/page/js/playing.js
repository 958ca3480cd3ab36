// Drawings that play in a loop: each can be stopped, and a link can lead to one and play it.

import { prefersStillness } from "./dom.js";

/** A drawing whose motion is in its own styles. */
class Drawing {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.button = element.querySelector("button.play");
    this.button.hidden = false;
    this.button.addEventListener("click", () => (this.isPlaying ? this.pause() : this.play()));
    this.#set(element.dataset.plays === "at-once" && !prefersStillness());
  }

  /** Plays from the beginning. */
  play() {
    this.#set(false);
    this.element.getBoundingClientRect(); // its motion begins anew once it has been laid out without
    this.#set(true);
  }

  /** Shows all of it, and stands still. */
  pause() {
    this.#set(false);
  }

  #set(isPlaying) {
    this.isPlaying = isPlaying;
    this.element.classList.toggle("playing", isPlaying);
    this.element.classList.toggle("still", !isPlaying);
    this.button.textContent = isPlaying ? "Pause" : "Play";
  }
}

/**
 * Brings drawings to life.
 * @param {Iterable<HTMLElement>} elements @returns {Map<HTMLElement, {play: () => void}>} by element
 */
export function playing(elements) {
  return new Map([...elements].map((element) => [element, new Drawing(element)]));
}

/**
 * Goes to what a fragment such as `#T9` or `#both&play` names, and with `&play` plays it, unless the
 * reader prefers less motion.
 * @param {string} fragment @param {Map<HTMLElement, {play: () => void}>} players
 */
export function arrive(fragment, players) {
  const [id, ...wishes] = fragment.slice(1).split("&");
  const target = id && document.getElementById(id);
  if (!target || !wishes.includes("play")) return;
  for (const element of document.querySelectorAll(".arrived")) element.classList.remove("arrived");
  target.classList.add("arrived");
  target.scrollIntoView({ block: "center" });
  const player = players.get(target) ?? players.get(target.querySelector("[data-plays]"));
  if (player && !prefersStillness()) player.play();
}
