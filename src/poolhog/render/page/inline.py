"""The page's script and styles as texts to be inlined: a page is a single file, and loads nothing.

Each of our ES modules becomes a function that is called once, after those that it imports from, and
returns what it exports. So its other names stay its own, as in a browser that loads the modules.
States, colours and textures are made of the palette: scripts and styles have no list of their own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import State
from poolhog.render.palette import BLAMED, DRAWN, LENT, PAINTS, STACKED, STATES, SURFACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from poolhog.render.palette import Paint

PALETTE = "palette.js"
"""The module that is made of the palette."""

TILE = 6
"""The side of the square that a texture repeats; CSS pixels."""

_STROKE = re.compile(r"M([-\d.]+),([-\d.]+) L([-\d.]+),([-\d.]+)")
_STROKE_WIDTH = 1.2
_STRIPE = "#ffffff61"

_IMPORT = re.compile(r'^import\s*\{([^}]*)\}\s*from\s*"\./([\w-]+\.js)";\n', re.MULTILINE)
_OTHER = re.compile(r"^(?:import\b|export\s*[{*]|export\s+(?:default|let|var)\b).*", re.MULTILINE)
_EXPORTED = re.compile(
    r"^export\s+(?:async\s+)?(?:function\*?|class|const)\s+([\w$]+)", re.MULTILINE
)
_EXPORT = re.compile(r"^export\s+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Module:
    """An ES module: the names that it imports, by module, those that it exports, and its code."""

    name: str
    imports: Mapping[str, tuple[str, ...]]
    exported: tuple[str, ...]
    code: str

    @classmethod
    def of(cls, name: str, source: str) -> Module:
        """Read a module from its source.

        Raises ``ValueError`` for forms of import and export that cannot be put into one script.
        """
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
        """The module as a function that is called at once, under a name that others import from."""
        taken = [
            f"const {{ {', '.join(names)} }} = {_variable(other)};"
            for other, names in self.imports.items()
        ]
        body = "\n".join([*taken, self.code, f"return {{ {', '.join(self.exported)} }};"])
        return f"// {self.name}\nconst {_variable(self.name)} = (() => {{\n{body}\n}})();"


def inlined(entry: str, sources: Mapping[str, str]) -> str:
    """Return one script of a module and everything that it imports, each after what it needs.

    Raises ``ValueError`` if a module is missing, imports a name that is not exported, or imports
    itself by way of others.
    """
    return "\n\n".join(m.function for m in _in_order(entry, sources, {}, ())) + "\n"


def script(entry: str) -> str:
    """Return the script of one of the modules in ``js/``, with everything that it imports."""
    folder = files(__package__).joinpath("js")
    sources = {
        file.name: file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".js")
    }
    return inlined(entry, sources | {PALETTE: script_module()})


def styles(names: Iterable[str]) -> str:
    """Return some of our own style sheets in this order; those of the palette are made here."""
    folder = files(__package__)
    return "".join(
        RULES[name]() if name in RULES else folder.joinpath(name).read_text(encoding="utf-8")
        for name in names
    )


def digest(text: str) -> str:
    """Return the name of an inline script or style in a Content-Security-Policy."""
    hashed = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(hashed).decode()}'"


def _in_order(
    name: str, sources: Mapping[str, str], known: dict[str, Module], path: tuple[str, ...]
) -> Iterator[Module]:
    """Yield the modules, each once and after those that it imports."""
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
    """Return the name of a module in the script."""
    return "$" + name.removesuffix(".js").replace("-", "_")


def script_module() -> str:
    """Return an ES module with the states by their numbers, their words, textures and orders."""
    every = (*STATES, State.NOT_HOLDING)
    numbers = {state: number for number, state in enumerate(every)}
    names = {state: PAINTS[state].name for state in every}
    constants = {names[state].upper(): number for state, number in numbers.items()}
    words = {names[s]: PAINTS[s].label.removeprefix(names[s]) for s in every}
    textures = {names[s]: strokes(PAINTS[s]) for s in every if PAINTS[s].texture}
    exports: list[tuple[str, dict[str, Any]]] = [
        ("", constants),
        ("The states of a checkout, as they are numbered in the columns.", {"STATES": STATES}),
        ("The states of a connection that is lent.", {"LENT": LENT}),
        ("The paints of every state, `none` included.", {"PAINTS": list(names.values())}),
        ("What follows the name of a state in a legend.", {"WORDS": words}),
        ("The layers of a chart, the lowest first.", {"STACKED": STACKED}),
        ("The numbers of the states in the order of drawing.", {"DRAWN": [*_of(numbers, DRAWN)]}),
        ("The strokes of a texture, on a tile.", {"TILE": TILE, "TEXTURES": textures}),
        ("The paints of those whom the most requests wait for.", {"BLAMED": BLAMED}),
        ("The paints that are no states.", {"SURFACES": list(SURFACES)}),
    ]
    lines = []
    for told, values in exports:
        lines += [f"// {told}"] if told else []
        lines += [f"export const {name} = {json.dumps(value)};" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def swatch_rules() -> str:
    """Return the CSS rules of the boxes in legends and cards."""
    rules = [f".swatch.{paint.name}{{{_swatch(paint)} !important}}" for paint in PAINTS.values()]
    rules += [f".swatch.{name}{{background-color:var(--{name}) !important}}" for name in BLAMED]
    return "\n".join(rules) + "\n"


def rect_rules() -> str:
    """Return the CSS rules of the bars in a page that has a pattern for each texture."""
    rules = []
    for paint in PAINTS.values():
        name, fill = paint.name, f"var(--{paint.name})"
        if paint.texture:
            rules.append(f".{name}-plain{{fill:{fill}}}")
            fill = f"url(#texture-{name})"
        rules.append(f"rect.{name}{{fill:{fill}}}")
    return "\n".join(rules) + "\n"


def strokes(paint: Paint) -> list[list[float]]:
    """Return the strokes of a paint's texture, each from x, y to x, y."""
    return [[float(number) for number in found] for found in _STROKE.findall(paint.texture)]


def _swatch(paint: Paint) -> str:
    colour = f"var(--{paint.name})"
    lines = strokes(paint)
    if not lines:
        return f"background-color:{colour}"
    x1, y1, x2, y2 = lines[0]
    length = math.hypot(x2 - x1, y2 - y1)
    across = (y1 - y2) / length, (x2 - x1) / length
    angle = round(math.degrees(math.atan2(across[0], -across[1]))) % 180
    offsets = sorted({round(x * across[0] + y * across[1], 1) for x, y, *_ in lines})
    period = min((b - a for a, b in pairwise(offsets)), default=TILE)
    edge = f"{_STROKE_WIDTH}px"
    stripes = f"{_STRIPE} 0 {edge},transparent {edge} {round(period, 1)}px"
    return f"background:repeating-linear-gradient({angle}deg,{stripes}) {colour}"


def _of(numbers: dict[State, int], states: Iterable[State]) -> list[int]:
    return [numbers[state] for state in states]


RULES: Mapping[str, Callable[[], str]] = {"swatches.css": swatch_rules, "bars.css": rect_rules}
"""The styles that are made of the palette."""
