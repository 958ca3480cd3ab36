"""What the speaker says: something on each slide, and the numbers of the run."""

from __future__ import annotations

from test_lab_claims import burst, get, load, results

from poolhog.lab.service.settings import Style
from poolhog.lab.slides import TITLES, WORDS, notes
from poolhog.model import OperationKind


def test_each_slide_has_a_title_and_words() -> None:
    assert list(TITLES) == [f"T{number}" for number in range(1, 17)]
    assert list(WORDS) == list(TITLES)
    assert all(notes(results()).values())


def test_numbers_are_of_the_run() -> None:
    bursts = [
        burst(Style.IMPLICIT, 5, 5.11, 5.02),
        burst(Style.IMPLICIT, 10, 10.22, 5.03),
        burst(Style.EXPLICIT, 10, 5.33, 0.04),
    ]
    found = notes(
        results(
            lifecycle=[get(Style.IMPLICIT, 0.9, OperationKind.ROLLBACK)],
            burst=bursts,
            load=[load(Style.IMPLICIT, 2.1), load(Style.EXPLICIT, 198.2)],
        )
    )
    assert "400 ms after the response" in found["T3"][-1]
    assert found["T7"][-1] == "5 requests, 5 connections: all done after 5.11 s."
    assert found["T8"][-1] == "10 requests, 5 connections: all done after 10.2 s."
    assert found["T9"][-1] == "On average, a request has a connection for 5.03 s."
    assert found["T12"][-1] == "10 requests: implicit 10.2 s, explicit 5.33 s."
    assert "implicit 2.1, explicit 198.2" in found["T15"][-1]


def test_what_was_not_measured_is_not_said() -> None:
    assert notes(results())["T9"] == list(WORDS["T9"])


def test_the_words_that_are_true_of_every_run_have_no_number() -> None:
    for said in WORDS.values():
        assert not any(character.isdigit() for character in " ".join(said))
