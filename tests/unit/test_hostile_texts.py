"""What a client or a library sent is text wherever it is shown: it steers and forges nothing."""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from formats import check_table
from hypothesis import example, given
from hypothesis import strategies as st
from traces import enlarge, hostile_trace, site
from verbs import poolhog

from poolhog import PoolhogError, open_trace
from poolhog.model import Activity, Outcome
from poolhog.recording.explanation import Explainer
from poolhog.recording.pools import PoolRecord
from poolhog.recording.recorder import Recorder
from poolhog.recording.records import CheckoutRecord
from poolhog.recording.requests import RequestRecord
from poolhog.render.words import command_of
from poolhog.texts import LINES, visible
from poolhog.trace.lookup import by_id, counts_within, longest, names_like, requests_within
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FORGED = "FORGED LINE"
BREAKS = ("\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
ESCAPES = (
    "\x1b[2J\x1b[1;1H\x1b[31m\x9b31m\x1b[?1049h\x1b]0;title\x07\x1b]8;;http://e.example\x1b\\here"
    "\x1b]8;;\x1b\\\x1b]52;c;Zm9yZ2Vk\x07\x9d52;c;Zm9yZ2Vk\x9c\x1bP1$r\x1b\\\x1bc\x08\x7f"
)
DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
UNSEEN = (
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b\u180e\u200b\u200c\u200d\u2060\u2061\u2064\u206a\u3164"
    "\ufe00\ufe0f\ufeff\uffa0\ufff9\U000e0001\U000e0041\U000e007f\U000e0100\U000e01ef\U0001d173"
    "\ue000\ufdd0\U0010ffff"
)
RICH = "[red]red[/red] [link=http://e.example]link[/link] [/closing] [bold :smiley: :warning:"
MARKDOWN = (
    "`|<img src=x onerror=alert(1)>![i](http://e.example/i)[a](http://e.example) @octocat #1 **b** "
    "https://e.example www.e.example <!-- ]]> &lt;"
)
LINE_FORGING = "".join(f"{end}{FORGED}" for end in BREAKS)
EVERYTHING = f"{LINE_FORGING} {CONTROLS}{ESCAPES}{DIRECTION}{UNSEEN}{RICH}{MARKDOWN}"
TEXTS = {
    "everything": EVERYTHING,
    "formula": "=HYPERLINK(http://e.example)",
    "long": "x" * 5_000 + "\x1b[31m",
}

SGR = re.compile(r"\x1b\[[\d;]*m")
"""What Rich writes for its own colours."""

HARMFUL = set(CONTROLS + DIRECTION + UNSEEN + "\u2028\u2029") - {"\n"}


def check(told: str, *, colour: bool = False) -> None:
    """That all of it can go to a terminal."""
    plain = SGR.sub("", told) if colour else told
    assert not HARMFUL & set(plain)
    assert not any(line.startswith(FORGED) for line in plain.split("\n"))


def hostile(directory: Path, text: str, *, name: str = "7") -> Path:
    """A trace in which every text is this one, of requests, work without one, and waits."""
    directory.mkdir(exist_ok=True)
    hostile_trace(directory, "plain")
    trace = directory / "trace"
    (file,) = trace.glob("*.sqlite")
    words = json.dumps({text: text})
    with closing(sqlite3.connect(file)) as database, database:
        ids = {known: key for key, known in database.execute("SELECT id, text FROM texts")}
        ours = {"http", *Outcome, *Activity, "statement"}
        for number, (known, key) in enumerate(ids.items()):
            # Every text is there once: these differ in what nobody sees.
            if known not in ours:
                unique = f"{text}{number}"
                database.execute("UPDATE texts SET text = ? WHERE id = ?", (unique, key))
        ((error,),) = database.execute("SELECT max(id) + 1 FROM texts")
        database.execute("INSERT INTO texts VALUES (?, ?)", (error, text))
        ((site,),) = database.execute("SELECT min(id) FROM sites")
        stages = json.dumps([[error, 0, 1000, site]], separators=(",", ":"))
        for sql, values in (
            ("UPDATE packed_requests SET path = ?, error = ?, stages = ?", (text, error, stages)),
            # One route is not known, and one request is still going on.
            ("UPDATE packed_requests SET route = NULL WHERE id % 2 = 0", ()),
            ("UPDATE packed_checkouts SET owner = ?", (text,)),
            ("UPDATE pools SET library = ?, kind = ?, name = ?", (text, text, text)),
            ("UPDATE sites SET file = ?, function = ?, source = ?", (text, text, text)),
            ("UPDATE meta SET value = ? WHERE key = 'argv'", (json.dumps([text, text]),)),
            ("UPDATE meta SET value = ? WHERE key = 'versions'", (words,)),
            ("UPDATE meta SET value = ? WHERE key = 'poolhog_version'", (text,)),
            ("UPDATE meta SET value = '0' WHERE key = 'finished'", ()),
            ("DELETE FROM meta WHERE key = 'checksum'", ()),
        ):
            database.execute(sql, values)
        ((last, pool, connection),) = database.execute(
            "SELECT id, pool_id, connection FROM packed_checkouts ORDER BY asked DESC LIMIT 1"
        )
        columns = "pool_id, request_id, owner, site_id, outcome, asked, granted, connection"
        for key, (request, outcome, at) in enumerate(
            ((None, "open", 900_000), (None, "waiting", 901_000), (None, "timeout", 902_000)), 1
        ):
            database.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (outcome,))
            granted = 5 if outcome == "open" else None
            database.execute(
                f"INSERT INTO packed_checkouts (id, {columns}) VALUES"
                " (?, ?, ?, ?, ?, (SELECT id FROM texts WHERE text = ?), ?, ?, ?)",
                (last + 100 + key, pool, request, text, site, outcome, at, granted, connection),
            )
        database.execute("UPDATE packed_checkouts SET gave_up = 900 WHERE asked = 902000")
    file.rename(trace / f"{name}.sqlite")
    return trace


@pytest.fixture(scope="module", params=TEXTS)
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile(tmp_path_factory.mktemp(request.param), TEXTS[request.param])


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile(tmp_path_factory.mktemp("everything"), EVERYTHING)


@pytest.fixture(params=[False, True], ids=["plain", "coloured"])
def colour(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    wanted = bool(request.param)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if wanted:
        monkeypatch.setenv("FORCE_COLOR", "1")
    return wanted


FOR_PEOPLE: tuple[tuple[str, ...], ...] = (
    ("report", "TRACE"),
    ("report", "TRACE", "--blame", "--top", "9"),
    ("report", "TRACE", "--route", RICH[:8]),
    ("log", "TRACE"),
    ("log", "TRACE", "--limit", "0", "--route", RICH[:8]),
    ("timeline", "TRACE"),
    ("timeline", "TRACE", "--last", "0.3"),
    ("dump", "TRACE", "--all"),
    ("sql", "TRACE"),
    *(("sql", "TRACE", question) for question in ("waits", "held", "lines", "statements")),
    *(("sql", "TRACE", f"SELECT * FROM {view}") for view in ("requests", "sites", "pools", "meta")),
    ("compare", "TRACE", "TRACE"),
    ("whatif", "TRACE"),
    ("whatif", "TRACE", "--release", "all", "--pool-size", "2"),
)


def words(verb: Sequence[str], trace: Path) -> list[str]:
    return [str(trace) if word == "TRACE" else word for word in verb]


@pytest.mark.parametrize("verb", FOR_PEOPLE, ids=" ".join)
def test_nothing_of_a_trace_steers_a_terminal(
    verb: tuple[str, ...], everything: Path, capsys: pytest.CaptureFixture[str], *, colour: bool
) -> None:
    poolhog(*words(verb, everything))
    told = capsys.readouterr()
    assert told.out
    check(told.out, colour=colour)
    assert ("\x1b" in told.out) <= colour
    assert told.err == "" or colour
    if len(verb) == 2 and verb[0] in ("report", "log", "dump"):
        assert "⟨U+001B⟩" in told.out
        assert "[red]" in told.out


@pytest.mark.parametrize("verb", ["report", "log", "timeline", "dump"])
def test_a_formula_and_a_very_long_text_are_shown_as_well(
    verb: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog(verb, trace)
    check(capsys.readouterr().out)


@pytest.mark.parametrize(
    "verb",
    [
        *(("report",), ("log",), ("timeline",), ("dump",), ("whatif",)),
        ("sql", "SELECT r.*, p.name FROM requests AS r, pools AS p"),
        ("compare", "TRACE"),
    ],
    ids=lambda verb: verb[0],
)
def test_json_is_json_and_can_go_to_a_terminal(
    verb: tuple[str, ...], trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog(verb[0], trace, *words(verb[1:], trace), "--json")
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert told.out.isascii()
    check(told.out)
    if verb[0] == "sql":  # as it was recorded
        assert found[0]["name"] in TEXTS.values()
    else:
        assert not any((HARMFUL - {"\t"}) & set(text) for text in texts_of(found))


def texts_of(value: Any) -> Iterator[str]:  # of JSON, which is any
    match value:
        case str():
            yield value
        case dict():
            for key, item in value.items():
                yield key
                yield from texts_of(item)
        case list():
            for item in value:
                yield from texts_of(item)


def check_picture(file: Path) -> None:
    written = file.read_text(encoding="utf-8")
    check(written)
    names = {element.tag.rpartition("}")[2] for element in ET.fromstring(written).iter()}
    assert not names & {"script", "img", "a", "foreignObject"}


@pytest.mark.parametrize("name", [name for name in TEXTS if "\0" not in TEXTS[name]])
def test_a_curve_is_well_formed(name: str, tmp_path: Path) -> None:
    hostile_trace(tmp_path, TEXTS[name], every_ms=250)
    enlarge(tmp_path / "trace")
    curve = tmp_path / "curve.svg"
    poolhog("whatif", tmp_path / "trace", "--pool-size", "1..3", "--svg", curve)
    check_picture(curve)


def test_pictures_and_pages_are_well_formed(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, picture = (tmp_path / name for name in ("out.html", "out.svg"))
    poolhog("timeline", trace, "--svg", picture)
    poolhog("report", trace, "--html", page)
    check_picture(picture)
    written = page.read_text(encoding="utf-8")
    assert not (HARMFUL - {"\t"}) & set(written)
    assert "<img" not in written
    poolhog("compare", trace, trace, "--html", page)
    assert not (HARMFUL - {"\t"}) & set(page.read_text(encoding="utf-8"))
    told = capsys.readouterr()
    check(told.out)
    check(told.err)


def test_a_comment_of_a_pull_request_has_no_links_mentions_or_pictures(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("compare", trace, trace, "--markdown")
    written = capsys.readouterr().out
    check(written)
    assert not re.findall(r"`|<img|<!--|\]\(|!\[|://|@\w|#\d+ |\*\*|www\.", written)
    assert set(re.findall(r"</?\w+", written)) <= {"<code", "</code", "<br", "<sub", "</sub"}
    rows = [line for line in written.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} <= {5, 6}


def test_exports_can_be_opened_and_have_no_formulas(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("speedscope", "chrome-trace"):
        file = tmp_path / f"{form}.json"
        poolhog("export", trace, "--format", form, "-o", file)
        found = json.loads(file.read_text(encoding="utf-8"))
        assert not any((HARMFUL - {"\t"}) & set(text) for text in texts_of(found))
    file = tmp_path / "tables.zip"
    poolhog("export", trace, "--format", "csv", "-o", file)
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            for row in check_table(archive.read(name).decode()):
                assert not (HARMFUL - {"\t"}) & set("".join(row.values()))
    check(capsys.readouterr().out)


SURPRISES = f"a\x1b[31m\n{FORGED}\u202e[red]:smiley:"


@pytest.mark.parametrize(
    "verb",
    [
        ("report", "TRACE", "--route", f"no{SURPRISES}"),
        ("report", f"nowhere{SURPRISES}"),
        ("report", "TRACE", f"--no{SURPRISES}"),
        ("report", "TRACE", "--pid", SURPRISES),
        ("report", "TRACE", "--threshold", SURPRISES),
        ("report", "TRACE", "--html", f"nowhere{SURPRISES}/out.html"),
        ("log", "TRACE", "--request", SURPRISES),
        ("log", "TRACE", "--route", SURPRISES),
        ("sql", "TRACE", f"SELECT {SURPRISES}"),
        ("sql", "TRACE", "SELECT CAST(x'1b5b33316dff' AS TEXT) AS t"),
        ("sql", SURPRISES.split()[0]),
        ("compare", "TRACE", "TRACE", "--fail-on", SURPRISES),
        ("compare", "TRACE", "TRACE", "--route", SURPRISES),
        ("whatif", "TRACE", "--release", SURPRISES),
        ("whatif", "TRACE", "--pool-size", SURPRISES),
        ("run", "--", f"nowhere{SURPRISES}"),
        (SURPRISES,),
    ],
    ids=lambda verb: verb[0].partition("a\x1b")[0],
)
def test_what_is_quoted_in_an_error_is_text(
    verb: tuple[str, ...], everything: Path, capsys: pytest.CaptureFixture[str], *, colour: bool
) -> None:
    poolhog(*words(verb, everything), code=2)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "\x1b" not in told.err
    check(told.err)


def test_the_columns_of_a_query_are_texts_as_well(
    everything: Path, capsys: pytest.CaptureFixture[str], *, colour: bool
) -> None:
    poolhog("sql", everything, f"SELECT 1 AS \"{SURPRISES}\", '{SURPRISES}' AS b")
    out = capsys.readouterr().out
    check(out, colour=colour)
    assert "[red]:smiley:" in out


def test_a_file_may_be_called_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, colour: bool
) -> None:
    trace = hostile(tmp_path / f"in{SURPRISES}", "plain", name=SURPRISES)
    (trace / f"broken{SURPRISES}.sqlite").write_bytes(b"nothing of the kind")
    for verb in ("report", "log", "timeline", "dump", "whatif"):
        poolhog(verb, trace)
        out = capsys.readouterr().out
        check(out, colour=colour)
        assert "⟨U+001B⟩" in out
        poolhog(verb, trace, "--json")
        json.loads(capsys.readouterr().out)
    poolhog("sql", trace, "held")
    check(capsys.readouterr().err, colour=colour)
    for target in (trace / "nowhere", trace.parent / f"new{SURPRISES}"):
        poolhog("export", trace, "--format", "csv", "-o", target)
        poolhog("timeline", trace, "--svg", target)
        poolhog("report", trace, "--html", target)
        told = capsys.readouterr()
        check(told.out, colour=colour)
        check(told.err, colour=colour)
    (one,) = open_trace(trace).unreadable
    assert not HARMFUL & set(one.file + one.reason)


def test_a_text_that_is_no_text_is_a_damage_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite keeps lone surrogates and other bytes; what is not UTF-8 stands in its message."""
    for number, value in enumerate(("CAST(x'1b5b33316deda080' AS TEXT)", "x'1b'", "7")):
        trace = hostile(tmp_path / str(number), "plain")
        with closing(sqlite3.connect(trace / "7.sqlite")) as database, database:
            database.execute(f"UPDATE packed_checkouts SET owner = {value}")
            database.execute(f"UPDATE texts SET text = {value} WHERE text LIKE 'plain%0'")
        is_text = value == "7"  # it becomes one in a column of texts
        poolhog("report", trace, code=0 if is_text else 2)
        told = capsys.readouterr().err
        assert ("is damaged" in told) is not is_text
        check(told)


def test_suggested_commands_can_be_typed(tmp_path: Path) -> None:
    """Ids and names as they are shown find what they mean; files are given to a shell as bytes."""
    trace = hostile(tmp_path, EVERYTHING, name=SURPRISES)
    readers = stream_trace(trace)
    read = open_trace(trace)
    for request in read.requests:
        found = by_id(readers, request.id)
        assert found is not None
        assert found.name == request.name
        shown = found.request()
        assert shown is not None
        assert shown.id == request.id
        assert request.name in names_like(readers, request.name[:40])
        assert names_like(readers, request.name) == [request.name]
        assert request.name in {one.name for _, one in longest(readers, 9, names=[request.name])}
        within = requests_within(readers[0], -9e9, 9e9, names=[request.name])
        assert request.id in {one.id for one in within}
        assert counts_within(readers, -9e9, 9e9, names=[request.name])[0] >= 1
    (without,) = {c.owner for c in read.checkouts if c.request is None}
    found = by_id(readers, without)
    assert found is not None
    assert (len(found.numbers()), found.total()) == (3, 3)
    assert counts_within(readers, -9e9, 9e9)[1] == 1
    words = ["poolhog", "log", f"a{SURPRISES}'\\é日", "plain", "with space", "⟨U+001B⟩"]
    command = command_of(words)
    check(command)
    if shutil.which("bash") is not None:
        told = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
        )
        assert told.stdout.decode().split("\0")[:-1] == words
    assert command_of(["a b", "c"]) == shlex.join(["a b", "c"])


def test_the_raw_text_finds_what_it_is_shown_as(
    everything: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("report", "log", "timeline"):
        poolhog(verb, everything, "--route", ESCAPES)
        assert "⟨U+009B⟩" in capsys.readouterr().out
    poolhog("log", everything, "--request", EVERYTHING)
    check(capsys.readouterr().out)


def test_the_note_on_a_timeout_has_no_lines_of_others(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace")
    (tmp_path / "app.py").parent.mkdir(exist_ok=True)
    where = site(recorder, tmp_path / f"app{UNSEEN[0]}.py", ESCAPES[8:9])
    pool = PoolRecord(library="x", kind="x", name=EVERYTHING, size=1, max_overflow=0, timeout_s=1.0)
    checkouts = []
    for method, owner in (("GET", "main"), (EVERYTHING, EVERYTHING)):
        request = RequestRecord("http", method, EVERYTHING) if method != "GET" else None
        checkout = CheckoutRecord(pool, request, owner if request is None else EVERYTHING, where)
        checkout.grant(1)
        recorder.journal.open[checkout.id] = checkout
        checkouts.append(checkout)
        recorder.operate(checkout, "statement", EVERYTHING)  # type: ignore[arg-type]
    asking = CheckoutRecord(pool, None, LINE_FORGING, where)
    recorder.journal.open[asking.id] = asking
    error = TimeoutError("QueuePool limit")
    Explainer(recorder.journal).explain(error, asking)
    (note,) = error.__notes__
    check(note)
    head, *lines = note.split("\n")
    assert head.startswith("poolhog: 2 of 1 connections of the pool ")
    assert len(lines) == 2
    assert all(line.startswith("  ") for line in lines)


def test_the_recorder_logs_no_lines_of_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path / "trace")
    with caplog.at_level(logging.WARNING, "poolhog"):
        try:
            raise ValueError(f"no number: {EVERYTHING}")
        except ValueError:
            recorder.failed()
    told = caplog.text
    check(told)
    assert "poolhog failed to record a fact and goes on" in told
    assert "ValueError: no number: ⟨U+000A⟩" in told
    assert "raise ValueError" in told


def test_a_process_that_cannot_be_recorded_says_so_in_a_line(tmp_path: Path) -> None:
    from poolhog.probes import watched_packages
    from poolhog.recording.attach.environment import environment
    from poolhog.recording.options import Options

    environ = dict(environment(tmp_path / "trace", Options(), watched_packages()))
    environ["POOLHOG_OPTIONS"] = json.dumps({SURPRISES: 1})
    done = subprocess.run(
        [sys.executable, "-c", "import sqlite3, poolhog"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr.startswith("poolhog: not recording")
    assert "⟨U+001B⟩" in done.stderr
    assert done.stderr.count("\n") == 1
    check(done.stderr)


@given(st.text())
@example(EVERYTHING)
@example("\U0001faff\ufe0f")
def test_what_is_visible_stays_as_it_is(text: str) -> None:
    for keep in ("", "\t", LINES):
        shown = visible(text, keep=keep)
        assert visible(shown, keep=keep) == shown
        assert not (HARMFUL | {"\n"}) - set(keep) & set(shown)
        shown.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20))
def test_letters_of_all_scripts_stay_as_they_are(text: str) -> None:
    if text.isprintable() and not set(text) & set(UNSEEN):
        assert visible(text) == text


def test_symbols_keep_what_says_that_they_are_emoji() -> None:
    assert visible("⚠\ufe0f 1\ufe0f\u20e3 🚀 e\u0301 日本 שלום हिन्दी") == (
        "⚠\ufe0f 1\ufe0f\u20e3 🚀 e\u0301 日本 שלום हिन्दी"
    )
    assert visible("a\ufe0f") == "a⟨U+FE0F⟩"


def test_what_ends_a_line_stays_only_where_lines_are_wanted() -> None:
    assert visible("a\r\nb\tc\rd", keep=LINES) == "a\nb\tc⟨U+000D⟩d"
    assert visible("a\r\nb") == "a⟨U+000D⟩⟨U+000A⟩b"
    assert str(PoolhogError(f"a{ESCAPES}\n{FORGED}")).isprintable()
