"""The map of the code, `docs/dev/architecture.md`, names every module of the package."""

from __future__ import annotations

import re
from pathlib import Path

import poolhog

ROOT = Path(poolhog.__file__).parent
MAP = Path(__file__).parents[2] / "docs" / "dev" / "architecture.md"
APART = {"lab"}
"""Packages that have a page of their own."""


def test_every_module_is_on_the_map() -> None:
    text = MAP.read_text(encoding="utf-8")
    sections = re.split(r"^### `poolhog/?([a-z_/]*)`", text, flags=re.MULTILINE)[1:]
    listed = {
        f"{package}{name}"
        for package, section in zip(sections[::2], sections[1::2], strict=True)
        for name in re.findall(r"^\| `([a-z_]+\.py)` \|", section, re.MULTILINE)
    }
    modules = {str(file.relative_to(ROOT)) for file in ROOT.rglob("*.py")}
    of_others = {name for name in modules if name.split("/")[0] in APART}
    packages = {name for name in modules - listed if name.endswith("__init__.py")}
    bootstrap = {name for name in modules if "/bootstrap/" in name}
    assert modules - of_others - packages - bootstrap - listed == set()
    assert listed - modules == set()
