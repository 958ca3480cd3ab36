"""What may stand in a trace of a process's arguments."""

from __future__ import annotations

import pytest

from poolhog.recording.arguments import without_secrets


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ("uvicorn app:app --workers 2", "uvicorn app:app --workers 2"),
        ("worker --db-password=hunter2", "worker --db-password=***"),
        ("worker --db-password hunter2 --queue a", "worker --db-password *** --queue a"),
        ("worker --DB_PWD=hunter2", "worker --DB_PWD=***"),
        ("worker --api-key hunter2", "worker --api-key ***"),
        ("worker --no-password --queue a", "worker --no-password --queue a"),
        ("worker SECRET=hunter2", "worker SECRET=***"),
        ("worker --token=", "worker --token="),
        ("worker postgresql://ada:hunter2@db/x", "worker postgresql://ada:***@db/x"),
        ("worker --url=postgresql://ada:hun@ter2@db/x", "worker --url=postgresql://ada:***@db/x"),
        ("worker redis://:hunter2@db", "worker redis://:***@db"),
        ("worker http://localhost:8000/a@b", "worker http://localhost:8000/a@b"),
        ("pytest tests/test_tokens.py --color=yes", "pytest tests/test_tokens.py --color=yes"),
    ],
)
def test_the_values_of_secrets_are_masked(arguments: str, kept: str) -> None:
    assert " ".join(without_secrets(arguments.split())) == kept
