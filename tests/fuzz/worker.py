"""Runs verbs on harmed traces, in one process, and tells of each run in a line of JSON.

``worker.py BASE PLACE FIRST LAST VERBS``: cases of these numbers, made of the traces in BASE; with
``report --json``, so many other verbs run on each. A line is written before a verb runs, so that
whoever reads knows what hangs.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import stat
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harm import craft, damage

from poolhog.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBS: tuple[tuple[str, ...], ...] = (
    *(("report",), ("report", "--json"), ("report", "--blame"), ("report", "--html", "OUT")),
    *(
        ("log",),
        ("log", "--json"),
        ("timeline",),
        ("timeline", "--json"),
        ("timeline", "--svg", "OUT"),
    ),
    *(("dump",), ("dump", "--json"), ("sql",), ("whatif", "--release", "all"), ("compare",)),
    *(("export", "--format", form, "-o", "OUT") for form in ("speedscope", "chrome-trace", "csv")),
)
QUERY = "SELECT outcome, count(*), sum(busy_ns) FROM checkouts GROUP BY 1"


def words(verb: tuple[str, ...], trace: Path, out: Path) -> list[str]:
    name, *rest = (str(out) if word == "OUT" else word for word in verb)
    operands = {"compare": [str(trace), str(trace)], "sql": [str(trace), QUERY]}
    return [name, *operands.get(name, [str(trace)]), *rest]


class Watch:
    """What this process opens, makes and deletes, by Python's audit events."""

    READ = frozenset(["open", "sqlite3.connect"])
    DONE = frozenset(["os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink"])
    NEVER = frozenset(
        ["subprocess.Popen", "os.exec", "os.system", "socket.connect", "os.posix_spawn"]
    )

    def __init__(self) -> None:
        self.is_on = False
        self.events: list[tuple[str, str]] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and event in self.READ | self.DONE | self.NEVER:
            self.events.append((event, os.fsdecode(arguments[0]) if _is_path(arguments[0]) else ""))

    def strangers(self, allowed: tuple[str, ...]) -> list[str]:
        """What was touched outside of these places."""
        found = []
        for event, path in self.events:
            place = path.removeprefix("file://").partition("?")[0]
            if place and not place.startswith(("/", ":")):
                place = str(Path.cwd() / place)
            if event in self.NEVER or (place and not place.startswith(allowed)):
                found.append(f"{event} {path}")
        return found


def _is_path(value: object) -> bool:
    return isinstance(value, str | bytes)


def run(arguments: list[str]) -> tuple[int, str, str, str]:
    """A verb as the command line runs it: its exit code, what it prints, and a traceback if any."""
    out, err = io.StringIO(), io.StringIO()
    crash = ""
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            crash = traceback.format_exc()
    return code, out.getvalue(), err.getvalue(), crash


def state(directory: Path) -> dict[str, str]:
    """The files in a directory: what kind they are, and what is in them."""
    found = {}
    for path in sorted(directory.iterdir()):
        mode = path.lstat().st_mode
        content = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[path.name] = f"{stat.S_IFMT(mode)} {hashlib.sha256(content).hexdigest()}"
    return found


def lay(base: Path, trace: Path, kind: str, *, beside: bool) -> None:
    """A trace of a process that ended or was killed, alone or beside one that ended."""
    trace.mkdir()
    for file in (base / kind).iterdir():
        shutil.copy(file, trace / f"2{file.name[file.name.index('.') :]}")
    if beside:
        shutil.copy(next((base / "other").glob("*.sqlite")), trace / "1.sqlite")


class Place:
    """Where one case after the other is made, and its verbs run."""

    def __init__(self, base: Path, place: Path) -> None:
        self.base = base
        self.trace = place / "trace"
        self.victim = place / "victim"
        self.out = place / "out"
        self.watch = Watch()
        self.intact: dict[tuple[str, ...], str] = {}
        self.victim.write_text("nobody deletes this")
        self.source = place / "source"
        self.source.mkdir(exist_ok=True)
        os.chdir(self.source)
        prefix = str(Path(sys.prefix).resolve()), sys.prefix, sys.base_prefix
        self.allowed = (
            *(*prefix, str(Path(main.__code__.co_filename).parents[1]), *HARMLESS),
            *(str(self.trace), str(self.source), str(self.out), str(place / ".out")),
            f"{tempfile.gettempdir()}/poolhog-",
        )

    def case(self, number: int, verbs: int) -> Iterator[dict[str, Any]]:
        """Make a case, and run some verbs on it: what is run, and what came of it."""
        chance = random.Random(number)
        kind = chance.choice(("ended", "killed"))
        beside = chance.random() < 0.5
        is_damage = number % 2 == 0
        chosen = (VERBS[1], *chance.sample(VERBS, verbs))
        intact = {verb: self.unharmed(kind, verb, beside=beside) for verb in chosen}
        lay(self.base, self.trace, kind, beside=beside)
        harm = damage if is_damage else craft
        told = harm(self.trace, chance, self.victim)
        for verb in chosen:
            made = {"case": number, "kind": kind, "beside": beside, "harm": told, "verb": verb}
            yield made
            yield {**made, "is_damage": is_damage, "intact": intact[verb], **self.run(verb)}
        shutil.rmtree(self.trace)

    def unharmed(self, kind: str, verb: tuple[str, ...], *, beside: bool) -> str:
        """What the verb prints of the same trace without harm."""
        key = kind, str(beside), *verb
        if key not in self.intact:
            lay(self.base, self.trace, kind, beside=beside)
            result = self.run(verb)
            assert not result["crash"], result["crash"]
            self.intact[key] = result["printed"]
            shutil.rmtree(self.trace)
        return self.intact[key]

    def run(self, verb: tuple[str, ...]) -> dict[str, Any]:
        """Run a verb on the trace: what it says, and what else it did."""
        self.out.unlink(missing_ok=True)
        before = state(self.trace)
        self.watch.events.clear()
        self.watch.is_on = True
        began = time.monotonic()
        code, printed, errors, crash = run(words(verb, self.trace, self.out))
        self.watch.is_on = False
        return {
            "code": code,
            "seconds": time.monotonic() - began,
            "crash": crash,
            "printed": printed.replace(str(self.trace), "TRACE"),
            "errors": errors.replace(str(self.trace), "TRACE"),
            "strangers": self.watch.strangers(self.allowed),
            "changed": state(self.trace) != before or not self.victim.exists(),
        }


HARMLESS = (
    *("/dev/null", "/proc/self/", "/usr/share/", "/usr/lib/", "/etc/localtime", "/etc/mime"),
    ":memory:",
)
"""What Python and its libraries read."""


def main_of_worker(base: Path, place: Path, first: int, last: int, verbs: int) -> None:
    tell = sys.stdout
    here = Place(base, place)
    for number in range(first, last):
        for result in here.case(number, verbs):
            tell.write(f"{json.dumps(result)}\n")
            tell.flush()


if __name__ == "__main__":
    main_of_worker(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
