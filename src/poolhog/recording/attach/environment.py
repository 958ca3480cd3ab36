"""The environment in which a Python process records itself, and so do those that it starts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from poolhog.recording.attach.bootstrap import sitecustomize
from poolhog.recording.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOOTSTRAP = str(Path(sitecustomize.__file__).parent)


def environment(
    directory: Path,
    options: Options,
    packages: Iterable[str],
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """``environ`` with what has every Python process below it record into ``directory``.

    Each loads poolhog when it imports one of the ``packages``.
    """
    attached = {
        **environ,
        "PYTHONPATH": _path(environ.get("PYTHONPATH", "")),
        sitecustomize.TRACE: str(directory.absolute()),
        sitecustomize.LIBRARIES: ",".join(packages),
    }
    # Those of a run around this one are not for this one.
    attached.pop(sitecustomize.OPTIONS, None)
    if options != Options():
        attached[sitecustomize.OPTIONS] = json.dumps(_arguments(options))
    return attached


def _path(inherited: str) -> str:
    # An empty entry would be the working directory, and an empty variable is none.
    entries = inherited.split(os.pathsep) if inherited else []
    return os.pathsep.join([BOOTSTRAP, *(entry for entry in entries if entry != BOOTSTRAP)])


def _arguments(options: Options) -> dict[str, object]:
    """The options as ``poolhog.install()`` takes them."""
    return {
        "include": options.include,
        "exclude": options.exclude,
        "sampling_interval": options.sampling_interval_s,
        "source": options.source,
        "watch_locks": options.watch_locks or None,
    }
