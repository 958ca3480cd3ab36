"""Runs a verb as the command line does, in this process."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from typer import main as typer_main

from poolhog.cli import main

if TYPE_CHECKING:
    from pathlib import Path

# Typer makes all commands anew for each call, which takes as long as a small report.
typer_main.get_command = cache(typer_main.get_command)


def poolhog(*arguments: str | Path, code: int = 0) -> None:
    """Run ``poolhog`` with these arguments, and have it exit so."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == code
