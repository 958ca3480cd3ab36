"""What ``--help`` shows: no types beside flags and arguments, whose names and texts say it."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption


class Verb(TyperCommand):
    """A command whose help has a type only beside options that take a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, as the help shows them."""
        return _without_types(super().get_params(ctx))


class Verbs(TyperGroup):
    """A group of commands whose help has a type only beside options that take a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, as the help shows them."""
        return _without_types(super().get_params(ctx))


def _without_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        is_flag = isinstance(parameter, TyperOption) and parameter.is_flag
        if is_flag or isinstance(parameter, TyperArgument):
            parameter.display_type_rich = _no_type
    return parameters


def _no_type(ctx: object) -> None:
    """Typer prints what this returns beside the name."""
