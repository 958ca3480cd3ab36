// The list of a page's sections: it marks the one that is read, and folds away where there is no room.

// The section that is read is the last one that begins above this share of the window's height.
const READ_AT = 0.3;

/** @param {HTMLElement} contents a button, and a list of links to the sections */
export function watchContents(contents) {
  const button = contents.querySelector("button");
  const here = button.querySelector(".here");
  const links = [...contents.querySelectorAll("a")];
  const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
  let current = null;

  const open = (isOpen) => {
    contents.classList.toggle("open", isOpen);
    button.setAttribute("aria-expanded", String(isOpen));
  };
  const mark = () => {
    const begun = sections.filter((one) => one.getBoundingClientRect().top < innerHeight * READ_AT);
    const isEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const link = isEnd ? links.at(-1) : begun.length ? links[begun.length - 1] : null;
    if (link === current) return;
    current?.removeAttribute("aria-current");
    link?.setAttribute("aria-current", "true");
    here.textContent = link?.textContent ?? "";
    current = link;
    reveal(contents, link);
  };

  contents.classList.add("enhanced");
  button.hidden = false;
  button.addEventListener("click", () => open(button.getAttribute("aria-expanded") !== "true"));
  contents.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || button.getAttribute("aria-expanded") !== "true") return;
    open(false);
    button.focus();
  });
  contents.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !contents.contains(relatedTarget)) open(false);
  });
  document.addEventListener("click", ({ target }) => {
    if (!contents.contains(target) || target.closest("a")) open(false);
  });
  addEventListener("scroll", mark, { passive: true });
  addEventListener("resize", mark);
  mark();
}

/** Scrolls the list, and nothing else, so far that a link of it is seen. */
function reveal(contents, link) {
  if (!link || contents.scrollHeight <= contents.clientHeight) return;
  const { top, bottom } = link.getBoundingClientRect();
  const box = contents.getBoundingClientRect();
  if (top < box.top) contents.scrollTop -= box.top - top;
  else if (bottom > box.bottom) contents.scrollTop += bottom - box.bottom;
}
