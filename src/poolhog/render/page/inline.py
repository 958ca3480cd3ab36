"""Our own ES modules as one script: a page is a single file, and loads nothing.

Each module becomes a function that is called once, after those that it imports from, and returns
what it exports. So its other names stay its own, as in a browser that loads the modules.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_IMPORT = re.compile(r'^import\s*\{([^}]*)\}\s*from\s*"\./([\w-]+\.js)";\n', re.MULTILINE)
_OTHER = re.compile(r"^(?:import\b|export\s*[{*]|export\s+(?:default|let|var)\b).*", re.MULTILINE)
_EXPORTED = re.compile(
    r"^export\s+(?:async\s+)?(?:function\*?|class|const)\s+([\w$]+)", re.MULTILINE
)
_EXPORT = re.compile(r"^export\s+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Module:
    """An ES module: what it takes from which others, what it exports, and its own code."""

    name: str
    imports: Mapping[str, tuple[str, ...]]
    exported: tuple[str, ...]
    code: str

    @classmethod
    def of(cls, name: str, source: str) -> Module:
        """Of its text. Raises ``ValueError`` for forms that cannot be put into one script."""
        imports: dict[str, tuple[str, ...]] = {}
        for names, file in _IMPORT.findall(source):
            taken = tuple(n.strip() for n in names.split(",") if n.strip())
            imports[file] = (*imports.get(file, ()), *taken)
        code = _IMPORT.sub("", source)
        other = _OTHER.search(code)
        if other is not None:
            raise ValueError(f"{name}: only named imports and constant exports can be: {other[0]}")
        renamed = [n for taken in imports.values() for n in taken if " as " in n]
        if renamed:
            raise ValueError(f"{name}: an import cannot have another name: {renamed[0]}")
        exported = tuple(_EXPORTED.findall(code))
        return cls(name, imports, exported, _EXPORT.sub("", code).strip())

    @property
    def function(self) -> str:
        """The module as a function that was called, under a name that others import from."""
        taken = [
            f"const {{ {', '.join(names)} }} = {_variable(other)};"
            for other, names in self.imports.items()
        ]
        body = "\n".join([*taken, self.code, f"return {{ {', '.join(self.exported)} }};"])
        return f"// {self.name}\nconst {_variable(self.name)} = (() => {{\n{body}\n}})();"


def inlined(entry: str, sources: Mapping[str, str]) -> str:
    """The module and all that it imports, in one script, each after what it needs.

    Raises ``ValueError`` if a module is missing, imports what is not exported, or imports itself by
    way of others.
    """
    return "\n\n".join(m.function for m in _in_order(entry, sources, {}, ())) + "\n"


def script(entry: str) -> str:
    """The script of one of the modules in ``js/``, with all that it imports."""
    folder = files(__package__).joinpath("js")
    sources = {
        file.name: file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".js")
    }
    return inlined(entry, sources)


def digest(text: str) -> str:
    """What a Content-Security-Policy calls an inline script or style."""
    hashed = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(hashed).decode()}'"


def _in_order(
    name: str, sources: Mapping[str, str], known: dict[str, Module], path: tuple[str, ...]
) -> Iterator[Module]:
    """The modules, each once and after those that it imports."""
    if name in path:
        raise ValueError(f"modules import each other: {' -> '.join((*path, name))}")
    if name in known:
        return
    if name not in sources:
        raise ValueError(f"{path[-1] if path else 'the page'} imports {name}, which is missing")
    module = Module.of(name, sources[name])
    for other, names in module.imports.items():
        yield from _in_order(other, sources, known, (*path, name))
        missing = [n for n in names if n not in known[other].exported]
        if missing:
            raise ValueError(f"{name} imports {missing[0]}, which {other} does not export")
    known[name] = module
    yield module


def _variable(name: str) -> str:
    """What a module is called in the script."""
    return "$" + name.removesuffix(".js").replace("-", "_")
