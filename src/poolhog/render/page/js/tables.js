// Tables that are there already: sorted by a click on a heading, and filtered by a text.

import { make } from "./dom.js";
import { count } from "./format.js";

/** Brings a table to life. @param {HTMLElement} element that has the table, and perhaps its filter */
export function enliven(element) {
  const table = element.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 2) return;
  for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
    sortable(table, heading, column);
  }
  const filter = element.querySelector("[data-filter]");
  if (filter) filterable(table, rows, filter);
}

/** What a cell is sorted by: its exact number, or its text. @param {HTMLTableCellElement} cell */
function valueOf(cell) {
  return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
}

/** Compares numbers by size and texts by the alphabet; both stay where they are if alike. */
function compared(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

function sortable(table, heading, column) {
  const name = heading.textContent;
  const press = make("button", { type: "button", class: "sort" }, name);
  if (heading.title) press.title = heading.title;
  heading.replaceChildren(press);
  press.addEventListener("click", () => {
    // The largest numbers first, texts from A on; the other way round when pressed again.
    const first = heading.classList.contains("number") ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = heading.getAttribute("aria-sort") === first ? other : first;
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const sorted = [...body.rows].sort(
      (a, b) => sign * compared(valueOf(a.cells[column]), valueOf(b.cells[column])),
    );
    body.append(...sorted);
  });
}

function filterable(table, rows, filter) {
  const told = table.querySelector("[data-count]");
  const whole = told.textContent;
  told.setAttribute("aria-live", "polite");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = wanted !== "" && !texts[index].includes(wanted);
      if (!row.hidden) shown++;
    });
    told.textContent = wanted ? `${shown} of ${count(rows.length, "row")}` : whole;
  });
}
