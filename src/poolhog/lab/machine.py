"""What the machine did during a measurement, as the operating system counts it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STOLEN = 0.05
USED = 0.9
"""From these shares of the CPU time on, a machine is too busy for a measurement to be trusted."""

_PROC = Path("/proc")
_USER, _NICE, _SYSTEM, _IDLE, _IO_WAIT, _INTERRUPT, _SOFT_INTERRUPT, _STEAL = range(8)


@dataclass(frozen=True, slots=True)
class MachineUse:
    """How busy a machine was during a measurement; what the system does not count is ``None``.

    ``load_average`` is over the last minute, at the end. ``used`` and ``stolen`` are shares of the
    CPU time of all ``cpus``: what all processes used, and what the hypervisor gave to others.
    ``service`` is the CPU time that the service used, per second: 1 is one CPU.
    """

    cpus: int
    load_average: float | None
    used: float | None
    stolen: float | None
    service: float | None

    @property
    def is_busy(self) -> bool:
        """Whether the measurement may be late because of what the machine had to do besides."""
        return (
            (self.load_average or 0.0) > self.cpus
            or (self.used or 0.0) >= USED
            or (self.stolen or 0.0) >= STOLEN
        )


class MachineMeter:
    """Begins to measure the machine, and the service whose processes are in a group."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._began = _counted(group)

    def use(self) -> MachineUse:
        """What the machine did since the meter was made."""
        before, now = self._began, _counted(self._group)
        total = sum(now.cpu) - sum(before.cpu)
        spent = [after - earlier for earlier, after in zip(before.cpu, now.cpu, strict=True)]
        idle = spent[_IDLE] + spent[_IO_WAIT] if spent else 0
        lasted = now.at - before.at
        service = None
        if lasted > 0 and before.service is not None and now.service is not None:
            service = max(now.service - before.service, 0.0) / lasted
        return MachineUse(
            cpus=os.cpu_count() or 1,
            load_average=_load_average(),
            used=(total - idle - spent[_STEAL]) / total if total > 0 else None,
            stolen=spent[_STEAL] / total if total > 0 else None,
            service=service,
        )


@dataclass(frozen=True, slots=True)
class _Counted:
    """Readings at an instant: ticks of all CPUs by what for, and seconds of the service's CPU."""

    at: float
    cpu: tuple[int, ...]
    service: float | None


def _counted(group: int) -> _Counted:
    return _Counted(time.monotonic(), _cpu_ticks(), _group_seconds(group))


def _cpu_ticks() -> tuple[int, ...]:
    """The first line of ``/proc/stat``: man 5 proc_stat. Empty on other systems."""
    try:
        line = (_PROC / "stat").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return ()
    # Guests are counted in user and nice already.
    return tuple(int(field) for field in line.split()[1 : _STEAL + 2])


def _group_seconds(group: int) -> float | None:
    """CPU seconds of a process group: man 5 proc_pid_stat. ``None`` on other systems."""
    if not (_PROC / "stat").exists():
        return None
    ticks = 0
    for stat in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended meanwhile
            # A command may have spaces and brackets in its name.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
