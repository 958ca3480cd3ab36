"""A run of the lab from its empty folder to its report, whatever happens in between."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from poolhog.errors import Interrupted, OutputError
from poolhog.lab.claims import check
from poolhog.lab.experiments import run_experiments
from poolhog.lab.report import publish
from poolhog.lab.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.lab.bench import Watcher
    from poolhog.lab.parameters import Parameters


def run_lab(parameters: Parameters, watcher: Watcher) -> Results:
    """Run the chosen experiments and publish what they found in the output folder.

    Raises ``Interrupted`` after Ctrl-C or a request to end, and any other ``PoolhogError`` if
    something fails; what was finished by then is published, and marked as incomplete.
    """
    output = parameters.output
    _prepare(output)
    results = Results(parameters, started_at=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    try:
        with _ending_as_ctrl_c():
            run_experiments(results, watcher)
        results.complete = True
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted: what was finished is in {output}, marked as incomplete"
        ) from None
    finally:
        _publish(results)
    return results


def _publish(results: Results) -> None:
    """Tell what was measured; if nothing was, leave no folder behind that says nothing."""
    output = results.parameters.output
    if not (results.lifecycle or results.burst or results.load):
        for folder in (output / "logs", output / "traces", output):
            with suppress(OSError):  # it holds something after all, such as a log that tells why
                folder.rmdir()
        return
    results.claims = check(results)
    try:
        publish(results, output)
    except OSError as error:
        raise _cannot_write(output, error) from error


def _prepare(output: Path) -> None:
    """Make the output folder; an earlier run's is left alone."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        occupied = any(output.iterdir())
        if not occupied:
            for name in ("logs", "traces"):
                (output / name).mkdir()
    except OSError as error:
        raise _cannot_write(output, error) from error
    if occupied:
        raise OutputError(f"{output} is not empty: choose a new folder with --output")


def _cannot_write(output: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError(f"cannot write to {output} ({reason}): choose a folder with --output")


@contextmanager
def _ending_as_ctrl_c() -> Iterator[None]:
    """A request to end (SIGTERM, SIGHUP) leaves as little behind as Ctrl-C does."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    endings = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(ending, interrupt) for ending in endings]
    try:
        yield
    finally:
        for ending, handler in zip(endings, before, strict=True):
            signal.signal(ending, handler)
