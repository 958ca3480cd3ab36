"""A trace as tables for spreadsheets and data frames: CSV files (RFC 4180) in a zip.

Instants are seconds since the run began, and in the columns ``*_at`` ISO 8601 in UTC. An empty
cell is what is not known, or had not happened. A text that a spreadsheet could take for a formula
has an apostrophe in front; so has one with an apostrophe there, so that it can be taken away again.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.owners import route_of
from poolhog.render.export.format import Format, iso_time
from poolhog.render.output import Hint
from poolhog.render.words import command_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from poolhog.analysis.selection import Extract
    from poolhog.model import Site

    Cell = str | int | float | bool | None
    Rows = Iterator[Sequence[Cell]]

MARKS = frozenset("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")
"""The first characters of formulas, as OWASP lists them, and the apostrophe that guards cells."""


class CsvTable(NamedTuple):
    """A file, its columns, and where its rows come from."""

    name: str
    columns: tuple[str, ...]
    rows: Callable[[Source], Rows]


def write_csv(extract: Extract, out: BinaryIO) -> int:
    """Write the zip; it need not be possible to go back in ``out``. No text is shortened: 0."""
    source = Source(extract)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in TABLES:
            with (
                archive.open(f"{table.name}.csv", "w", force_zip64=True) as file,
                io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="") as text,
            ):
                writer = csv.writer(text)
                writer.writerow(table.columns)
                writer.writerows([cell(value) for value in row] for row in table.rows(source))
    return 0


def cell(value: Cell) -> str:
    """A value as it is written in a cell."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.9f}".rstrip("0").rstrip(".")
        case int():
            return str(value)
    return f"'{value}" if value[:1] in MARKS else value


class Source:
    """The rows of all tables. It numbers the sites that they name; callers have lower numbers."""

    def __init__(self, extract: Extract) -> None:
        self.extract = extract
        self.known: dict[Site, int] = {}

    def processes(self) -> Rows:
        """A row for each process."""
        for part in self.extract.parts:
            process = part.process
            yield (
                *(_id(part.key), process.pid, process.parent_pid, json.dumps(process.argv)),
                *(iso_time(process.began_wall), process.began, process.written),
                *(process.finished, process.dropped, process.errors),
                *(process.missing_checkouts, process.missing_facts, process.missing_reason),
                *(
                    process.sampling_interval,
                    process.poolhog_version,
                    json.dumps(dict(process.versions)),
                ),
            )

    def pools(self) -> Rows:
        """A row for each pool."""
        for part in self.extract.parts:
            for pool in part.pools:
                limits = pool.size, pool.max_overflow, pool.capacity, pool.timeout
                yield (_id(pool.id), _id(part.key), pool.library, pool.kind, pool.name, *limits)

    def requests(self) -> Rows:
        """A row for each request, with a checkout or without."""
        for part in self.extract.parts:
            for request in part.requests():
                yield (
                    *(_id(request.id), _id(part.key), request.kind, request.name),
                    *(request.method, request.route, request.path, request.status, request.error),
                    iso_time(self.extract.began_wall + request.started),
                    *(request.started, request.responding, request.responded, request.ended),
                )

    def stages(self) -> Rows:
        """A row for each part of a request's life."""
        for part in self.extract.parts:
            for request in part.requests():
                for stage in request.stages:
                    yield _id(request.id), stage.name, stage.started, stage.ended

    def checkouts(self) -> Rows:
        """A row for each checkout, with its seconds as the report adds them up."""
        for part in self.extract.parts:
            for checkout, _, spent in part.shown():
                yield (
                    *(_id(checkout.id), _id(part.key), _id(checkout.pool.id)),
                    _id(checkout.request.id) if checkout.request is not None else None,
                    *(route_of(checkout), checkout.owner, checkout.connection),
                    *(self.number(checkout.site), checkout.outcome.value),
                    iso_time(self.extract.began_wall + checkout.asked),
                    *(checkout.asked, checkout.granted, checkout.gave_up, checkout.returned),
                    *(spent.wait, spent.use, *spent),
                )

    def operations(self) -> Rows:
        """A row for each operation."""
        for part in self.extract.parts:
            for checkout in part.checkouts():
                for number, operation in enumerate(checkout.operations, start=1):
                    yield (
                        *(_id(checkout.id), number, operation.kind.value),
                        *(operation.started, operation.ended, operation.statement),
                        *(operation.error, operation.cause, self.number(operation.site)),
                    )

    def samples(self) -> Rows:
        """A row for each stretch in which an owner was seen doing the same."""
        for part in self.extract.parts:
            for checkout in part.checkouts():
                for sample in checkout.samples:
                    yield (
                        *(_id(checkout.id), sample.activity.value),
                        *(sample.started, sample.ended, self.number(sample.site)),
                    )

    def sites(self) -> Rows:
        """A row for each site that another table names, or a caller of one; so it comes last."""
        for site, number in self.known.items():
            yield (
                *(number, self.number(site.caller), site.file, site.line),
                *(site.function, site.source, site.is_application),
            )

    def number(self, site: Site | None) -> int | None:
        """The number of a site; ``None`` if there is no site."""
        if site is None:
            return None
        found = self.known.get(site)
        if found is None:
            self.number(site.caller)
            found = self.known[site] = len(self.known) + 1
        return found


def _id(text: str) -> str:
    """Such as ``p4711.10``: 4711.10 would be read as a number, which is the same as 4711.1."""
    return f"p{text}"


def _table(name: str, columns: str, rows: Callable[[Source], Rows]) -> CsvTable:
    return CsvTable(name, tuple(columns.split()), rows)


TABLES = (
    _table(
        "processes",
        "id pid parent_pid argv began_at began_s written_s finished dropped recorder_errors"
        " missing_checkouts missing_facts missing_reason"
        " sampling_interval_s poolhog_version versions",
        Source.processes,
    ),
    _table(
        "pools",
        "id process_id library kind name size max_overflow capacity timeout_s",
        Source.pools,
    ),
    _table(
        "requests",
        "id process_id kind name method route path status error started_at"
        " started_s responding_s responded_s ended_s",
        Source.requests,
    ),
    _table("stages", "request_id name started_s ended_s", Source.stages),
    _table(
        "checkouts",
        "id process_id pool_id request_id route owner connection site_id outcome asked_at"
        " asked_s granted_s gave_up_s returned_s wait_s use_s"
        " queueing_s connecting_s pinging_s busy_s blocked_s parked_s running_s ready_s",
        Source.checkouts,
    ),
    _table(
        "operations",
        "checkout_id number kind started_s ended_s statement error cause site_id",
        Source.operations,
    ),
    _table("samples", "checkout_id activity started_s ended_s site_id", Source.samples),
    _table("sites", "id caller_id file line function source is_application", Source.sites),
)
"""In the order in which they are written: sites last, as the others tell which there are."""


def _hint(file: Path) -> Hint:
    name = file.name.removesuffix(".zip").removesuffix(".csv")
    command = command_of(["python3", "-m", "zipfile", "-e", str(file), f"{name}-csv"])
    return Hint(command, "the tables, for a spreadsheet, pandas or DuckDB")


CSV = Format(
    name="csv",
    purpose="for spreadsheets and data frames",
    suffix=".csv.zip",
    write=write_csv,
    hint=_hint,
    binary="a zip of tables",
)
