"""Our own ES modules as one script: a page is a single file, and loads nothing."""

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
_OTHER_IMPORT = re.compile(r"^\s*(?:import\b|export\s*[{*]|export\s+default\b).*", re.MULTILINE)
_DECLARED = re.compile(
    r"^(export\s+)?(?:async\s+)?(?:function\*?|class|const|let|var)\s+([\w$]+)", re.MULTILINE
)
_EXPORT = re.compile(r"^export\s+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Module:
    """An ES module: what it takes from which others, what it declares and exports, its own code."""

    name: str
    imports: Mapping[str, tuple[str, ...]]
    declared: frozenset[str]
    exported: frozenset[str]
    code: str

    @classmethod
    def of(cls, name: str, source: str) -> Module:
        """Of its text. Raises ``ValueError`` for forms that cannot be put into one script."""
        imports: dict[str, tuple[str, ...]] = {}
        for names, file in _IMPORT.findall(source):
            taken = tuple(n.strip() for n in names.split(",") if n.strip())
            imports[file] = (*imports.get(file, ()), *taken)
        code = _IMPORT.sub("", source)
        other = _OTHER_IMPORT.search(code)
        if other is not None:
            raise ValueError(f"{name}: only named imports and exports go together: {other[0]}")
        renamed = [n for taken in imports.values() for n in taken if " as " in n]
        if renamed:
            raise ValueError(f"{name}: an import cannot have another name: {renamed[0]}")
        declared = _DECLARED.findall(code)
        return cls(
            name=name,
            imports=imports,
            declared=frozenset(n for _, n in declared),
            exported=frozenset(n for export, n in declared if export),
            code=_EXPORT.sub("", code).strip(),
        )


def inlined(entry: str, sources: Mapping[str, str]) -> str:
    """The module and all that it imports, in one script, each after what it needs.

    Raises ``ValueError`` if a module is missing or imports what is not exported, if two of them
    declare the same name, or if they import each other in a circle.
    """
    owner: dict[str, str] = {}
    parts = []
    for module in _in_order(entry, sources, {}, ()):
        for name in sorted(module.declared):
            if name in owner:
                raise ValueError(f"{module.name} and {owner[name]} both declare {name}")
            owner[name] = module.name
        parts.append(f"// {module.name}\n{module.code}")
    return "\n\n".join(parts) + "\n"


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
