// Moving a view with wheel, pointer, fingers and keys, the same for every picture of time.

const WHEEL_PAUSE_MS = 250;
const DRAG_FROM = 4;

let lastWheelElsewhere = 0;
let watched = false;

/**
 * Lets wheel, drag and pinch over an element move a view.
 * @param {HTMLElement} element
 * @param {() => import("./view.js").View} current the view, as it may be replaced
 * @param {{instantAt: (x: number) => number, usPerPixel: () => number,
 *   click: (x: number, y: number) => void, hover: (x: number, y: number) => void,
 *   leave: () => void}} picture `x` and `y` are CSS pixels in the element
 */
export function followPointer(element, current, picture) {
  watchWheel();
  element.addEventListener("wheel", (event) => onWheel(event, current(), picture), { passive: false });
  const pointers = new Map();
  let dragged = 0;
  const place = (event) => {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (!pointers.size) dragged = 0;
    pointers.set(event.pointerId, place(event));
  });
  element.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = pointers.get(event.pointerId);
    if (!before) return picture.hover(now.x, now.y);
    const rest = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    pointers.set(event.pointerId, now);
    dragged += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    if (dragged < DRAG_FROM) return undefined;
    if (!element.hasPointerCapture(event.pointerId)) element.setPointerCapture(event.pointerId);
    picture.leave();
    if (rest.length) pinch(current(), picture, before.x, now.x, rest[0].x);
    else current().pan((before.x - now.x) * picture.usPerPixel());
    return undefined;
  });
  const up = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (event.type === "pointerup" && dragged < DRAG_FROM) {
      const { x, y } = place(event);
      picture.click(x, y);
    }
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", () => picture.leave());
}

/**
 * What a key does to a view: arrows pan, plus and minus zoom, Home and End go to the ends, 0 shows
 * everything. Tells whether the key was one of these.
 * @param {KeyboardEvent} event @param {import("./view.js").View} view
 */
export function moveByKey(event, view) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const step = view.width * (event.shiftKey ? 0.5 : 0.1);
  const moves = {
    ArrowLeft: () => view.pan(-step),
    ArrowRight: () => view.pan(step),
    "+": () => view.zoom(1 / 1.5),
    "=": () => view.zoom(1 / 1.5),
    "-": () => view.zoom(1.5),
    _: () => view.zoom(1.5),
    Home: () => view.set(0, view.width),
    End: () => view.set(view.length - view.width, view.length),
    0: () => view.whole(),
  };
  const move = Object.hasOwn(moves, event.key) ? moves[event.key] : null;
  move?.();
  return move !== null;
}

/** The instant under each finger stays under it. */
function pinch(view, picture, before, now, other) {
  const spread = Math.max(8, Math.abs(before - other));
  const wider = Math.max(8, Math.abs(now - other));
  view.zoom(spread / wider, picture.instantAt(other));
}

/**
 * The wheel zooms at the pointer, and pans sideways. It is the page's where the picture shows
 * everything already, and where the reader is just scrolling past.
 */
function onWheel(event, view, picture) {
  if (performance.now() - lastWheelElsewhere < WHEEL_PAUSE_MS && !event.ctrlKey) {
    lastWheelElsewhere = performance.now();
    return;
  }
  const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
  const sideways = event.shiftKey ? event.deltaX + event.deltaY : event.deltaX;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    if (view.width >= view.length) return;
    event.preventDefault();
    view.pan(sideways * unit * picture.usPerPixel());
    return;
  }
  if (event.deltaY > 0 && view.width >= view.length) return;
  event.preventDefault();
  const factor = Math.exp(Math.max(-240, Math.min(240, event.deltaY * unit)) * 0.0025);
  view.zoom(factor, picture.instantAt(event.offsetX));
}

function watchWheel() {
  if (watched) return;
  watched = true;
  const note = (event) => {
    if (!event.target.closest?.("[data-zooms]")) lastWheelElsewhere = performance.now();
  };
  addEventListener("wheel", note, { passive: true, capture: true });
}
