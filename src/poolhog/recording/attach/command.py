"""The command of a run: whether it can be recorded, and becoming it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from poolhog.errors import PoolhogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_PYTHON = re.compile(r"(python|pypy)[\d.]*[td]*(-dbg)?")
_IGNORING = "EIS"
"""Python's options that make it ignore PYTHONPATH, or leave out ``sitecustomize``."""


def check_recordable(command: Sequence[str]) -> None:
    """Raise ``PoolhogError`` if the command cannot be started, or would not be recorded."""
    program = _find(command[0])
    option = _ignoring_option(program.name, command[1:])
    if option is not None:
        raise PoolhogError(
            f"python {option} cannot be recorded from outside: leave {option} out, or call "
            "poolhog.install() in the application"
        )
    interpreter = _interpreter(program)
    option = _ignoring_option(Path(interpreter[0]).name, interpreter[1:]) if interpreter else None
    if option is not None:
        # Not the arguments: they may hold secrets, and this may end up in a log.
        plain = shlex.join([interpreter[0], str(program)]) + (" …" if command[1:] else "")
        raise PoolhogError(
            f"{program} is a script for python {option}, which cannot be recorded from outside: "
            f"name its interpreter, as in poolhog run -- {plain}"
        )


def become(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Let the command take the place of this process. Raises ``PoolhogError`` if it cannot."""
    # Python ignores these, and what is ignored stays so in the program that takes its place.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), dict(environ))  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise PoolhogError(f"{command[0]} cannot be started: {error.strerror}") from error


def _find(name: str) -> Path:
    """The program that a shell would start."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    if name.endswith(".py") and Path(name).is_file():
        raise PoolhogError(
            f"{name} is not a command: try poolhog run -- python {shlex.quote(name)}"
        )
    if os.sep in name:
        raise PoolhogError(f"{name} is not a program that you may execute")
    beside = Path(sys.executable).parent / name
    hint = f"name it as {beside}" if beside.is_file() else "is its virtual environment active?"
    raise PoolhogError(f"there is no command {name} on the PATH: {hint}")


def _interpreter(program: Path) -> list[str]:
    """What a script's first line names to run it, with its options; empty for other programs."""
    try:
        with program.open("rb") as file:
            line = file.readline(256)
    except OSError:
        return []
    words = line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        del words[0]
        while words and re.match(r"-|\w+=", words[0]):
            del words[0]
    return words


def _ignoring_option(program: str, arguments: Iterable[str]) -> str | None:
    """The option that keeps a Python from recording itself, if this is a Python and has one."""
    if not _PYTHON.fullmatch(program):
        return None
    return next((f"-{letter}" for letter in _letters(arguments) if letter in _IGNORING), None)


def _letters(arguments: Iterable[str]) -> Iterator[str]:
    """Python's own one-letter options, which end where the program's arguments begin."""
    rest = iter(arguments)
    for argument in rest:
        if argument in ("-", "--") or not argument.startswith("-"):
            return
        if argument.startswith("--"):
            if argument == "--check-hash-based-pycs":
                next(rest, None)
            continue
        letters, value_of, value = re.split(r"([cmWX]|$)", argument[1:], maxsplit=1)
        yield from letters
        if value_of in ("c", "m"):
            return
        if value_of and not value:
            next(rest, None)
