"""Real parts for the tests of the lab: PostgreSQL, services, and the external API."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, Unpack

import pytest

from poolhog.lab import children, postgres
from poolhog.lab.service.settings import Settings, Style

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TypedDict

    class Options(TypedDict, total=False):
        pool_size: int
        max_overflow: int
        pool_timeout: float
        external_api_timeout: float


class StartService(Protocol):
    """Starts a service of a style, which runs until the module's tests are done."""

    def __call__(
        self,
        style: Style,
        external_api_url: str,
        *,
        workers: int = 1,
        trace_directory: Path | None = None,
        **options: Unpack[Options],
    ) -> children.Server: ...


LONGEST = (
    "test_state_machine.py",
    "test_lab_run.py",
    "test_faults.py",
    "test_remedies.py",
    "test_replay_lab.py",
    "test_export_verb.py",
    "test_report.py",
)
"""Several workers take as long as the longest file if that is begun last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def log_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def postgresql_url(log_directory: Path) -> Iterator[str]:
    """An embedded PostgreSQL."""
    with postgres.database(None, log_directory) as database:
        yield database.url


@pytest.fixture(scope="module")
def database(postgresql_url: str, log_directory: Path) -> Iterator[postgres.LabDatabase]:
    """A schema of the module's own in it, with the notes 1 to 100."""
    with postgres.database(postgresql_url, log_directory) as database:
        database.create_notes(100)
        yield database


@pytest.fixture(scope="module")
def start_service(database: postgres.LabDatabase, log_directory: Path) -> Iterator[StartService]:
    with ExitStack() as running:

        def start(
            style: Style,
            external_api_url: str,
            *,
            workers: int = 1,
            trace_directory: Path | None = None,
            **options: Unpack[Options],
        ) -> children.Server:
            settings = Settings(style, database.url, external_api_url, database.schema, **options)
            return running.enter_context(
                children.service(settings, None, workers, log_directory, trace_directory)
            )

        yield start
