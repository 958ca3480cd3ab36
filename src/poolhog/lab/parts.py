"""Parts of a run that can be repeated alone, and the commands that do that."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.lab.parameters import Experiment, Parameters
from poolhog.render.words import command_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.lab.remedy_names import RemedyName
    from poolhog.lab.service.settings import Style

_OPTIONS = ("external_latency", "external_jitter", "external_failure_rate", "workers")
_OF_POOLS = ("pool_size", "max_overflow", "pool_timeout")
_OF_LOAD = ("users", "ramp", "measure")


@dataclass(frozen=True, slots=True)
class Part:
    """What has to be run for one claim: an experiment with some styles, or with some remedies.

    ``requests`` is the number in a burst.
    """

    experiment: Experiment
    styles: tuple[Style, ...] = ()
    requests: int | None = None
    only: tuple[RemedyName, ...] = ()

    def command(self, parameters: Parameters) -> str:
        """The command that repeats this part with the same parameters.

        A database's address may hold a password: ``$DATABASE_URL`` stands for it.
        """
        words = ["poolhog", "lab", str(self.experiment), *self._options(parameters)]
        command = command_of(words)
        given = parameters.database_url is not None
        return command + (' --database-url "$DATABASE_URL"' if given else "")

    def _options(self, parameters: Parameters) -> Iterator[str]:
        if self.styles:
            yield from ("--styles", ",".join(self.styles))
        if self.only:
            yield from ("--only", ",".join(self.only))
        if self.requests is not None:
            yield from ("--requests", str(self.requests))
        names = [*_OPTIONS, *_OF_POOLS]
        if self.experiment in (Experiment.LOAD, Experiment.REMEDIES):
            names += _OF_LOAD
        default = {field.name: field.default for field in dataclasses.fields(Parameters)}
        for name in names:
            value = getattr(parameters, name)
            if value != default[name]:
                yield from ("--" + name.replace("_", "-"), str(value).removesuffix(".0"))
