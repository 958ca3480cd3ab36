"""The screen of ``poolhog top``: Textual reads the keys, and draws the lines of ``render``."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from poolhog.errors import PoolhogError
from poolhog.render.output import paragraph
from poolhog.render.top import details, screen
from poolhog.render.top_views import ORDERS, VIEWS, Choice, Showing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual.app import ComposeResult

    from poolhog.analysis.findings_so_far import FindingsSoFar
    from poolhog.analysis.live import LiveRun

MOST_SHARE = 0.07
"""The share of a core that looking and drawing may take: more is looked at less often."""

_MARGIN = 4
"""Columns that the frame of the details takes."""


class Lines(Widget):
    """Lines that fill the room there is; ``draw`` makes them for a width and a height."""

    DEFAULT_CSS = "Lines { height: 1fr; }"

    def __init__(self, draw: Callable[[int, int], Iterable[Text]]) -> None:
        super().__init__()
        self._draw = draw

    def render(self) -> Text:
        """The lines as one text."""
        return Text("\n", no_wrap=True, end="").join(self._draw(*self.size))


class Details(ModalScreen[None]):
    """All that is known of one row, above the screen, until a key closes it."""

    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar = [("escape,enter,q", "dismiss", "Close")]
    CSS = """
    Details { align: center middle; }
    Details VerticalScroll {
        width: 100%; height: auto; max-height: 90%; border: round $foreground; padding: 0 1;
        background: $background;
    }
    """

    def __init__(self, lines: list[Text]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        """The lines, which scroll if they do not fit."""
        with VerticalScroll() as box:
            box.border_subtitle = "Esc closes, arrows scroll"
            yield Static(Text("\n", no_wrap=True).join(self._lines))


class TopScreen(App[None]):
    """Looks at a run every ``interval`` seconds, and shows it until somebody quits."""

    CSS = """
    Screen { background: ansi_default; }
    #find { dock: bottom; height: 1; border: none; padding: 0; display: none; }
    #find.shown { display: block; }
    """
    AUTO_FOCUS = ""
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [
        Binding("q,ctrl+c", "quit", "Quit"),
        Binding("space,p", "freeze", "Freeze"),
        Binding("slash", "find", "Find"),
        Binding("escape", "clear", "Clear"),
        Binding("s", "sort", "Sort"),
        Binding("r", "reverse", "Reverse"),
        Binding("tab", "view(1)", "Next view", priority=True),
        Binding("shift+tab", "view(-1)", "Previous view", priority=True),
        Binding("enter", "details", "Details"),
        Binding("down,j", "move(1)", "Down"),
        Binding("up,k", "move(-1)", "Up"),
        Binding("pagedown", "move(10)", "10 down"),
        Binding("pageup", "move(-10)", "10 up"),
        Binding("home,g", "move(-1_000_000)", "First"),
        Binding("end,G", "move(1_000_000)", "Last"),
    ]

    def __init__(self, run: LiveRun, findings: FindingsSoFar, title: str, interval: float) -> None:
        super().__init__(ansi_color=True)
        self.choice = Choice()
        # Kept: above another screen, or at the end, they are not to be found.
        self._body = Lines(self._lines)
        self._find = Input(id="find", placeholder="text of a route, task, line, state or process")
        self._run = run
        self._findings = findings
        self._title = title
        self._interval = interval
        self._error = ""
        self._key: object = None
        self._showing: Showing | None = None
        self._spent = time.thread_time()

    def compose(self) -> ComposeResult:
        """The lines, and the text to look for, which is hidden until it is asked for."""
        yield self._body
        yield self._find

    def on_mount(self) -> None:
        """Look for the first time, and from now on again and again."""
        self._tick()

    def on_unmount(self) -> None:
        """Compute no more findings."""
        self._findings.stop()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what has the text, while it is typed."""
        self._choose(text=event.value, row=0)

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """Go back to the rows; the text stays."""
        self._stop_finding()

    def action_freeze(self) -> None:
        """Stop looking, or go on."""
        self._choose(is_frozen=not self.choice.is_frozen)
        self._look()

    def action_find(self) -> None:
        """Type the text to look for."""
        self._find.add_class("shown")
        self._find.focus()

    def action_clear(self) -> None:
        """Show all rows again."""
        self._find.value = ""
        self._stop_finding()

    def action_sort(self) -> None:
        """Use the next order of the checkouts."""
        self._choose(order=(self.choice.order + 1) % len(ORDERS), row=0)

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._choose(is_reversed=not self.choice.is_reversed, row=0)

    def action_view(self, step: int) -> None:
        """Go to another view."""
        self._choose(view=(self.choice.view + step) % len(VIEWS), row=0)

    def action_move(self, step: int) -> None:
        """Go to another row."""
        last = max(len(self._rows()) - 1, 0)
        self._choose(row=min(max(self.choice.row + step, 0), last))

    def action_details(self) -> None:
        """Show all that is known of the row."""
        if self._showing is None:
            return
        lines = details(self._showing, self.choice, self.size.width - _MARGIN)
        if lines:
            self.push_screen(Details(lines))

    def _stop_finding(self) -> None:
        self._find.remove_class("shown")
        self.set_focus(None)

    def _choose(self, **changes: object) -> None:
        self.choice = replace(self.choice, **changes)  # type: ignore[arg-type]
        rows = self._rows()
        at = min(self.choice.row, len(rows) - 1)
        self._key = VIEWS[self.choice.view].key(rows[at]) if rows else None
        self._redraw()

    def _rows(self) -> list[object]:
        if self._showing is None:
            return []
        return list(VIEWS[self.choice.view].rows(self._showing, self.choice))

    def _tick(self) -> None:
        """Look, and set the time of the next look: the more the last one took, the later."""
        spent = time.thread_time() - self._spent
        self._spent += spent
        self.set_timer(max(self._interval, spent / MOST_SHARE), self._tick)
        self._look()

    def _look(self) -> None:
        """Read the run anew, unless it is frozen; the row that was chosen stays chosen."""
        if self.choice.is_frozen and self._showing is not None:
            return
        try:
            live = self._run.look()
            self._error = ""
        except PoolhogError as error:
            self._error = str(error)
        else:
            now = time.monotonic()
            self._showing = Showing(live, self._title, self._findings.latest, now)
            self._follow()
        self._redraw()

    def _follow(self) -> None:
        if self._key is None or self.choice.row == 0:
            return
        key = VIEWS[self.choice.view].key
        for index, row in enumerate(self._rows()):
            if key(row) == self._key:
                self.choice = replace(self.choice, row=index)
                return

    def _redraw(self) -> None:
        self._body.refresh()

    def _lines(self, width: int, height: int) -> list[Text]:
        if self._error or self._showing is None:
            return [*paragraph(f"! {self._error}", width, "bold"), Text("q quits")]
        return screen(self._showing, self.choice, width, height)
