// Finding requests by their route, path, number or SQL.

/**
 * Which requests have the words in their name, path or id, in the SQL of one of their operations, or
 * where these were asked for; `#12` is the one of that number. Letters' case does not matter.
 * @param {ReturnType<typeof import("./data.js").decode>} side @param {string} query
 * @returns {{matches: Uint8Array, found: number[]}} a flag per request, and those in order of time
 */
export function findRequests(side, query) {
  const { requests, checkouts, spans } = side;
  const matches = new Uint8Array(requests.size);
  const words = query.trim().toLowerCase();
  const number = /^#(\d+)$/.exec(words);
  if (number) {
    if (requests.size >= Number(number[1]) && Number(number[1])) matches[number[1] - 1] = 1;
  } else if (words) {
    const texts = Uint8Array.from(side.texts, (text) => text.toLowerCase().includes(words));
    const named = (text) => text >= 0 && texts[text];
    const sites = side.sites.map(([file, , name, source]) => named(file) || named(name) || named(source));
    const whats = side.whats.map(([, sql, site]) => named(sql) || (site >= 0 && sites[site]));
    for (let r = 0; r < requests.size; r++) {
      matches[r] = named(requests.name[r]) || named(requests.path[r]) || named(requests.id[r]) ? 1 : 0;
    }
    for (let s = 0; s < spans.size; s++) {
      if (spans.what[s] >= 0 && whats[spans.what[s]]) matches[checkouts.request[spans.checkout[s]]] = 1;
    }
  }
  const found = [];
  for (let r = 0; r < requests.size; r++) if (matches[r]) found.push(r);
  return { matches, found };
}
