"""Why a claim may not hold in a run: what differed, and what the machine had to do meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.render.words import count, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.lab.machine import MachineUse
    from poolhog.lab.results import Claim


def explanation(claim: Claim) -> list[str]:
    """Return sentences about a claim that does not hold; none about one that does."""
    return [] if claim.holds else list(_sentences(claim))


def _sentences(claim: Claim) -> Iterator[str]:
    yield _difference(claim)
    if claim.detail:
        yield claim.detail
    if claim.machine is not None:
        was = "busy, which may explain this" if claim.machine.is_busy else "not busy"
        yield f"The machine was {was}: {machine_words(claim.machine)}."


def _difference(claim: Claim) -> str:
    """How far a number is outside of its bounds, or which text stands in place of which."""
    measured, least, most = claim.measured, claim.least, claim.most
    if isinstance(measured, str) or least is None or most is None:
        return f"Expected was {claim.expected}; measured was {measured}."
    bound, word = (most, "more") if measured > most else (least, "less")
    allowed = "at most" if word == "more" else "at least"
    away = amount(abs(measured - bound), claim.unit)
    return f"That is {away} {word} than allowed: {allowed} {amount(bound, claim.unit)}."


def machine_words(machine: MachineUse) -> str:
    """Return what is known of a machine during a measurement."""
    known = []
    if machine.load_average is not None:
        known.append(f"load average {machine.load_average:.1f} on {count(machine.cpus, 'CPU')}")
    if machine.used is not None:
        known.append(f"{percent(machine.used)} of the CPU time used")
    if machine.stolen is not None:
        known.append(f"{percent(machine.stolen)} stolen by the hypervisor")
    if machine.service is not None:
        known.append(f"the service used {machine.service:.2f} CPUs")
    return ", ".join(known) if known else "nothing is known of it"


def amount(value: float | str, unit: str | None) -> str:
    """Return a number with its unit, or a text as it is."""
    if isinstance(value, str):
        return value
    if unit == "s":
        return seconds(value)
    digits = 0 if float(value).is_integer() else 1
    return f"{value:,.{digits}f} {unit or ''}".strip()
