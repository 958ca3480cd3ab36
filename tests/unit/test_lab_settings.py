"""A service's settings survive the way through its environment."""

from dataclasses import replace

import pytest

from poolhog.lab.service.settings import Settings, Style

SMALLEST = Settings(Style.EXPLICIT, "postgresql://localhost/notes", "http://127.0.0.1:9")
LARGEST = Settings(
    style=Style.PER_QUERY,
    database_url="postgresql://postgres@/postgres?host=/tmp/x",
    external_api_url="http://127.0.0.1:9",
    schema="own",
    pool_size=7,
    max_overflow=3,
    pool_timeout=0.5,
    external_api_timeout=1.5,
    keeps_connections=False,
    through_pgbouncer=True,
    checks_version=True,
    shares="/tmp/x/shares",
)


@pytest.mark.parametrize("settings", [SMALLEST, LARGEST])
def test_the_environment_carries_all_settings(settings: Settings) -> None:
    assert Settings.from_environ(settings.to_environ()) == settings


def test_what_is_not_set_hides_what_the_shell_has() -> None:
    shell = {"POOLHOG_LAB_SCHEMA": "left over"}
    assert Settings.from_environ(shell | SMALLEST.to_environ()).schema is None


@pytest.mark.parametrize("style", Style)
def test_every_style_has_a_name_for_the_command_line(style: Style) -> None:
    assert Settings.from_environ(replace(SMALLEST, style=style).to_environ()).style is style


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(KeyError, match="POOLHOG_LAB_STYLE"):
        Settings.from_environ({})


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="chaotic"):
        Settings.from_environ(SMALLEST.to_environ() | {"POOLHOG_LAB_STYLE": "chaotic"})
