"""Probes work wherever an application begins to import a library."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from poolhog.probes import PROBES

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
import poolhog

poolhog.install(sys.argv[1])
__import__(sys.argv[2])
module = sys.modules.get(sys.argv[3])
late = [finder for finder in sys.meta_path if getattr(finder, "_module", "") == sys.argv[3]]
print(poolhog._installation.recorder.journal.errors, module is not None, len(late))
"""

WATCHED = sorted(
    {
        name
        for probe in PROBES
        for name, _ in probe.watches
        if not name.startswith(("_pytest", "asyncio")) and find_spec(name.partition(".")[0])
    }
)
"""Of what is installed: of some libraries poolhog only says that they are not recorded."""
OTHERS = [
    ("litestar.connection", "litestar.app"),
    ("fastapi.params", "fastapi.routing"),
    ("sqlalchemy.ext.declarative", "sqlalchemy.orm.session"),
    ("uvicorn.config", "uvicorn.middleware.proxy_headers"),
]


@pytest.mark.parametrize(("first", "watched"), [*((name, name) for name in WATCHED), *OTHERS])
def test_a_probe_comes_when_its_library_is_complete(
    tmp_path: Path, first: str, watched: str
) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "trace"), first, watched],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == ["0", "True", "0"], found.stderr
