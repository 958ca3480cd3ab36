"""The traces that are harmed: recorded anew for a session, of a real service."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SERVICE = Path(__file__).with_name("service.py")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three traces of one process each: two that ended, and one that was killed."""
    return record(tmp_path_factory.mktemp("fuzz") / "base")


def record(base: Path) -> Path:
    """Record them there."""
    base.mkdir()
    for name, how in (("ended", "ended"), ("killed", "killed"), ("other", "ended")):
        command = [sys.executable, "-W", "ignore", str(SERVICE)]
        place = [str(base / name), str(base / f"{name}.db"), how]
        done = subprocess.run([*command, *place], check=False, timeout=120)
        assert done.returncode == (-signal.SIGKILL if how == "killed" else 0)
    return base
