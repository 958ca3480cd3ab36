// What the page does once it is there: decodes its data, and brings its parts to life.

import { decode } from "./data.js";

const data = JSON.parse(document.getElementById("data").textContent);
const sides = data.sides.map(decode);
document.documentElement.dataset.sides = String(sides.length);
