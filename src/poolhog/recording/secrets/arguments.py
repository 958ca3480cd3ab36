"""A process's arguments without secrets: what may stand in a trace.

Any value can be a secret, so what is kept are programs, names of options, and the values that are
known to be harmless: numbers, local addresses, files of Python, and what ``programs`` lists.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

from poolhog.recording.secrets.programs import (
    CODE,
    COMMAND,
    COMMANDS,
    FLAGS,
    FOLDER,
    MODULE,
    OPTIONS,
    OTHER,
    PROGRAMS,
    Program,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.recording.secrets.programs import Form

MASK = "***"

_OPTION = re.compile(r"--[A-Za-z]{1,30}\d{0,2}(?:[-_.][A-Za-z]{1,30}\d{0,2}){0,8}")
_PLAIN_OPTION = re.compile(r"--[a-z]{1,30}(?:-[a-z]{1,30}){0,8}")
"""What is an option even where a value may stand."""

_SECRET = re.compile(
    r"(?i)pass(?!enger|ive|through)|pw|secret|token|credential|key|auth|cookie|bearer|dsn|salt|seed"
    r"|phrase|licen[cs]e|signature|session|(?<![a-z])(?:pin|otp|code)(?![a-z])"
)
_ADDRESS = r"(?:\d{1,3}(?:\.\d{1,3}){3}|localhost|\[::1?\])"
_NUMBER = re.compile(r"[+-]?\d{1,5}(?:\.\d{1,5})?")
_HARMLESS = re.compile(
    rf"(?i)true|false|yes|no|on|off|none|(?:https?://)?{_ADDRESS}(?::\d{{1,5}})?/?|:\d{{1,5}}"
    r"|[\w./\\~+-]{1,300}\.py(?:::\w{1,200}){0,5}"
)
_SCRIPT = re.compile(r"(?:^|[/\\])(?:bin|Scripts)[/\\][\w.-]+\Z")
_ASSIGNMENT = re.compile(r"([A-Za-z]{1,30}(?:[_.-][A-Za-z]{1,30}){0,6})=(=*[^=].*)", re.DOTALL)
_URL = re.compile(
    r"((?:postgres|postgresql|mysql|mariadb|sqlite|mssql|oracle|cockroachdb|redis|rediss|amqp|amqps"
    r"|mongodb|https?|wss?)(?:\+(?:asyncpg|psycopg|psycopg2|aiomysql|asyncmy|pymysql|aiosqlite|pyodbc"
    r"|aioodbc|oracledb|srv))?://)"
)
_TEST = re.compile(r"([\w./\\~+-]+\.py(?:::\w+)+)\[.*\]", re.DOTALL)
"""The node id of a test with parameters, whose values are in it."""


class _Unlisted(enum.Enum):
    """What may follow an option whose values are not listed."""

    VALUE = enum.auto()
    """A value, or an argument that has nothing to do with it."""
    DOUBTFUL = enum.auto()
    """The same, but a number may be a password, as after ``-p``."""
    SECRET = enum.auto()
    """A secret, which may begin with a dash."""


def kept_arguments(argv: Iterable[str]) -> list[str]:
    """The arguments, the program first, with ``***`` in place of what may be a secret."""
    words = [str(argument) for argument in argv]
    reader = _Reader(_program(words[0]) if words else OTHER)
    return [*words[:1], *map(reader.kept, words[1:])]


class _Reader:
    """Reads the arguments of a program one after the other."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._expected: Form | _Unlisted | None = None
        self._is_first = True

    def kept(self, argument: str) -> str:
        """The next argument, or what may be kept of it."""
        expected, self._expected = self._expected, None
        if isinstance(expected, re.Pattern) and expected.fullmatch(argument):
            if expected is MODULE:
                self._run(argument.partition(".")[0])
            return argument
        if expected is CODE or (expected is _Unlisted.SECRET and not _is_listed(argument)):
            return MASK
        if argument == "--":
            return argument
        if argument.startswith("--"):
            return self._long(argument, is_certain=expected is None)
        if argument.startswith("-") and argument != "-" and not _NUMBER.fullmatch(argument):
            return self._short(argument, is_certain=expected is None)
        if expected is None:
            return self._positional(argument)
        is_number = _NUMBER.fullmatch(argument) is not None
        return _value(argument) if expected is _Unlisted.VALUE or not is_number else MASK

    def _run(self, name: str) -> None:
        """What follows are the arguments of the program of this name."""
        self._program = PROGRAMS.get(name, OTHER)
        self._is_first = True

    def _long(self, argument: str, *, is_certain: bool) -> str:
        name, equals, value = argument.partition("=")
        if not (_is_listed(name) or (_OPTION if is_certain else _PLAIN_OPTION).fullmatch(name)):
            return MASK
        form = OPTIONS.get(name)
        is_secret = form is None and name not in FLAGS and _SECRET.search(name) is not None
        if not equals:
            if name not in FLAGS and not name.startswith("--no-"):
                self._expected = form or (_Unlisted.SECRET if is_secret else _Unlisted.VALUE)
            return name
        if not value or (form is not None and form.fullmatch(value)):
            return argument
        return f"{name}={MASK if is_secret else _value(value)}"

    def _short(self, argument: str, *, is_certain: bool) -> str:
        """Flags such as ``-xvs``, and an option whose value stands behind it or comes next."""
        options = self._program.options
        letters = argument[1:].lstrip(self._program.flags)
        if not letters:
            return argument
        name, value = f"-{letters[0]}", letters[1:]
        form = options.get(name)
        if form is CODE:
            self._run("")
        if not value and (form is not None or argument == name):
            self._expected = form or _Unlisted.DOUBTFUL
            return argument if letters.isalnum() else MASK
        if form is None or not form.fullmatch(value):
            is_shown = form is not None or (is_certain and argument.startswith(name))
            return f"{argument.removesuffix(value)}{MASK}" if is_shown else MASK
        if form is MODULE:
            self._run(value.partition(".")[0])
        return argument

    def _positional(self, argument: str) -> str:
        program, is_first = self._program, self._is_first
        if is_first and argument in COMMANDS and program.first is not COMMAND:
            return argument
        self._is_first = False
        if program.runs:
            name = _name(argument)
            self._run(name)
            is_program = name in PROGRAMS or _SCRIPT.search(argument)
            return argument if is_program and FOLDER.fullmatch(argument) else _value(argument)
        form = program.first if is_first else program.every
        if form.fullmatch(argument) or program.every.fullmatch(argument):
            return argument
        assignment = _ASSIGNMENT.fullmatch(argument)
        if assignment is None:
            return _value(argument)
        is_secret = _SECRET.search(assignment[1]) is not None
        return f"{assignment[1]}={MASK if is_secret else _value(assignment[2])}"


def _is_listed(argument: str) -> bool:
    """Whether this is an option for certain."""
    name = argument.partition("=")[0]
    return name in OPTIONS or name in FLAGS


def _value(text: str) -> str:
    """A value, if it is harmless wherever it stands, or what tells its kind."""
    if _NUMBER.fullmatch(text) or _HARMLESS.fullmatch(text):
        return text
    beginning = _URL.match(text)
    if beginning is not None:
        return f"{beginning[1]}{MASK}"
    test = _TEST.fullmatch(text)
    return f"{test[1]}[{MASK}]" if test is not None else MASK


def _program(path: str) -> Program:
    return PROGRAMS.get(_name(path), OTHER)


def _name(path: str) -> str:
    """The name of the program that a file is, or a part of: ``uvicorn/__main__.py`` is uvicorn."""
    parts = re.split(r"[/\\]", path)
    name = parts[-1]
    for folder in ("site-packages", "dist-packages"):
        if folder in parts[:-1]:
            name = parts[parts.index(folder) + 1]
    if name == "__main__.py" and len(parts) > 1:
        name = parts[-2]
    name = name.removesuffix(".py").removesuffix(".exe")
    return "python" if re.fullmatch(r"(?:python|pypy)[\d.]*[a-z]?", name) else name
