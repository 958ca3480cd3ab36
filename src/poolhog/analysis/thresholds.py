"""From when on something is a finding: the defaults, and what a user sets instead."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from poolhog.errors import PoolhogError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping


def _threshold(default: float, meaning: str) -> float:
    made: float = field(default=default, metadata={"meaning": meaning})
    return made


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on something is a finding; names that end in ``_s`` are seconds.

    Each is a key of ``[tool.poolhog]`` in pyproject.toml. Hyphens will do for underscores. What
    each of them means is in the field's metadata, and from there in ``docs/findings.md``.
    """

    least_share: float = _threshold(
        0.01, "the part of all use seconds of the run that is wasted at one line"
    )
    parked_s: float = _threshold(
        0.05, "`parked-checkout`: the longest stretch at the line in one checkout"
    )
    after_response_s: float = _threshold(
        0.05, "`held-after-response`: held after the response in one checkout"
    )
    streaming_s: float = _threshold(
        0.05, "`held-while-streaming`: parked while the response is sent, in one checkout"
    )
    starved_s: float = _threshold(
        0.1, "`starved-loop`: what ran in one go while a checkout was ready"
    )
    churn_share: float = _threshold(
        0.2, "`connection-churn`: the part of the pool's checkouts that opened a connection"
    )
    churn_connects: float = _threshold(
        20, "`connection-churn`: connections opened beyond the pool's size, in one process"
    )

    @classmethod
    def from_pyproject(cls, directory: str | os.PathLike[str]) -> Self:
        """The thresholds in the nearest pyproject.toml, in ``directory`` or above it.

        Raises :class:`PoolhogError` if it cannot be read, or sets something that is no threshold.
        """
        start = Path(directory).absolute()
        for place in (start, *start.parents):
            file = place / "pyproject.toml"
            if file.is_file():
                return cls()._changed(_table(file), f"[tool.poolhog] in {file}")
        return cls()

    def with_options(self, options: Iterable[str]) -> Self:
        """These thresholds with some set anew, each as ``name=value``.

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
        return self._changed(changes, "--threshold")

    def _changed(self, changes: Mapping[str, Any], where: str) -> Self:
        known = [f.name for f in fields(self)]
        values: dict[str, float] = {}
        for key, value in changes.items():
            name = key.replace("-", "_")
            if name not in known:
                raise PoolhogError(f"{where}: {key} is no threshold; known are {', '.join(known)}")
            if not _is_threshold(value):
                raise PoolhogError(f"{where}: {key} is a number of at least 0, not {value!r}")
            values[name] = float(value)
        return replace(self, **values)


def _table(file: Path) -> Mapping[str, Any]:
    try:
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError) as error:
        raise PoolhogError(f"{file} cannot be read ({error}): mend it, or remove it") from error
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
