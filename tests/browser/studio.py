"""A workplace for the page's modules: they are served as they are, with the data of real pages."""

from __future__ import annotations

import html
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import poolhog.render.page
from poolhog.render.page.inline import PALETTE, RULES, script_module
from poolhog.render.palette import css_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODULES = Path(poolhog.render.page.__file__).parent
KINDS = {".js": "text/javascript", ".css": "text/css", ".json": "application/json"}

HARNESS = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>pictures</title>
<style>
:root {{ color-scheme: light dark; {css_variables(dark=False)} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {css_variables(dark=True)} }} }}
body {{ margin: 1rem; font: 16px/1.5 system-ui; background: var(--card); color: var(--ink); }}
</style>
<link rel="stylesheet" href="/swatches.css">
<link rel="stylesheet" href="/timeline.css">
<link rel="stylesheet" href="/tree.css">
</head>
<body>
<div id="playback"></div>
<div id="timelines"></div>
<div id="tree"></div>
<script type="module">
import {{ decode }} from "/js/data.js";
import {{ Timeline, synchronise }} from "/js/timeline.js";
import {{ Playback }} from "/js/playback.js";
import {{ TreeView }} from "/js/tree.js";
const names = new URLSearchParams(location.search).getAll("data");
const sides = [];
const reports = [];
for (const name of names) {{
  const answer = await fetch(`/data/${{name}}.json`);
  sides.push(decode((await answer.json()).sides[0]));
  reports.push(await (await fetch(`/report/${{name}}.json`)).json());
}}
window.sides = sides;
window.reports = reports;
window.timelines = sides.map((side) => {{
  const element = document.createElement("div");
  document.getElementById("timelines").append(element);
  return new Timeline(element, side, {{ label: sides.length > 1 ? side.label : "" }});
}});
window.timeline = timelines[0];
if (sides.length > 1) synchronise(timelines);
if (sides.length) {{
  window.playback = new Playback(document.getElementById("playback"), timelines);
  window.treeView = new TreeView(document.getElementById("tree"), sides[0]);
}}
// Pictures are drawn when they get their size, which is after the next frame has begun.
requestAnimationFrame(() => requestAnimationFrame(() => {{ window.ready = true; }}));
</script>
</body>
</html>
"""

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def data_of(page: Path) -> dict[str, Any]:
    """What a page's pictures are drawn from."""
    found = _DATA.search(page.read_text(encoding="utf-8"))
    assert found is not None, "the page has no data"
    data: dict[str, Any] = json.loads(found[1])
    return data


@contextmanager
def served(
    data: Mapping[str, Mapping[str, Any]], reports: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """The address at which the modules, the styles, and the named data and reports are served."""

    made = {f"/{name}": make for name, make in RULES.items()} | {f"/js/{PALETTE}": script_module}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            found = content(path)
            kind = KINDS.get(Path(path).suffix, "text/html; charset=utf-8")
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(found or html.escape(path).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    def content(path: str) -> bytes | None:
        if path == "/":
            return HARNESS.encode()
        if path.startswith("/data/"):
            return json.dumps(data[Path(path).stem]).encode()
        if path.startswith("/report/"):
            return json.dumps(reports[Path(path).stem]).encode()
        if path in made:
            return made[path]().encode()
        file = MODULES / path.lstrip("/")
        return file.read_bytes() if file.suffix in KINDS and file.is_file() else None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
