"""The two sides of a comparison: the sources of another commit, and those of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Side:
    """A poolhog that can be started: an interpreter, and where it finds the package.

    ``sources`` is ``None`` if the package is installed in the interpreter's environment.
    """

    name: str
    python: str
    sources: Path | None

    def environ(self) -> dict[str, str]:
        """The environment of a process of this side.

        The order of sets of texts is the same in every process, and libraries of numbers start
        no threads, so that a process can be forked safely.
        """
        found = {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        found.pop("PYTHONPATH", None)
        if self.sources is not None:
            found["PYTHONPATH"] = str(self.sources)
        return found


def this_checkout() -> Side:
    """The side of the sources that this file belongs to."""
    return Side("this checkout", sys.executable, CHECKOUT / "src")


def side_of_commit(commit: str, folder: Path, *, own_environment: bool = False) -> Side:
    """The side of a commit, whose files are written into ``folder``.

    With ``own_environment`` it is installed, with what it depends on, into a virtual environment;
    otherwise it runs in the environment of this process. Raises ``CalledProcessError`` if there is
    no such commit.
    """
    command = ["git", "-C", str(CHECKOUT), "archive", commit]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder / "files", filter="data")
    if not own_environment:
        return Side(commit, sys.executable, folder / "files" / "src")
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", str(folder / "files")]
    subprocess.run(install, check=True)
    return Side(commit, python, None)
