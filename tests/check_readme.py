"""Runs what the README and some pages show: commands, snippets, and what they are said to print.

A line of output must be printed by the command above it, in that order. What is
measured may differ, and a line of three dots stands for any lines.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/times-out.md", "docs/hangs.md", "docs/ci.md", "docs/production.md")
"""In this order: some pages read the traces that an earlier one records."""
RUNS_THIS = {"make test": "it is what runs this check"}
_ABOUT_TIME = re.compile(r"T([789]|1\d) ")
"""Claims about seconds and rates, which a slow or busy machine may refute."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Command:
    """A command line, and the lines that the README shows under it."""

    line: str
    shown: list[str] = field(default_factory=list)


def commands(block: str) -> list[Command]:
    """The commands of a console block: each stands behind a dollar."""
    found: list[Command] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:].partition("  #")[0].strip()))
        elif line.strip() and line.strip() != "...":
            found[-1].shown.append(line)
    return found


def shape(line: str) -> str:
    """The line without what is measured: numbers with their units, what they came to, spacing."""
    if _ABOUT_TIME.match(line):
        line = re.sub(r"✓ yes|✗ no", "?", line)
    return " ".join(re.sub(r"\d[\d,.\-]*( (m?s|times))?", "0", line).split())


def missing(shown: list[str], printed: str) -> str | None:
    """The first shown line that was not printed after the ones before it."""
    lines = iter(shape(line) for line in printed.splitlines())
    return next((line for line in shown if shape(line) not in lines), None)


def run(command: list[str] | str, shown: list[str], directory: Path) -> str | None:
    """What is wrong with a command, or nothing."""
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    absent = missing(shown, done.stdout)
    return f"does not print: {absent}\n{done.stdout}{done.stderr}" if absent else None


def check(page: Path) -> list[str]:
    """Everything that is wrong with a page."""
    faults = []
    for language, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            with tempfile.TemporaryDirectory() as directory:
                code, _, shown = block.partition("\n# prints\n")
                expected = [line.removeprefix("# ") for line in shown.splitlines()]
                fault = run([sys.executable, "-c", code], expected, Path(directory))
            print(f"{'FAILED' if fault else 'ok'}: a snippet of {len(code.splitlines())} lines")
            faults += [fault] if fault else []
        elif language == "console":
            for command in commands(block):
                if command.line in RUNS_THIS:
                    print(f"not run: {command.line} ({RUNS_THIS[command.line]})")
                    continue
                fault = run(command.line, command.shown, ROOT)
                print(f"{'FAILED' if fault else 'ok'}: {command.line}", flush=True)
                faults += [f"{command.line}: {fault}"] if fault else []
    return faults


if __name__ == "__main__":
    found = [fault for page in PAGES for fault in check(ROOT / page)]
    print("\n".join(found) or "The README and the pages do what they say.")
    sys.exit(1 if found else 0)
