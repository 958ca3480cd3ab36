"""Why a connect failed is said in words of poolhog's own, which hold nothing of the message."""

from __future__ import annotations

import pytest

from poolhog.recording.refusals import REFUSALS, refusal_of


class OperationalError(Exception):
    """What drivers raise for nearly everything."""


class StateError(Exception):
    """What says its SQLSTATE."""

    sqlstate = "53300"


class RudeError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ('FATAL:  too many connections for role "bob"', "too many connections"),
        ("FATAL:  sorry, too many clients already", "too many connections"),
        (
            "FATAL:  remaining connection slots are reserved for superusers",
            "too many connections",
        ),
        ('FATAL:  password authentication failed for user "bob"', "authentication failed"),
        ('FATAL:  database "shop" does not exist', "no such database"),
        ('FATAL:  role "bob" does not exist', "no such user"),
        (
            "connection to server at 10.0.0.1 failed: Connection refused",
            "connection refused",
        ),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "unknown host"),
        ("FATAL:  the database system is starting up", "the server is starting or stopping"),
        ("connection timeout expired", "timed out"),
        ("unable to open database file", "unable to open database file"),
        ("something about a role and a database", ""),
        ("", ""),
    ],
)
def test_what_is_said_of_a_message(error: str, said: str) -> None:
    told = refusal_of(OperationalError(error)).removeprefix(": ")
    assert told.startswith(said)
    assert told in REFUSALS or not said


def test_what_tells_besides_the_message() -> None:
    assert refusal_of(StateError("bob")) == ": too many connections"
    assert refusal_of(ConnectionRefusedError(111, "bob")) == ": connection refused"
    assert refusal_of(TimeoutError()) == ": timed out"
    assert refusal_of(RudeError()) == ""
