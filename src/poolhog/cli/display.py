"""What the lab shows while it runs: a progress bar, and a burst's timeline as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from poolhog.render.output import console, progress
from poolhog.render.timeline_text import timeline_text

if TYPE_CHECKING:
    from types import TracebackType

    from poolhog.analysis.timeline import Timeline

REFRESHES_PER_S = 8


class Display:
    """A :class:`poolhog.lab.fixture.Watcher` on standard error.

    Where that is no terminal, each step is a line.
    """

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._progress = progress(self._console)
        self._task = self._progress.add_task("starting PostgreSQL", total=None)
        self._what = ""
        self._steps: int | None = None
        self._begun = 0
        self._live = Live(
            self._progress,
            console=self._console,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def begin(self, steps: int) -> None:
        """The lab starts, and will take this number of steps."""
        self._steps = steps
        self._progress.update(self._task, total=steps)

    def step(self, what: str) -> None:
        """The next step starts."""
        self._what = what
        self._progress.update(self._task, description=what, completed=self._begun)
        self._begun += 1
        self._live.update(self._progress)
        if not self._console.is_terminal:
            self._console.print(f"{self._begun}/{self._steps} {what}", soft_wrap=True)

    def tell(self, what: str) -> None:
        """The step goes on; this is how far."""
        self._progress.update(self._task, description=f"{self._what} · {what}")

    def draw(self, timeline: Timeline, expected_end: float) -> None:
        """A burst is going on; this is it up to now, on an axis that has room for all of it."""
        if self._console.is_terminal:
            width = self._console.width
            picture = timeline_text(timeline, width=width, axis_end=expected_end)
            self._live.update(Group(self._progress, Text(), picture))
