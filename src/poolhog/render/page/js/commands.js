// Commands of the terminal that show the same, addresses of an editor, and what is copied.

import { checkoutPid, requestId, textOf } from "./data.js";
import { button, make } from "./dom.js";

const PLAIN = /^[\w@%+=:,./-]+$/;
// The address has the first slash of the path already; that of `file://` is not the path's.
const SLASH = /[^/]\/\{path\}/;
const TOLD_MS = 2_000;

/** A word as a shell takes it. */
function quoted(word) {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}

/** The command of a verb about a side's trace; "" if it is not known where that is. */
function commandOf(side, verb, ...options) {
  const { target } = side.links;
  return target ? ["poolhog", verb, target, ...options.map(quoted)].join(" ") : "";
}

/** The command that tells a request line by line. */
export function logCommand(side, request) {
  const several = new Set(side.pools.map((pool) => pool.pid)).size > 1;
  const isNamed = side.requests.status[request] === -1 && several && !side.links.target.includes(" --pid ");
  const pid = isNamed ? ["--pid", String(checkoutPid(side, request))] : [];
  return commandOf(side, "log", ...pid, "--request", requestId(side, request));
}

/** The command that draws a stretch of time; microseconds. */
export function timelineCommand(side, from, to) {
  const instant = (us) => String(Number((side.startedS + us / 1e6).toFixed(6)));
  return commandOf(side, "timeline", "--from", instant(from), "--to", instant(to));
}

/** The address that opens a site in the reader's editor; "" if its file was not here. */
export function addressOf(side, site) {
  if (site < 0) return "";
  const [file, line] = side.sites[site];
  const { editor, here } = side.links;
  if (!editor || !here.has(file)) return "";
  const path = textOf(side, file);
  const given = SLASH.test(editor) ? path.replace(/^\/+/, "") : path;
  const encoded = given.split(/([/:])/).map((part) => (/^[/:]$/.test(part) ? part : encodeURIComponent(part))).join("");
  return editor.replace("{path}", () => encoded).replace("{line}", line);
}

/** What names a site, as a link into the editor if it can be opened there. */
export function placeLink(side, site, words) {
  const address = addressOf(side, site);
  return address ? make("a", { href: address, class: "open", title: "Open in the editor" }, words) : words;
}

/** A command with a button that copies it; nothing if there is none. @param {string} command */
export function commandLine(command) {
  if (!command) return [];
  const press = button("Copy", () => copy(command, press), { "aria-label": `Copy ${command}` });
  return [make("p", { class: "command" }, make("code", {}, command), " ", press)];
}

/** Copies a text, and says so on the button for a moment. */
export async function copy(text, press) {
  const before = press.dataset.words ?? press.textContent;
  press.dataset.words = before;
  press.textContent = (await copied(text)) ? "Copied" : "Not copied";
  setTimeout(() => (press.textContent = before), TOLD_MS);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByHand(text);
  }
}

/** As browsers do it where pages of files have no clipboard. */
function copiedByHand(text) {
  const area = make("textarea", { class: "unseen", readonly: true });
  area.value = text;
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
