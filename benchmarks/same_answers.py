"""Whether two commits give the same answers of the same traces.

    python benchmarks/same_answers.py [--commit 901d70a] [--traces DIRECTORY] [--only NAME ...]
        [--cases DIRECTORY] [--no-large] [--quiet] [--venv]

The old side is a commit, the new one the checkout that this file belongs to. Traces are recorded
once into the directory, by default a temporary one, and are read by both sides at the same time.
What each verb prints for programs is compared: the same keys, lists in the same order, the same
texts, and numbers within a millionth. The exit code is 1 if an answer differs in a way that
``known_differences.toml`` does not explain.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from answer_questions import PAGE, QUESTIONS, Question
from answer_traces import LIVE, Recipe, frozen_service, making_command, recipes
from json_differences import MISSING, Difference, KnownDifferences, differences
from sides import Side, side_of_commit, this_checkout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
KNOWN = HERE / "known_differences.toml"
WITHIN_S = 1800
MOST_SHOWN = 3
MOST_COUNTED = 100_000
FACTS = """
    SELECT (SELECT id FROM requests ORDER BY started_ns, id
            LIMIT 1 OFFSET (SELECT count(*) / 2 FROM requests)) AS request,
           (SELECT owner FROM checkouts ORDER BY asked_ns, id
            LIMIT 1 OFFSET (SELECT count(*) / 2 FROM checkouts)) AS owner,
           (SELECT max(pid) FROM meta) AS pid
"""
"""What questions name: a request from the middle, or an owner, and a process."""

OTHERWISE_EACH_TIME = re.compile(
    r"processes\[\d+\]\.written_age_s|(.*\.)?made_at|(.*\.)?since_written_s"
)
"""Paths of values that say when poolhog was asked."""


@dataclass(frozen=True)
class Answer:
    """What a verb gave: its exit code, and the bytes of its answer."""

    code: int
    raw: bytes
    errors: str
    cpu_s: float

    @property
    def is_crash(self) -> bool:
        """Whether it ended with an exception, or by a signal."""
        return self.code < 0 or "Traceback (most recent call last)" in self.errors


class Server:
    """A side that answers questions in their order; it lives as long as its ``with`` block."""

    def __init__(self, side: Side, folder: Path) -> None:
        self.side = side
        self.folder = folder
        self.cpu_s = 0.0
        self.asked = 0
        self.files: deque[Path] = deque()

    def __enter__(self) -> Server:
        self.folder.mkdir()
        self.process = subprocess.Popen(
            [self.side.python, str(HERE / "answer_server.py")],
            env=self.side.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, words: list[str], file: str | None = None) -> None:
        """Put a question after those that are not answered yet."""
        self.asked += 1
        folder = self.folder / str(self.asked)
        folder.mkdir()
        self.files.append(folder / (file or "stdout"))
        asked = {"words": words, "folder": str(folder), "seconds": WITHIN_S}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Answer:
        """The answer to the first question that was asked and not answered."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.side.name} does not answer any more"
        told = json.loads(line)
        self.cpu_s += told["cpu_s"]
        file = self.files.popleft()
        raw = file.read_bytes() if file.exists() else b""
        errors = (file.parent / "stderr").read_text(errors="replace")
        shutil.rmtree(file.parent)
        return Answer(told["code"], raw, errors, told["cpu_s"])


@dataclass
class Totals:
    """How many answers were the same, and which were not."""

    same: int = 0
    known: int = 0
    differing: list[str] = field(default_factory=list)


@dataclass
class Comparison:
    """Both sides, and what was found of them so far."""

    old: Server
    new: Server
    known: KnownDifferences
    is_quiet: bool
    totals: Totals = field(default_factory=Totals)

    def ask_all(self, trace: Path, other: Path, questions: Sequence[Question]) -> None:
        """Ask both sides at once, and print how each answer compares."""
        filled = {"TRACE": str(trace), "OTHER": str(other), **self.facts(trace)}
        before = self.totals.same
        for question in questions:
            words = [filled.get(word, word) for word in question.words.split(" ")]
            for server in (self.old, self.new):
                server.ask([*words, *question.extra], question.file)
        for question in questions:
            self.compare(trace.name, question, self.old.answer(), self.new.answer())
        if self.is_quiet:
            print(f"{trace.name:28} {self.totals.same - before} answers the same", flush=True)

    def compare(self, trace: str, question: Question, old: Answer, new: Answer) -> None:
        """Print how two answers compare."""
        found = list(islice(_found(question, old, new), MOST_COUNTED))
        left = [one for one in found if not self.known.is_known(trace, question.name, one)]
        self.totals.same += not found
        self.totals.known += bool(found) and not left
        name = f"{trace:28} {question.name:26}"
        cost = f"{old.cpu_s:6.2f} -> {new.cpu_s:6.2f} s"
        if left:
            self.totals.differing.append(f"{trace}: {question.name}")
            kinds = Counter(re.sub(r"\d+", "*", one.path) for one in left)
            print(f"{name} {f'differs: {len(left)} values, {len(kinds)} paths':30} {cost}")
            for one in left[:MOST_SHOWN]:
                print(f"    {one}")
            sys.stdout.flush()
        elif not self.is_quiet:
            how = f"same, but for {len(found)} known" if found else "same"
            how += f" (both end with {old.code})" if old.code else ""
            print(f"{name} {how:30} {cost}", flush=True)

    def facts(self, trace: Path) -> dict[str, str]:
        """A request and a process of the trace, as the old side names them."""
        self.old.ask(["sql", str(trace), FACTS, "--json"])
        answer = self.old.answer()
        assert not answer.code, answer.errors
        (found,) = json.loads(answer.raw)
        request = found["request"] or found["owner"] or "MainThread"
        return {"REQUEST": request, "PID": str(found["pid"])}


def _found(question: Question, old: Answer, new: Answer) -> Iterator[Difference]:
    """How two answers differ."""
    for name, answer in (("old", old), ("new", new)):
        if answer.is_crash:
            last = answer.errors.strip().splitlines()[-1:] or ["no words"]
            yield Difference(f"crash of the {name} side", answer.code, last[0])
            return
    if old.code != new.code:
        yield Difference("exit code", f"{old.code} {old.errors}", f"{new.code} {new.errors}")
        return
    if old.raw == new.raw:
        return
    one, other = _common(question, question.parse(old.raw), question.parse(new.raw))
    for difference in differences(one, other):
        is_there = MISSING not in (difference.old, difference.new)
        if not (is_there and OTHERWISE_EACH_TIME.fullmatch(difference.path)):
            yield difference


def _common(question: Question, old: Any, new: Any) -> tuple[Any, Any]:
    """What can be compared: of pages whose data have another form, what is in every form."""
    if question.file != PAGE or old["version"] == new["version"]:
        return old, new
    print(f"    the data of the page have form {old['version']} and {new['version']}: only the")
    print("    timelines in them are compared")
    return _in_every_form(old), _in_every_form(new)


def _in_every_form(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: side[key] for key in ("label", "timeline")} for side in page["sides"]]


def make(recipe: Recipe, folder: Path, cases: Path | None) -> str | None:
    """Make the traces of a recipe that are not there; returns why there are none."""
    lacking = [name for name in recipe.names if not (folder / name).exists()]
    if not lacking:
        return None
    failed = folder / f"{recipe.names[0]}.failed"
    if failed.exists():
        return failed.read_text()
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as made:
        print(f"making {recipe.names[0]}", flush=True)
        done = subprocess.run(
            making_command(recipe.names[0], Path(made), cases),
            env=this_checkout().environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        for name in lacking:
            if list((Path(made) / name).glob("*.sqlite")):
                (Path(made) / name).rename(folder / name)
    if any((folder / name).exists() for name in recipe.names):
        return None
    lines = done.stderr.strip().splitlines() or ["it recorded nothing"]
    failed.write_text(lines[-1])
    return lines[-1]


def chosen(given: argparse.Namespace) -> list[Recipe]:
    """The recipes that were asked for."""
    found = [one for one in recipes(given.cases) if not (given.no_large and one.is_large)]
    if not given.only:
        return found
    return [one for one in found if any(_is_wanted(name, given.only) for name in one.names)]


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return any(name.startswith(text) for text in wanted)


def compare_all(given: argparse.Namespace, comparison: Comparison) -> int:
    """Ask of every trace; returns how many there were."""
    other = given.traces / "orders"
    first = next(one for one in recipes() if one.names == ("orders",))
    wanted = chosen(given)
    for recipe in [first, *wanted]:
        is_made = recipe.names != (LIVE,)
        reason = make(recipe, given.traces, given.cases) if is_made else None
        if reason is not None:
            print(f"{recipe.names[0]}: no trace: {reason}", flush=True)
    asked = 0
    for recipe in wanted:
        for name in recipe.names:
            if given.only and not _is_wanted(name, given.only):
                continue
            with ExitStack() as living:
                trace = given.traces / name
                if name == LIVE:
                    trace = living.enter_context(frozen_service())
                if trace.exists():
                    questions = [q for q in QUESTIONS if q.suits_large or not recipe.is_large]
                    comparison.ask_all(trace, other, questions)
                    asked += 1
            other = trace if trace.exists() else other
    return asked


def tell(comparison: Comparison, traces: int, seconds: float) -> None:
    """Print the known differences that were met, and the totals."""
    totals, known = comparison.totals, comparison.known
    print()
    for entry in known.entries:
        print(f"known, {known.met[entry]} times: {entry.answer} {entry.path}: {entry.reason}")
    for name in totals.differing:
        print(f"differs: {name}")
    print(
        f"{traces} traces, {totals.same} answers the same, {totals.known} but for known "
        f"differences, {len(totals.differing)} differ; {seconds:.0f} s, CPU "
        f"{comparison.old.cpu_s:.0f} s of {comparison.old.side.name} and "
        f"{comparison.new.cpu_s:.0f} s of {comparison.new.side.name}"
    )


def main() -> int:
    """Compare the sides on all traces; returns 1 if they differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commit", default="901d70a", help="the old side")
    parser.add_argument("--traces", type=Path, help="where the traces are kept")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="traces whose name begins so")
    parser.add_argument("--cases", type=Path, help="a folder of services to record as well")
    parser.add_argument("--no-large", action="store_true", help="without a million checkouts")
    parser.add_argument("--quiet", action="store_true", help="print only what differs")
    parser.add_argument(
        "--venv", action="store_true", help="install the old side in an environment of its own"
    )
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="poolhog-same-") as temporary:
        folder = Path(temporary)
        given.traces = (given.traces or folder / "traces").resolve()
        given.traces.mkdir(parents=True, exist_ok=True)
        old = side_of_commit(given.commit, folder, own_environment=given.venv)
        with Server(old, folder / "old") as one, Server(this_checkout(), folder / "new") as two:
            comparison = Comparison(one, two, KnownDifferences.read(KNOWN), given.quiet)
            traces = compare_all(given, comparison)
        tell(comparison, traces, time.monotonic() - began)
    return bool(comparison.totals.differing)


if __name__ == "__main__":
    sys.exit(main())
