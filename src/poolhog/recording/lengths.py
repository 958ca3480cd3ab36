"""How much is kept of a text that a client or an application made, however long it is.

A record cuts what it is given to one character more than the limit, which costs next to nothing;
so its row can tell, by an ellipsis, that the text was longer.
"""

from __future__ import annotations

from poolhog.recording.secrets.sql import LONGEST_STATEMENT

LONGEST_PATH = 2_000
"""Characters of a path or a route, and of a file's or function's name."""

LONGEST_NAME = 200
"""Characters of other names: of methods, owners, pools and exceptions."""

LONGEST_SOURCE = 1_000
"""Characters of a line of code."""

SHORT_STATEMENT = 250
"""Characters of a statement that take no room worth counting beside its operation."""

PATH = slice(LONGEST_PATH + 1)
NAME = slice(LONGEST_NAME + 1)
STATEMENT = slice(LONGEST_STATEMENT + 1)
"""What records keep."""


def shortened(text: str, longest: int) -> str:
    """The text; of a longer one its beginning, with an ellipsis for the rest."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
