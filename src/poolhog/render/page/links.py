"""Where a page leads to: commands of the terminal, and lines of code in an editor."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from poolhog.render.page.source import SourceFiles
from poolhog.render.words import command_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from poolhog.model import Site

EDITOR = "vscode://file/{path}:{line}"
"""The address that opens a line in an editor, unless the reader chose another one."""

NO_EDITOR = "none"
"""Written instead of an address: lines are not linked."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SLASH = re.compile(r"[^/]/\{path\}")
"""The address has the path's first slash already; of ``file://`` it is not the path's."""

_RUNS = frozenset({"javascript:", "data:", "vbscript:", "blob:"})


def checked_editor(template: str) -> str:
    """Return the template of an editor's addresses, "" for ``none``.

    Raises ``ValueError`` if it is no address, would run code, or lacks ``{path}`` or ``{line}``.
    """
    if template == NO_EDITOR:
        return ""
    scheme = _SCHEME.match(template)
    if scheme is None or scheme[0].lower() in _RUNS:
        raise ValueError("it must be an address of an editor, such as " + EDITOR)
    missing = [part for part in ("{path}", "{line}") if part not in template]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}, as {EDITOR} has")
    return template


@dataclass(frozen=True, slots=True)
class Links:
    """Where a run of a page leads to.

    ``target`` names the trace in a shell ("": no command is shown), ``editor`` is the template of
    addresses that open a line ("": none is linked). Only files in ``sources`` are linked.
    """

    target: str = ""
    editor: str = ""
    sources: SourceFiles = field(default_factory=lambda: SourceFiles(None))

    def address(self, site: Site | None) -> str:
        """Return the address that opens a line in the editor; "" if its file is not here."""
        if site is None or not self._opens(site.file):
            return ""
        has_slash = _SLASH.search(self.editor) is not None
        path = quote(site.file.lstrip("/") if has_slash else site.file, safe="/:")
        return self.editor.replace("{path}", path).replace("{line}", str(site.line))

    def command(self, verb: str, *options: str) -> str:
        """Return the command of a verb about this trace; "" if it is not known where that is."""
        if not self.target:
            return ""
        return f"poolhog {verb} {self.target} {command_of(options)}".rstrip()

    def json(self, files: Mapping[int, str]) -> dict[str, Any]:
        """Return what the script has to know; ``files`` are the numbers of texts, and the files."""
        here = sorted({number for number, file in files.items() if self._opens(file)})
        return {"target": self.target, "editor": self.editor, "here": here}

    def _opens(self, file: str) -> bool:
        return bool(self.editor) and self.sources.has(file)


NO_LINKS = Links()
"""Of a run whose trace is not known, and whose source files are not here."""


def target_text(directory: Path, *, working: Path, home: Path, pid: int | None = None) -> str:
    """Return how a shell names a trace: from the working directory, or from the user's home.

    The home is written ``~``, so that a page that is sent to others does not name its user.
    """
    found = directory.resolve()
    words = [] if pid is None else ["--pid", str(pid)]
    if found.is_relative_to(working.resolve()):
        return command_of([str(found.relative_to(working.resolve())), *words])
    if found.is_relative_to(home.resolve()):
        return "~/" + command_of([str(found.relative_to(home.resolve())), *words])
    return command_of([str(found), *words])
