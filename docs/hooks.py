"""Lets the site show files of the repository that are not in docs/, with links that work in both.

The README is the site's first page. A link to a file outside of docs/ works in the repository, and
on the site it leads to a copy of that file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md"}
"""Files of the repository, and the pages that they are on the site."""
OF_THE_PROJECT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^ *```")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside of docs/ that pages may link to."""
    examples = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*.py"))
    examples.append("tests/integration/test_example_fix.py")
    for name in (*PAGES, *OF_THE_PROJECT, *examples):
        place = PAGES.get(name, name)
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn the repository's links into the site's."""
    place = page.file.src_uri
    origin = {site: name for name, site in PAGES.items()}.get(place, place)
    is_outside = origin in PAGES or origin in OF_THE_PROJECT
    source = posixpath.dirname(origin if is_outside else f"docs/{origin}")
    is_code = False
    lines = []
    for line in markdown.split("\n"):
        is_code = is_code != bool(_FENCE.match(line))
        lines.append(line if is_code else _LINK.sub(lambda m: _linked(m, source, place), line))
    return "\n".join(lines)


def _linked(link: re.Match[str], source: str, place: str) -> str:
    target = posixpath.normpath(posixpath.join(source, link[1]))
    target = PAGES.get(target, target.removeprefix("docs/"))
    relative = posixpath.relpath(target, posixpath.dirname(place) or ".")
    return f"]({relative}{link[2] or ''})"
