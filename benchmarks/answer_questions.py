"""The questions that ``same_answers.py`` asks of every trace, and how their answers are read."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from json_differences import as_number

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = "page.html"
TABLES = "tables.zip"
FILE = "file.json"
DATA = re.compile(rb'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def parse_json(raw: bytes) -> Any:
    """What a verb prints."""
    return json.loads(raw)


def parse_page(raw: bytes) -> Any:
    """The data that is embedded in a page."""
    found = DATA.search(raw)
    assert found is not None, "the page has no data"
    return json.loads(found[1])


def parse_tables(raw: bytes) -> Any:
    """The tables of a zip, with the numbers in their cells."""
    tables: dict[str, list[list[float | str]]] = {}
    with zipfile.ZipFile(io.BytesIO(raw)) as files:
        for name in files.namelist():
            with files.open(name) as opened:
                rows = csv.reader(io.TextIOWrapper(opened, encoding="utf-8", newline=""))
                tables[name] = [[as_number(cell) for cell in row] for row in rows]
    return tables


@dataclass(frozen=True)
class Question:
    """A verb and its options; ``TRACE``, ``OTHER``, ``REQUEST`` and ``PID`` stand for the trace's.

    The answer is a file that it writes, or what it prints.
    """

    name: str
    words: str
    extra: tuple[str, ...] = ()
    file: str | None = None
    suits_large: bool = True

    @property
    def parse(self) -> Callable[[bytes], Any]:
        """What makes a value of the answer."""
        return {PAGE: parse_page, TABLES: parse_tables}.get(self.file or "", parse_json)


VIEWS = {
    "checkouts": "pid, asked_ns, id",
    "operations": "pid, started_ns, checkout_id, kind, ended_ns, statement",
    "samples": "pid, started_ns, checkout_id, ended_ns, activity",
    "requests": "pid, started_ns, id",
}
QUESTIONS = (
    Question("report", "report TRACE --json"),
    Question("report --top", "report TRACE --json --top 50 --blame", suits_large=False),
    Question("report --pid", "report TRACE --json --pid PID", suits_large=False),
    Question(
        "report --threshold",
        "report TRACE --json --threshold parked_s=0 --threshold least_share=0",
        suits_large=False,
    ),
    Question("timeline", "timeline TRACE --json"),
    Question("timeline --last", "timeline TRACE --json --last 0.5"),
    Question("timeline --to", "timeline TRACE --json --from 0.2 --to 0.9", suits_large=False),
    Question("log", "log TRACE --json"),
    Question("log --limit", "log TRACE --json --limit 0", suits_large=False),
    Question("log --request", "log TRACE --json --request REQUEST"),
    Question("whatif", "whatif TRACE --json"),
    Question("whatif --pool-size", "whatif TRACE --json --pool-size 7"),
    Question("whatif --release", "whatif TRACE --json --release all"),
    Question("whatif range", "whatif TRACE --json --pool-size 1..6", suits_large=False),
    Question("whatif --users", "whatif TRACE --json --users 8 --think 0.05", suits_large=False),
    Question(
        "whatif --workers",
        "whatif TRACE --json --workers 2 --rate 1.5 --external-latency 0.5 --open",
        suits_large=False,
    ),
    Question("compare", "compare TRACE OTHER --json"),
    Question("compare back", "compare OTHER TRACE --json --top 50", suits_large=False),
    Question("dump", "dump TRACE --json --all"),
    Question("sql", "sql TRACE --json", suits_large=False),
    *(
        Question(f"sql {name}", f"sql TRACE {name} --json", suits_large=name in ("routes", "waits"))
        for name in ("waits", "held", "lines", "statements", "routes")
    ),
    *(
        Question(
            f"sql of {view}",
            "sql TRACE",
            (f"SELECT * FROM {view} ORDER BY {order} LIMIT 5000", "--json"),
            suits_large=False,
        )
        for view, order in VIEWS.items()
    ),
    *(
        Question(f"export {form}", f"export TRACE --format {form} -o {file}", (), file, large)
        for form, file, large in (
            ("speedscope", FILE, False),
            ("chrome-trace", FILE, False),
            ("csv", TABLES, False),
        )
    ),
    *(
        Question(
            f"export {form} --last", f"export TRACE --format {form} --last 1 -o {file}", (), file
        )
        for form, file in (("speedscope", FILE), ("chrome-trace", FILE), ("csv", TABLES))
    ),
    Question("page", f"report TRACE --html {PAGE}", (), PAGE),
    Question("page of two", f"report TRACE --against OTHER --html {PAGE}", (), PAGE, False),
)
