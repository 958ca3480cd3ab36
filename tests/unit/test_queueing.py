"""Formulas are held against published values, and against each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.replay.formulas import (
    connections_in_total,
    deadlock_floor,
    erlang_b,
    most_checkouts,
    smallest_pool,
    waits_longer,
)


def delayed(servers: int, offered: float) -> float:
    """Erlang C: the share of arrivals that wait at all."""
    return waits_longer(servers, offered, 1.0, 0.0)


@pytest.mark.parametrize(
    ("servers", "offered", "blocked"),
    [(5, 3.0, 0.1101), (10, 5.0, 0.0184), (10, 10.0, 0.2146), (1, 1.0, 0.5), (20, 12.03, 0.01)],
)
def test_erlang_b_is_as_its_tables_have_it(servers: int, offered: float, blocked: float) -> None:
    """Of the usual tables of traffic: 12.03 erlangs are what 20 trunks carry at a loss of 1 %."""
    assert erlang_b(servers, offered) == pytest.approx(blocked, abs=1e-4)


def test_erlang_c_is_as_published() -> None:
    """Examples of guides to call centres, rounded as they are there."""
    # 100 calls in 30 minutes of 3 minutes each, 14 agents: 17.4 % wait, 88.8 % not over 20 s.
    assert delayed(14, 10.0) == pytest.approx(0.174, abs=5e-4)
    assert 1 - waits_longer(14, 200 / 3600, 180.0, 20.0) == pytest.approx(0.888, abs=5e-4)
    # 360 calls in 30 minutes of 4 minutes each, 55 agents: 23.9 % wait.
    assert delayed(55, 48.0) == pytest.approx(0.239, abs=5e-4)


def test_the_smallest_number_of_servers_is_as_published() -> None:
    """Wolfram's page on ErlangC: 30 calls per hour of 5 minutes, 90 % are not delayed."""
    assert smallest_pool(30 / 3600, 300.0, 0.0, share=0.9) == 6
    assert delayed(6, 2.5) <= 0.1 < delayed(5, 2.5)


@given(st.integers(1, 30), st.floats(0.01, 29.0))
def test_erlang_c_is_the_share_of_states_in_which_all_are_taken(
    servers: int, offered: float
) -> None:
    if offered >= servers:
        assert delayed(servers, offered) == 1.0
        return
    states = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    assert delayed(servers, offered) == pytest.approx(last / (sum(states) + last), rel=1e-9)


@given(st.floats(0.1, 500.0), st.floats(0.001, 2.0), st.floats(0.0, 1.0))
def test_no_smaller_pool_would_do(rate: float, use: float, wait: float) -> None:
    found = smallest_pool(rate, use, wait)
    assert found is not None
    assert waits_longer(found, rate, use, wait) <= 0.05 + 1e-12
    assert found == 1 or waits_longer(found - 1, rate, use, wait) > 0.05 - 1e-12


def test_a_large_pool_does_not_overflow() -> None:
    assert 0 < delayed(5000, 4900.0) < 1
    assert smallest_pool(1e9, 1.0, 0.1) is None


def test_the_rest_is_arithmetic() -> None:
    assert most_checkouts(10, 5.0) == 2.0
    assert most_checkouts(10, 0.0) == math.inf
    assert deadlock_floor(3, 4) == 10  # HikariCP's own example
    assert deadlock_floor(8, 3) == 17  # and its other one
    assert deadlock_floor(100, 1) == 1
    assert connections_in_total(15, 4, 3) == 180
