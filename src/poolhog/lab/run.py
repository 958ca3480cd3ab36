"""A run of the lab, from its empty folder to its report, even if it fails or is interrupted."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from poolhog.errors import Interrupted, OutputError, PoolhogError
from poolhog.lab.claims import check
from poolhog.lab.experiments import run_experiments
from poolhog.lab.interrupts import interrupts_deferred, interrupts_remembered
from poolhog.lab.predictions import Outlooks, checked_predictions
from poolhog.lab.report import publish
from poolhog.lab.results import Results
from poolhog.lab.results_json import write_results

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.lab.fixture import Watcher
    from poolhog.lab.parameters import Parameters


def run_lab(parameters: Parameters, watcher: Watcher) -> Results:
    """Run the chosen experiments and publish their results in the output folder.

    Raises ``Interrupted`` after Ctrl-C or a request to end, and any other ``PoolhogError`` if
    something fails. Finished results are published all the same, and marked as incomplete.
    """
    made = _prepare(parameters.output)
    results = Results(parameters, started_at=time.strftime("%Y-%m-%d %H:%M:%S %z").strip())
    outlooks = Outlooks()
    try:
        with interrupts_remembered() as raise_again:
            run_experiments(results, outlooks, watcher, raise_again)
            raise_again()
        results.complete = True
    except KeyboardInterrupt:
        raise _ended(results, Interrupted("interrupted")) from None
    except PoolhogError as error:
        raise _ended(results, error) from error
    finally:
        with interrupts_deferred():
            _publish(results, outlooks, made)
    return results


def _ended(results: Results, error: PoolhogError) -> PoolhogError:
    """The error to raise, with a word on what was kept; the results remember the reason."""
    results.failure = str(error)
    if results.is_empty:
        kept = "before anything was finished" if isinstance(error, Interrupted) else ""
        return type(error)(f"{error} {kept}".strip())
    output = results.parameters.output
    return type(error)(f"{error}: what was finished is in {output}, marked as incomplete")


def _publish(results: Results, outlooks: Outlooks, made: list[Path]) -> None:
    """Write all files of the run; if nothing was measured, remove the empty folders instead."""
    if results.is_empty:
        for folder in reversed(made):
            with suppress(OSError):  # it is not empty: a log may say what failed
                folder.rmdir()
        return
    predictions = checked_predictions(results, outlooks)
    results.claims = check(results, predictions)
    output = results.parameters.output
    write_results(results, predictions, output / "results.json")
    publish(results, output)


def _prepare(output: Path) -> list[Path]:
    """Create the output folder and its subfolders; an earlier run's folder is refused.

    Returns the folders that were created, the outermost first.
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
