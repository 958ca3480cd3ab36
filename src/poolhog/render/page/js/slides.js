// Chapters of a page as slides: one at a time in the whole window, by keys, buttons or a fragment.

const FRAGMENT = /^#present(?:=(\w+))?$/;
const MOVES = {
  ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1,
  ArrowLeft: -1, ArrowUp: -1, PageUp: -1,
  Home: -Infinity, End: Infinity,
};

/** The presentation. `#present` is its fragment, `#present=T9` that of one of its slides. */
export class Slides {
  /** @param {Document} page */
  constructor(page) {
    this.root = page.documentElement;
    this.chapters = [...page.querySelectorAll(".chapter")];
    this.remote = page.querySelector(".remote");
    this.number = this.remote.querySelector(".at");
    this.at = -1;
    const offer = page.querySelector("[data-presenting]");
    offer.hidden = false;
    offer.querySelector("button").addEventListener("click", () => this.present(this.#read()));
    const does = {
      previous: () => this.#show(this.at - 1),
      next: () => this.#show(this.at + 1),
      note: () => this.#note(),
      fullscreen: () => (page.fullscreenElement ? this.#shrink() : this.#fill()),
      leave: () => this.leave(),
    };
    for (const button of this.remote.querySelectorAll("button")) {
      button.addEventListener("click", does[button.dataset.do]);
    }
    this.remote.querySelector('[data-do="fullscreen"]').hidden = !page.fullscreenEnabled;
    page.addEventListener("keydown", (event) => this.#key(event));
    page.addEventListener("fullscreenchange", () => {
      // Escape leaves full screen without a key that a page is told of.
      if (!page.fullscreenElement && this.filled) this.leave();
      this.filled = Boolean(page.fullscreenElement);
    });
  }

  get isPresenting() {
    return this.at >= 0;
  }

  /** Does what a fragment asks for. @param {string} fragment @returns {boolean} whether it was one of slides */
  follow(fragment) {
    const found = FRAGMENT.exec(fragment);
    if (!found) {
      if (this.isPresenting) this.#end();
      return false;
    }
    const at = this.chapters.findIndex(({ id }) => id === found[1]);
    this.#show(Math.max(at, 0));
    return true;
  }

  /** Starts with a slide, in full screen where the browser allows it. @param {number} at */
  present(at) {
    this.#show(at);
    this.#fill();
  }

  /** Goes back to the page, to the chapter of the slide that was shown. */
  leave() {
    const chapter = this.chapters[this.at];
    this.#end();
    history.replaceState(null, "", `#${chapter.id}`);
    chapter.scrollIntoView();
    chapter.focus({ preventScroll: true });
  }

  #end() {
    this.chapters[this.at].classList.remove("current");
    this.at = -1;
    this.root.classList.remove("presenting");
    this.remote.hidden = true;
    this.#shrink();
  }

  #show(wanted) {
    const at = Math.min(Math.max(wanted, 0), this.chapters.length - 1);
    this.chapters[this.at]?.classList.remove("current");
    const chapter = this.chapters[at];
    this.at = at;
    this.root.classList.add("presenting");
    this.remote.hidden = false;
    chapter.classList.add("current");
    chapter.tabIndex = -1;
    chapter.focus({ preventScroll: true });
    this.number.textContent = `${at + 1} / ${this.chapters.length}`;
    history.replaceState(null, "", `#present=${chapter.id}`);
  }

  #fill() {
    this.root.requestFullscreen?.().catch(() => {}); // a browser may refuse: the window will do
  }

  /** Leaves full screen, and nothing else. */
  #shrink() {
    this.filled = false;
    if (document.fullscreenElement) document.exitFullscreen();
  }

  #note() {
    const isShown = this.root.classList.toggle("noting");
    this.remote.querySelector('[data-do="note"]').setAttribute("aria-pressed", String(isShown));
  }

  /** The chapter that is read on the page: the last one that has begun. */
  #read() {
    const begun = this.chapters.filter((one) => one.getBoundingClientRect().top < innerHeight / 3);
    return Math.max(begun.length - 1, 0);
  }

  #key(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target.closest("input, select, textarea, [contenteditable]")) return;
    if (key === "p" || key === "P") {
      if (this.isPresenting) this.leave();
      else this.present(this.#read());
    } else if (!this.isPresenting) {
      return;
    } else if (key === "Escape") {
      this.leave();
    } else if (key === "n" || key === "N") {
      this.#note();
    } else if (key in MOVES && !(key === " " && target.closest("button, a"))) {
      this.#show(Number.isFinite(MOVES[key]) ? this.at + MOVES[key] : MOVES[key]);
    } else {
      return;
    }
    event.preventDefault();
  }
}
