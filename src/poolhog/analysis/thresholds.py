"""The minimum values for reporting findings: their defaults, and what a user sets instead."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from poolhog.errors import PoolhogError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Threshold:
    """A minimum value for reporting a finding; in seconds if the name ends in ``_s``.

    A kind's thresholds are in its file, their meaning in its words (``render/findings.py``).
    """

    name: str
    default: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The minimum values for reporting findings: the defaults, except for the ``changed`` ones.

    Each of the ``known`` thresholds is a key of ``[tool.poolhog]`` in pyproject.toml, with
    underscores or hyphens.
    """

    changed: Mapping[str, float] = field(default_factory=dict)
    known: tuple[Threshold, ...] = field(default=(), compare=False, repr=False)

    def __getitem__(self, threshold: Threshold) -> float:
        return self.changed.get(threshold.name, threshold.default)

    @classmethod
    def from_pyproject(cls, directory: str | os.PathLike[str], known: Iterable[Threshold]) -> Self:
        """The thresholds in the nearest pyproject.toml, in ``directory`` or above it.

        Raises :class:`PoolhogError` if it cannot be read, or sets what is none of the ``known``
        thresholds.
        """
        defaults = cls(known=tuple(known))
        start = Path(directory).absolute()
        for place in (start, *start.parents):
            file = place / "pyproject.toml"
            if file.is_file():
                return defaults._with(_table(file), f"[tool.poolhog] in {file}")
        return defaults

    def with_options(self, options: Iterable[str]) -> Self:
        """These thresholds with changes, each of them written as ``name=value``.

        Raises :class:`PoolhogError` for what is no threshold.
        """
        changes: dict[str, Any] = {}
        for option in options:
            name, _, value = option.partition("=")
            try:
                changes[name.strip()] = float(value)
            except ValueError:
                raise PoolhogError(
                    f"--threshold {option}: expected name=number, such as parked_s=0.1"
                ) from None
        return self._with(changes, "--threshold")

    def _with(self, changes: Mapping[str, Any], where: str) -> Self:
        known = [threshold.name for threshold in self.known]
        values: dict[str, float] = {}
        for key, value in changes.items():
            name = key.replace("-", "_")
            if name not in known:
                raise PoolhogError(f"{where}: {key} is no threshold; known are {', '.join(known)}")
            if not _is_threshold(value):
                raise PoolhogError(f"{where}: {key} is a number of at least 0, not {value!r}")
            values[name] = float(value)
        return replace(self, changed={**self.changed, **values})


def _table(file: Path) -> Mapping[str, Any]:
    try:
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError) as error:
        raise PoolhogError(f"{file} cannot be read ({error}): fix it, or remove it") from error
    table = tool.get("poolhog", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise PoolhogError(f"{file}: tool.poolhog is a table of thresholds, not {table!r}")
    return table


def _is_threshold(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )
