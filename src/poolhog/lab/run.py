"""A run of the lab from its empty folder to its report, whatever happens in between."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from poolhog.errors import Interrupted, OutputError, PoolhogError
from poolhog.lab.claims import check
from poolhog.lab.experiments import run_experiments
from poolhog.lab.interrupts import interrupts_deferred, interrupts_remembered
from poolhog.lab.report import publish
from poolhog.lab.results import Results

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.lab.bench import Watcher
    from poolhog.lab.parameters import Parameters


def run_lab(parameters: Parameters, watcher: Watcher) -> Results:
    """Run the chosen experiments and publish what they found in the output folder.

    Raises ``Interrupted`` after Ctrl-C or a request to end, and any other ``PoolhogError`` if
    something fails; what was finished by then is published, and marked as incomplete.
    """
    made = _prepare(parameters.output)
    results = Results(parameters, started_at=time.strftime("%Y-%m-%d %H:%M:%S %z").strip())
    try:
        with interrupts_remembered() as raise_again:
            run_experiments(results, watcher, raise_again)
            raise_again()
        results.complete = True
    except KeyboardInterrupt:
        raise _ended(results, Interrupted("interrupted")) from None
    except PoolhogError as error:
        raise _ended(results, error) from error
    finally:
        with interrupts_deferred():
            _publish(results, made)
    return results


def _ended(results: Results, error: PoolhogError) -> PoolhogError:
    """The same error, and what there is of the run, which remembers why it ended."""
    results.failure = str(error)
    if results.is_empty:
        kept = "before anything was finished" if isinstance(error, Interrupted) else ""
        return type(error)(f"{error} {kept}".strip())
    output = results.parameters.output
    return type(error)(f"{error}: what was finished is in {output}, marked as incomplete")


def _publish(results: Results, made: list[Path]) -> None:
    """Tell what was measured; if nothing was, leave no folder behind that says nothing."""
    if results.is_empty:
        for folder in reversed(made):
            with suppress(OSError):  # it holds something after all, such as a log that tells why
                folder.rmdir()
        return
    results.claims = check(results)
    output = results.parameters.output
    results.write(output / "results.json")
    publish(results, output)


def _prepare(output: Path) -> list[Path]:
    """Make the output folder and what it holds; an earlier run's is left alone.

    Returns what was made, the outermost first.
    """
    try:
        if output.is_dir() and any(output.iterdir()):
            raise OutputError(f"{output} is not empty: choose a new folder with --output")
        wanted = [*reversed(output.parents), output, output / "logs", output / "traces"]
        made = [folder for folder in wanted if not folder.exists()]
        for folder in made:
            folder.mkdir()
    except OSError as error:
        raise _cannot_write(output, error) from error
    return made


def _cannot_write(output: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError(f"cannot write to {output} ({reason}): choose a folder with --output")
