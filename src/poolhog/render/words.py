"""How numbers, durations, lists, lines of code and commands are written, for people.

Everything that is printed or drawn writes them with these functions: a duration looks alike in a
table, a picture and a sentence. Nothing here knows colours or terminals.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolhog.model import Site

UNSEEN = "code that was not seen"
"""Written in the place of a line of code that no sample or stack shows."""

_LEAST_SHARE = 0.005
_MOST_PIDS = 4
_NARROWEST = 20
_NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=(?:m?s|%)(?!\w))")
_INSTALLED = re.compile(r".*[/\\](?:site-packages|dist-packages|python3\.\d+)[/\\]")
_PLAIN = frozenset(map(chr, range(0x20, 0x7F))) - frozenset("\\'")


# --- Numbers


def rate(value: float) -> str:
    """A number with three digits, at most two of them decimals, such as ``198`` or ``2.04``."""
    size = float(f"{abs(value):.3g}")
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}"


def brief(value: float) -> str:
    """A number with three digits at most, without zeros at its end, such as ``5`` or ``0.25``."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def seconds(value: float) -> str:
    """A duration with three digits, such as ``5.02 s`` or ``12.3 ms``; two decimals below 1 ms."""
    if abs(value) >= 0.9995:
        return f"{rate(value)} s"
    milliseconds_ = value * 1000
    if abs(milliseconds_) >= 0.005:
        return f"{rate(milliseconds_)} ms"
    # What is left of a difference of instants, which are whole microseconds, is nothing.
    return "<0.01 ms" if abs(milliseconds_) > 1e-6 else "0 s"


def duration(value: float) -> str:
    """A duration as a person says it in a sentence, such as ``5 s``, ``12.3 ms`` or ``80 µs``."""
    for limit, unit, factor in ((0.0009995, "µs", 1e6), (0.9995, "ms", 1e3)):
        if 0 < value < limit:
            return f"{brief(value * factor)} {unit}"
    return f"{brief(value)} s"


def exact(value: float) -> float:
    """Seconds as they stand in JSON: instants are whole microseconds, so the rest is rounding."""
    return round(float(value), 9)


def milliseconds(at: float) -> str:
    """An instant of a log, in seconds, as ``12.34 ms``."""
    return f"{at * 1000:,.2f} ms"


def percent(part: float, whole: float = 1.0) -> str:
    """A share, such as ``83 %``; one that is not zero is never written as ``0 %``."""
    share = part / whole if whole > 0 else 0.0
    return "<1 %" if 0 < share < _LEAST_SHARE else f"{share * 100:.0f} %"


def fine_percent(share: float) -> str:
    """A share, such as ``83 %``; one below 10 % with a decimal, such as ``4.2 %``."""
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"


def file_size(size: int) -> str:
    """A number of bytes in thousands or millions, such as ``312.0 kB``."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


@dataclass(frozen=True, slots=True)
class DurationUnit:
    """One unit for all durations of a column, so that they can be compared at a glance."""

    name: str
    factor: float
    digits: int

    @classmethod
    def of(cls, longest: float) -> DurationUnit:
        """The unit in which the longest duration, in seconds, has three digits."""
        name, factor = ("s", 1.0) if longest >= 1.0 else ("ms", 1000.0)
        scaled = longest * factor
        return cls(name, factor, 2 if scaled < 10 else 1 if scaled < 1000 else 0)

    def told(self, value: float) -> str:
        """The number without its unit; ``0`` means below display precision."""
        scaled = value * self.factor
        return f"{scaled:,.{self.digits}f}" if scaled >= 0.5 / 10**self.digits else "0"


# --- Counts and lists


def plural(number: int, noun: str) -> str:
    """The noun as it stands after the number: ``request`` or ``requests``, ``processes``."""
    return noun if number == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"


def count(number: int, noun: str) -> str:
    """A number of things, such as ``1 request`` or ``1,000 requests``."""
    return f"{number:,} {plural(number, noun)}"


def listed(names: Sequence[str], most: int, noun: str = "") -> str:
    """The first ``most`` names, and how many follow, such as ``a, b and 2 more``.

    With a ``noun`` those that follow are counted by it: ``GET /a and 2 other routes``.
    """
    hidden = len(names) - most
    shown = ", ".join(names[:most])
    if hidden <= 0:
        return shown
    return f"{shown} and {count(hidden, noun)}" if noun else f"{shown} and {hidden:,} more"


def listed_pids(pids: Sequence[int]) -> str:
    """Process ids, such as ``process 7`` or ``processes 1, 2, 3, 4 and 12 more``."""
    return f"{plural(len(pids), 'process')} {listed([str(pid) for pid in pids], _MOST_PIDS)}"


# --- Lines of code


def short_path(file: str) -> str:
    """The path from the working directory, or a library's from where it is installed."""
    installed = _INSTALLED.match(file)
    if installed is not None:
        return file[installed.end() :]
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file


def short_name(function: str) -> str:
    """The qualified name of a function, without the mark that it is defined inside another one."""
    return function.replace("<locals>.", "")


def file_name(file: str) -> str:
    """The last part of a path, whichever system it is from."""
    return file.replace("\\", "/").rpartition("/")[2]


def place(site: Site | None) -> str:
    """A line by its file's name, such as ``service.py:46``, for sentences."""
    return f"{file_name(site.file)}:{site.line}" if site is not None else "an unknown line"


def path_and_line(site: Site | None) -> str:
    """A line with the way to its file, such as ``app/service.py:46``, for an editor to open."""
    return file_and_line(site.file, site.line) if site is not None else UNSEEN


def file_and_line(file: str, line: int | str) -> str:
    """A line of a file, with the way to it, such as ``app/service.py:46``."""
    return f"{short_path(file)}:{line}"


def site_json(site: Site | None) -> dict[str, Any] | None:
    """A line of code as it stands in the JSON of every verb."""
    if site is None:
        return None
    return {
        "file": site.file,
        "line": site.line,
        "function": site.function,
        "source": site.source,
    }


# --- Commands and texts


def command_of(words: Iterable[str]) -> str:
    r"""The words as a shell takes them; characters that cannot be seen are written as bytes.

    That is ``$'\x1b'``, which all shells but the oldest know.
    """
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if visible(word) == word:
        return shlex.quote(word)
    escaped = "".join(c if c in _PLAIN else _bytes(c) for c in word)
    return f"$'{escaped}'"


def _bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


@functools.lru_cache(maxsize=10_000)
def abbreviated(statement: str) -> str:
    """What a statement does to which table, such as ``UPDATE notes …``; of others the beginning."""
    text = " ".join(statement.split())
    for pattern, form in _STATEMENTS:
        match = pattern.match(text)
        if match is not None:
            return form.format(match[1])
    if len(text) <= _LONGEST_STATEMENT:
        return text
    return f"{text[: _LONGEST_STATEMENT - 2].rstrip()} …"


_LONGEST_STATEMENT = 40
_TABLE = r'((?:"[^"]+"|[\w$.])+)'
_STATEMENTS = tuple(
    (re.compile(pattern, re.IGNORECASE), form)
    for pattern, form in (  # what is made of them is shown, not sent
        (rf"SELECT\b.*?\bFROM {_TABLE}", "SELECT … FROM {}"),
        (rf"UPDATE (?:ONLY )?{_TABLE}", "UPDATE {} …"),
        (rf"INSERT INTO {_TABLE}", "INSERT INTO {} …"),
        (rf"DELETE FROM (?:ONLY )?{_TABLE}", "DELETE FROM {} …"),  # noqa: S608
    )
)


def shortened(text: str, longest: int) -> str:
    """The beginning of a text that is longer than ``longest`` characters, and ``…``."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def folded_lines(text: str, width: int, hanging: int = 0) -> list[str]:
    """The text in lines of ``width`` columns; a number and its unit stay on one line.

    All lines but the first are indented by ``hanging`` columns.
    """
    lines = textwrap.wrap(
        _NUMBER_AND_UNIT.sub("\xa0", text),
        max(width, _NARROWEST),
        subsequent_indent=" " * hanging,
        break_on_hyphens=False,
    )
    return [line.replace("\xa0", " ") for line in lines]
