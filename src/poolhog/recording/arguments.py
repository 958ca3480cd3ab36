"""A process's arguments without passwords: what may stand in a trace."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"

_SECRET = re.compile(
    r"(?i)pass(?!enger|ive|through)|pwd|secret|token|credential|(api|access|private|auth)[-_]?key"
)
_IN_URL = re.compile(r"(?<=://)([^/@\s]*):([^/\s]*)@")
"""The user and the password of a URL; a password may have an ``@`` in it."""


def without_secrets(arguments: Iterable[str]) -> list[str]:
    """The arguments with the values of options that sound like a secret, and of URLs, masked."""
    kept: list[str] = []
    is_value = False
    for argument in arguments:
        if is_value and not argument.startswith("-"):
            kept.append(MASK)
            is_value = False
            continue
        name, equals, value = argument.partition("=")
        is_secret = _SECRET.search(name) is not None
        if is_secret and equals and value:
            argument = f"{name}={MASK}"
        is_value = is_secret and not equals and name.startswith("-")
        kept.append(_IN_URL.sub(rf"\1:{MASK}@", argument))
    return kept
