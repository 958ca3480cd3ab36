"""What is found, and what is not: checkouts as a process would have left them, on a fake clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import (
    PROCESS,
    SELECT,
    UPDATE,
    explicit_burst,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    one_get,
    op,
    sample,
    trace_of,
)
from hypothesis import given
from hypothesis import strategies as st
from views import with_spans

from poolhog.analysis.findings import (
    CONNECT_FAILED,
    CONNECTION_CHURN,
    HELD_AFTER_RESPONSE,
    HELD_WHILE_STREAMING,
    LOST_WRITE,
    MANY_POOLS,
    NESTED_CHECKOUT,
    NEVER_RETURNED,
    PARKED_CHECKOUT,
    POOL_TIMEOUT,
    SHARED_OVER_FORK,
    STARVED_LOOP,
    AnyKind,
    GapKind,
    Severity,
    known_thresholds,
)
from poolhog.analysis.findings.nested_checkout import MOST_INNER, deadlock_from
from poolhog.analysis.findings.starved_loop import InOneGo
from poolhog.analysis.report import report_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.model import Activity, Cause, OperationKind, Outcome, Stage, Trace
from poolhog.render.findings import advice, detail

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.model import Checkout, Operation, Pool, Request, Site

CONNECT, BEGIN, STATEMENT, COMMIT, ROLLBACK, RESET = (
    OperationKind.CONNECT,
    OperationKind.BEGIN,
    OperationKind.STATEMENT,
    OperationKind.COMMIT,
    OperationKind.ROLLBACK,
    OperationKind.RESET,
)
PARKED, RUNNING, READY = Activity.PARKED, Activity.RUNNING, Activity.READY
RUNNING_ON = replace(PROCESS, finished=False)

QUERY = make_site(11, "await session.execute(query)", function="endpoint")
CALL = make_site(12, "await call_the_llm()", function="endpoint")
SLEEP = make_site(
    3, "await future", file="/lib/asyncio.py", function="sleep", is_application=False, caller=CALL
)
WRITE = make_site(13, "await session.execute(update)", function="endpoint")
ASKED = QUERY


def operations(start: float, gap: float, *, site: Site = QUERY) -> list[Operation]:
    """A statement, a gap, and another statement, each statement of 10 ms."""
    second = start + 0.01 + gap
    return [
        op(BEGIN, start, start),
        op(STATEMENT, start, start + 0.01, SELECT, site=site),
        op(STATEMENT, second, second + 0.01, UPDATE, site=WRITE),
        op(COMMIT, second + 0.01, second + 0.02),
    ]


def parked_checkout(
    id_: str = "c1",
    at: float = 1.0,
    gap: float = 1.0,
    *,
    activity: Activity = PARKED,
    seen: Site | None = SLEEP,
    pool: Pool | None = None,
    request: Request | None = None,
    asked: float | None = None,
) -> Checkout:
    """A connection that was not used for ``gap`` seconds, which were looked at."""
    first = at + 0.01
    return make_checkout(
        id_,
        asked if asked is not None else at,
        at,
        at + gap + 0.03,
        pool=pool or POOL,
        request=request or make_request(f"r-{id_}", at, at + gap + 0.03),
        operations=operations(at, gap),
        samples=[sample(activity, first + gap * 0.1, first + gap * 0.9, seen)],
        site=ASKED,
    )


POOL = make_pool()
ONE = make_pool(size=1)


def found(
    *checkouts: Checkout, thresholds: Thresholds | None = None, until: float = 60.0
) -> tuple[Finding, ...]:
    process = replace(checkouts[0].pool.process if checkouts else PROCESS, written=until)
    return report_of(trace_of(checkouts, process=process), thresholds or Thresholds()).findings


def only(findings: Sequence[Finding], kind: AnyKind) -> Finding:
    assert [finding.kind for finding in findings] == [kind], findings
    return findings[0]


class TestParked:
    def test_line_evidence_and_example(self) -> None:
        finding = only(
            found(parked_checkout("c1", 1.0, 1.0), parked_checkout("c2", 4.0, 3.0)),
            PARKED_CHECKOUT,
        )
        assert finding.site is CALL
        assert finding.awaiting == (SLEEP,)
        assert finding.checkouts == 2
        assert finding.seconds == pytest.approx(4.0)
        assert finding.share == pytest.approx(4.0 / 4.06)
        assert finding.routes == ("GET /notes/{note_id}",)
        assert detail(finding) == (
            "held 4 s in 2 checkouts (median 3 s, longest 3 s) between "
            "`SELECT … FROM notes` (service.py:11) and `UPDATE notes …` (service.py:13)"
        )
        assert (finding.example.checkout, finding.example.request) == ("c2", "r-c2")
        assert finding.example.started == pytest.approx(4.01)
        assert finding.example.ended == pytest.approx(7.01)

    def test_who_waited_meanwhile(self) -> None:
        hog = parked_checkout("c1", 1.0, 2.0, pool=ONE)  # parked from 1.01 to 3.01
        other = make_request("r2", route="/other")
        patient = make_checkout("c2", 2.0, 3.5, 3.5, pool=ONE, request=other)
        late = make_checkout("c3", 3.2, 3.9, 3.9, pool=ONE, request=make_request("r3"))
        elsewhere = make_checkout("c4", 2.0, 3.0, 3.0, pool=make_pool("p2"), request=other)
        finding = only(found(hog, patient, late, elsewhere), PARKED_CHECKOUT)
        assert finding.made_wait == pytest.approx(1.01)
        assert finding.waiters == ("GET /other",)

    def test_a_second_that_several_wait_is_shared_by_those_who_hold(self) -> None:
        pool = make_pool(size=4)
        hogs = [parked_checkout(f"h{n}", 1.0, 2.0, pool=pool) for n in range(3)]
        other = make_checkout("c1", 1.0, 1.0, 5.0, pool=pool)
        waits = [make_checkout(f"w{n}", 2.0, 3.0, 3.1, pool=pool) for n in range(8)]
        assert found(*hogs, other, *waits)[0].made_wait == pytest.approx(8.0 * 3 / 4)

    def test_nobody_is_made_to_wait_while_a_connection_is_free(self) -> None:
        slow = make_checkout("c2", 2.0, 3.0, 3.1, pool=make_pool(size=2))
        hog = parked_checkout("c1", 1.0, 2.0, pool=make_pool(size=2))
        assert found(hog, slow)[0].made_wait == 0.0

    @pytest.mark.parametrize("activity", [RUNNING, READY])
    def test_what_is_not_parked_is_not_found(self, activity: Activity) -> None:
        kinds = {finding.kind for finding in found(parked_checkout(activity=activity))}
        assert PARKED_CHECKOUT not in kinds

    def test_short_stretches_are_not_found(self) -> None:
        short = [parked_checkout(f"c{n}", n, 0.04) for n in range(50)]
        assert found(*short) == ()
        assert len(found(*short, thresholds=Thresholds({"parked_s": 0.03}))) == 1

    def test_a_small_share_is_not_found(self) -> None:
        busy = make_checkout(
            "busy", 10.0, 10.0, 50.0, pool=POOL, operations=[op(STATEMENT, 10.0, 50.0, SELECT)]
        )
        assert found(parked_checkout("c1", 1.0, 0.3), busy) == ()
        assert len(found(parked_checkout("c1", 1.0, 0.5), busy)) == 1

    def test_lines_of_two_processes_are_one_finding(self) -> None:
        other = replace(make_pool("p2"), process=replace(PROCESS, pid=200))
        checkouts = parked_checkout("c1"), parked_checkout("c2", gap=2.0, pool=other)
        processes = PROCESS, other.process
        finding = only(
            report_of(Trace(processes, (POOL, other), (), checkouts, 60.0)).findings,
            PARKED_CHECKOUT,
        )
        assert (finding.checkouts, finding.example.pid) == (2, 200)

    def test_the_order_is_that_of_the_seconds(self) -> None:
        line = make_site(40, "await other()", function="endpoint")
        findings = found(
            parked_checkout("c1", 1.0, 1.0), parked_checkout("c2", 4.0, 2.0, seen=line)
        )
        assert [finding.site for finding in findings] == [line, CALL]

    def test_gaps_without_a_sample_count_like_their_siblings(self) -> None:
        seen = parked_checkout("c1", 1.0, 1.0)
        unseen = [replace(parked_checkout(f"u{n}", 3.0 + n, 0.004), samples=()) for n in range(10)]
        finding = only(found(seen, *unseen), PARKED_CHECKOUT)
        assert finding.checkouts == 1
        # The gap after the last operation of each has no sample either, and is as short.
        assert finding.seconds > 1.0 + 10 * 0.004 * 0.99

    def test_one_that_is_still_open(self) -> None:
        pool = replace(POOL, process=RUNNING_ON)
        checkout = replace(
            parked_checkout(pool=pool),
            returned=None,
            outcome=Outcome.OPEN,
            operations=operations(1.0, 1.0)[:2],
            samples=(sample(PARKED, 1.02, None, SLEEP),),
            request=make_request(ended=None, status=None),
        )
        finding = only(found(checkout), PARKED_CHECKOUT)
        assert finding.seconds == pytest.approx(60.0 - 1.01)
        assert detail(finding).endswith("and its return")


class TestAfterTheResponse:
    REQUEST = make_request("r1", 1.0, 6.0, responding=2.0, responded=2.0)

    def checkout(self, request: Request, until: float = 5.0) -> Checkout:
        return make_checkout(
            "c1",
            1.0,
            1.0,
            until,
            pool=POOL,
            request=request,
            operations=[op(STATEMENT, 1.0, 1.5, SELECT, site=QUERY)],
            samples=[sample(PARKED, 1.51, until - 0.01, SLEEP)],
            site=ASKED,
        )

    def test_each_second_is_of_one_kind(self) -> None:
        after, parked = found(self.checkout(self.REQUEST))
        assert after.kind is HELD_AFTER_RESPONSE
        assert after.seconds == pytest.approx(3.0)
        assert parked.kind is PARKED_CHECKOUT
        assert parked.seconds == pytest.approx(0.5)
        assert 'scope="function"' in advice(after)

    def test_background_tasks_are_told(self) -> None:
        request = make_request(
            "r1", 1.0, 6.0, responding=2.0, responded=2.0, stages=[("background", 2.0, 5.0)]
        )
        told = "while background tasks ran, asked for at service.py:11"
        assert told in detail(found(self.checkout(request))[0])

    def test_the_dependency_that_gave_it_back_is_named(self) -> None:
        closing = [
            Stage("exit stack", 4.0, 4.5, make_site(40, function="app.<locals>.audit")),
            Stage("exit stack", 4.5, 5.5, make_site(50, function="app.<locals>.get_db")),
            Stage("exit stack", 5.5, 6.0, make_site(60, function="app.<locals>.get_settings")),
        ]
        request = replace(self.REQUEST, stages=closing)
        finding = found(self.checkout(request))[0]
        assert finding.site is closing[1].site
        assert "by the dependency `get_db`, asked for at service.py:11" in detail(finding)
        assert '`Depends(get_db, scope="function")`' in advice(finding)
        assert finding.awaiting == (CALL, SLEEP)
        # It is not known of a connection that is still out.
        still_open = replace(self.checkout(request), returned=None, outcome=Outcome.OPEN)
        assert "`Depends(…" in advice(found(still_open)[0])

    def test_what_every_dependency_costs_is_not_found(self) -> None:
        assert found(*(one_get()[1] for _ in range(3))) == ()

    def test_also_without_samples(self) -> None:
        checkout = replace(self.checkout(self.REQUEST), samples=())
        finding = only(found(checkout), HELD_AFTER_RESPONSE)
        assert finding.site is ASKED

    def test_a_checkout_of_the_time_after_is_not_found(self) -> None:
        request = make_request("r1", 0.0, 6.0, responding=0.5, responded=0.5)
        only(found(self.checkout(request)), PARKED_CHECKOUT)

    def test_a_request_that_failed_is_over_when_it_ended(self) -> None:
        request = make_request("r1", 1.0, 2.0, status=None)
        kinds = {finding.kind for finding in found(self.checkout(request))}
        assert HELD_AFTER_RESPONSE in kinds


class TestStreaming:
    def test_parked_from_the_start_of_the_response_to_its_end(self) -> None:
        request = make_request("r1", 1.0, 6.0, responding=1.2, responded=6.0)
        checkout = TestAfterTheResponse().checkout(request)
        library = make_site(9, "", file="/lib/uvicorn.py", function="send", is_application=False)
        checkout = replace(checkout, samples=[sample(PARKED, 1.51, 4.9, library)])
        finding = only(found(checkout), HELD_WHILE_STREAMING)
        assert finding.seconds == pytest.approx(3.5)
        assert finding.site is ASKED
        assert finding.awaiting == (library,)

    @pytest.mark.parametrize(
        ("function", "kind"),
        [
            ("WebSocket.receive_text", HELD_WHILE_STREAMING),
            ("ClientSession.request", PARKED_CHECKOUT),
        ],
    )
    def test_of_a_websocket_only_what_it_says_and_hears(self, function: str, kind: AnyKind) -> None:
        request = replace(
            make_request("r1", 1.0, None, responding=1.2, method="WS"), kind="websocket"
        )
        inner = make_site(9, file="/lib/x.py", function=function, is_application=False, caller=CALL)
        checkout = TestAfterTheResponse().checkout(request)
        checkout = replace(checkout, samples=[sample(PARKED, 1.51, 4.9, inner)])
        assert only(found(checkout), kind).site is CALL


class TestNested:
    OTHER = make_site(20, "await other.execute(query)", function="audit", caller=CALL)

    def pair(
        self,
        *,
        owner: str = "Task-1",
        request: Request | None = None,
        pool: Pool = POOL,
        seen: Site = SLEEP,
    ) -> tuple[Checkout, Checkout]:
        outer = replace(parked_checkout("c1", 1.0, 2.0, request=request, seen=seen))
        inner = make_checkout(
            "c2",
            1.5,
            2.0,
            2.5,
            pool=pool,
            request=outer.request,
            owner=owner,
            operations=[op(STATEMENT, 2.0, 2.5, SELECT, site=self.OTHER)],
            site=self.OTHER,
        )
        return outer, inner

    def test_the_line_that_asks_and_the_seconds_of_the_other(self) -> None:
        findings = {finding.kind: finding for finding in found(*self.pair())}
        assert findings.keys() == {NESTED_CHECKOUT, PARKED_CHECKOUT}
        nested = findings[NESTED_CHECKOUT]
        parked = findings[PARKED_CHECKOUT]
        assert nested.site is CALL
        assert nested.awaiting == (self.OTHER,)
        # From asking for the second to its return; the rest of the gap is parked.
        assert nested.seconds == pytest.approx(1.0)
        assert parked.seconds == pytest.approx(1.0)
        assert "With 5 connections in the pool, 5 requests at the same time" in detail(nested)

    def test_depth(self) -> None:
        outer, inner = self.pair()
        third = replace(inner, id="c3", asked=2.1, granted=2.2, returned=2.3)
        nested = [f for f in found(outer, inner, third) if f.kind is NESTED_CHECKOUT]
        assert "up to 3 at once. With 5 connections in the pool, 3 requests" in detail(nested[0])

    def test_one_after_the_other_is_not_nested(self) -> None:
        outer, inner = self.pair()
        first = replace(outer, returned=1.4, operations=outer.operations[:2], samples=())
        assert found(first, inner) == ()

    def test_two_pools_are_not_nested(self) -> None:
        kinds = [f.kind for f in found(*self.pair(pool=make_pool("p2")))]
        assert kinds == [PARKED_CHECKOUT]

    def test_tasks_of_a_request_that_run_beside_each_other_are_not_nested(self) -> None:
        kinds = [f.kind for f in found(*self.pair(owner="Task-2"))]
        assert kinds == [PARKED_CHECKOUT]

    def test_a_task_that_waits_for_another_is(self) -> None:
        gather = make_site(12, "await asyncio.gather(...)", function="endpoint")
        kinds = {f.kind for f in found(*self.pair(owner="Task-2", seen=gather))}
        assert NESTED_CHECKOUT in kinds

    def test_without_a_request_the_owner_tells(self) -> None:
        outer, inner = (replace(checkout, request=None) for checkout in self.pair())
        assert NESTED_CHECKOUT in {f.kind for f in found(outer, inner)}
        other = replace(inner, owner="Task-2")
        assert NESTED_CHECKOUT not in {f.kind for f in found(outer, other)}

    def test_a_connection_that_is_kept_for_ever_does_not_collect_the_others(self) -> None:
        kept = replace(parked_checkout("kept", 1.0, 5.0), request=None)
        others = [
            replace(make_checkout(f"o{n}", 2 + n / 1e3, 2 + n / 1e3, 2 + n / 1e3), pool=POOL)
            for n in range(2 * MOST_INNER)
        ]
        nested = [f for f in found(kept, *others) if f.kind is NESTED_CHECKOUT]
        assert nested[0].checkouts == MOST_INNER

    @pytest.mark.parametrize(
        ("capacity", "depth", "requests"),
        [(5, 2, 5), (10, 3, 5), (5, 3, 3), (1, 2, 1), (15, 2, 15)],
    )
    def test_from_when_on_requests_can_block_each_other(
        self, capacity: int, depth: int, requests: int
    ) -> None:
        assert deadlock_from(capacity, depth) == requests
        # Each holds all but one of what it needs: so they leave none, and one less leaves some.
        assert requests * (depth - 1) >= capacity
        assert (requests - 1) * (depth - 1) < capacity


class TestNeverReturned:
    def open(
        self, *, finished: bool = False, ended: float | None = None, seen: Site | None = SLEEP
    ) -> Checkout:
        process = replace(PROCESS, finished=finished)
        return replace(
            parked_checkout(
                pool=replace(POOL, process=process), request=make_request("r1", 1.0, ended)
            ),
            returned=None,
            outcome=Outcome.OPEN,
            operations=operations(1.0, 1.0)[:2],
            samples=(sample(PARKED, 1.02, None, seen),),
        )

    def kinds(self, checkout: Checkout) -> set[AnyKind]:
        return {finding.kind for finding in found(checkout)}

    def test_collected(self) -> None:
        checkout = replace(parked_checkout(seen=None), outcome=Outcome.COLLECTED)
        checkout = replace(checkout, operations=checkout.operations[:2])
        finding = only(found(checkout), NEVER_RETURNED)
        assert finding.site is ASKED
        assert "1 connection came back by the garbage collector only" in detail(finding)
        assert finding.seconds == pytest.approx(1.02)

    def test_collected_at_once(self) -> None:
        checkout = replace(parked_checkout(gap=0.0), outcome=Outcome.COLLECTED, samples=())
        assert only(found(checkout), NEVER_RETURNED).checkouts == 1

    def test_open_when_the_process_finished_is_not_lost_if_its_request_went_on(self) -> None:
        assert self.kinds(self.open(finished=True)) == {PARKED_CHECKOUT}

    @pytest.mark.parametrize(
        ("owner", "seen", "is_lost"),
        [
            ("MainThread", SLEEP, True),  # a process is over with its main thread
            ("Task-1", SLEEP, False),
            ("Task-1", None, True),
        ],
    )
    def test_open_without_a_request_when_the_process_finished(
        self, owner: str, seen: Site | None, *, is_lost: bool
    ) -> None:
        open_ = replace(self.open(finished=True, seen=seen), request=None, owner=owner)
        assert (NEVER_RETURNED in self.kinds(open_)) is is_lost

    def test_open_and_only_a_thread_at_rest_is_left(self) -> None:
        """As those of executors are, after the request that they worked for."""
        idle = make_site(81, file="/lib/concurrent/thread.py", is_application=False)
        assert NEVER_RETURNED in self.kinds(self.open(ended=2.0, seen=idle))

    @pytest.mark.parametrize("finished", [False, True])
    def test_a_job_of_no_request_that_left_its_connection_in_a_thread(
        self, *, finished: bool
    ) -> None:
        """As those of schedulers do, whose threads wait for the next job."""
        idle = make_site(81, file="/lib/concurrent/thread.py", is_application=False)
        open_ = self.open(finished=finished, seen=idle)
        job = replace(open_, request=None, owner="ThreadPoolExecutor-0_0", site=ASKED)
        finding = only(found(job), NEVER_RETURNED)
        assert finding.site is ASKED

    def test_open_and_its_owner_is_gone(self) -> None:
        finding = only(found(self.open(seen=None)), NEVER_RETURNED)
        assert finding.seconds == pytest.approx(60.0 - 1.01)

    def test_open_and_its_request_is_over(self) -> None:
        checkout = replace(self.open(ended=2.0), samples=())
        assert NEVER_RETURNED in self.kinds(checkout)

    def test_open_while_its_owner_goes_on(self) -> None:
        assert self.kinds(self.open()) == {PARKED_CHECKOUT}
        assert NEVER_RETURNED not in self.kinds(self.open(ended=2.0))
        busy = replace(self.open(), operations=[op(STATEMENT, 1.0, None, SELECT)], samples=())
        assert self.kinds(busy) == set()


class TestLostWrite:
    def checkout(self, cause: Cause | None = None) -> Checkout:
        return make_checkout(
            "c1",
            1.0,
            1.0,
            1.05,
            pool=POOL,
            request=make_request("r1", 1.0, 1.1, method="POST"),
            operations=[
                op(BEGIN, 1.0, 1.0),
                op(STATEMENT, 1.0, 1.02, UPDATE, site=WRITE),
                op(ROLLBACK, 1.03, 1.04, cause=cause),
                op(RESET, 1.04, 1.04),
            ],
        )

    def test_line_and_statement(self) -> None:
        finding = only(found(self.checkout()), LOST_WRITE)
        assert finding.site is WRITE
        assert (finding.seconds, finding.checkouts) == (0.0, 1)
        assert finding.routes == ("POST /notes/{note_id}",)
        assert detail(finding) == (
            "1 write was silently rolled back (`UPDATE notes …`): no commit, no rollback call, no "
            "exception"
        )

    @pytest.mark.parametrize("cause", Cause)
    def test_a_rollback_for_a_cause_is_fine(self, cause: Cause) -> None:
        assert found(self.checkout(cause)) == ()


class TestPoolTimeout:
    def test_who_held_the_connections_then(self) -> None:
        parked = parked_checkout("hog", 1.0, 9.0)
        waiter = make_checkout(
            "w", 2.0, gave_up=5.0, pool=POOL, request=make_request("rw"), site=WRITE
        )
        # Asked for after the waiter, and held when it gave up.
        busy = make_checkout(
            "busy",
            3.0,
            3.0,
            6.0,
            pool=POOL,
            request=make_request("rb", route="/busy"),
            operations=[op(STATEMENT, 3.0, 6.0, UPDATE, site=WRITE)],
        )
        over = make_checkout("over", 3.0, 3.0, 4.0, pool=POOL, request=make_request("ro"))
        later = make_checkout("later", 4.0, 5.5, 7.0, pool=POOL, request=make_request("rl"))
        after = make_checkout("after", 5.5, 5.5, 7.0, pool=POOL, request=make_request("ra"))
        findings = found(parked, waiter, busy, over, later, after)
        timeout = findings[0]
        assert timeout.kind is POOL_TIMEOUT
        assert timeout.site is WRITE
        assert detail(timeout) == (
            "1 wait ended without a connection after up to 3 s. The connections were held by "
            "GET /busy, busy with `UPDATE notes …` (service.py:13) (50%); "
            "GET /notes/{note_id}, parked at service.py:12 (50%)"
        )
        assert (timeout.example.started, timeout.example.ended) == (2.0, 5.0)

    def test_other_ends_of_a_wait_are_fine(self) -> None:
        for outcome in (Outcome.CANCELLED, Outcome.WAITING):
            gave_up = None if outcome is Outcome.WAITING else 5.0
            assert found(make_checkout("w", 2.0, gave_up=gave_up, outcome=outcome)) == ()


class TestChurn:
    def checkouts(self, opened: int, kept: int, size: int | None = 5) -> Iterable[Checkout]:
        pool = make_pool(size=size)
        for n in range(opened + kept):
            connect = [op(OperationKind.CONNECT, n, n + 0.02)] if n < opened else []
            granted = n + 0.03
            yield make_checkout(
                f"c{n}", n, granted, granted, pool=pool, operations=connect, site=ASKED
            )

    def test_what_it_costs(self) -> None:
        finding = only(found(*self.checkouts(50, 50)), CONNECTION_CHURN)
        assert finding.site is ASKED
        assert "50 connections were opened for 100 checkouts" in detail(finding)
        assert finding.seconds == pytest.approx(45 * 0.02)
        assert finding.share == 1.0  # nothing else took any time

    @pytest.mark.parametrize(
        ("opened", "kept", "size"),
        [(5, 0, 5), (100, 0, 100), (24, 0, 5), (50, 500, 5), (19, 0, None)],
    )
    def test_what_is_not_churn(self, opened: int, kept: int, size: int | None) -> None:
        assert found(*self.checkouts(opened, kept, size)) == ()


class TestStarved:
    def starved(self, *looks: tuple[float, float, int]) -> Checkout:
        samples = [
            sample(READY, started, ended, make_site(line, function="export"))
            for started, ended, line in looks
        ]
        return replace(parked_checkout("c1", 1.0, 1.0), samples=samples)

    def one_call(self, *looks: tuple[float, float, int]) -> Checkout:
        """A call that was seen at these lines of a function that it calls."""
        call = make_site(12, function="handle")
        samples = [
            sample(READY, started, ended, make_site(line, function="export", caller=call))
            for started, ended, line in looks
        ]
        return replace(parked_checkout("c1", 1.0, 1.0), samples=samples)

    def test_one_call_is_one_finding_at_the_line_that_stayed_the_same(self) -> None:
        checkout = self.one_call((1.01, 1.3, 70), (1.3, 1.7, 71), (1.7, 2.0, 72))
        finding = only(found(checkout), STARVED_LOOP)
        assert finding.site is not None
        assert (finding.site.function, finding.site.line) == ("handle", 12)
        assert finding.seconds == pytest.approx(1.0)

    def test_what_came_before_the_call_does_not_hide_its_line(self) -> None:
        checkout = self.one_call((1.01, 1.02, 69), (1.02, 2.0, 70))
        finding = only(found(checkout), STARVED_LOOP)
        assert finding.site is not None
        assert (finding.site.function, finding.site.line) == ("export", 70)
        assert finding.seconds == pytest.approx(1.0)

    def test_calls_that_follow_one_another_are_several(self) -> None:
        checkout = self.one_call((1.01, 1.29, 70), (1.3, 2.0, 70))
        finding = only(found(checkout), STARVED_LOOP)
        assert finding.checkouts == 1
        assert finding.seconds == pytest.approx(1.0)
        assert isinstance(finding.evidence, InOneGo)
        assert finding.evidence.longest < 0.75

    def test_the_owner_that_keeps_the_loop_itself(self) -> None:
        call = make_site(12, function="handle")
        blocking = sample(Activity.BLOCKING, 1.01, 2.0, call)
        finding = only(
            found(replace(parked_checkout("c1", 1.0, 1.0), samples=[blocking])), STARVED_LOOP
        )
        assert finding.site is call
        assert finding.seconds == pytest.approx(1.0)

    def test_many_short_runs_are_a_loop_that_works(self) -> None:
        turns = [
            sample(READY, 1.01 + n / 20, 1.01 + n / 20 + 0.01, make_site(5, function=f"task_{n}"))
            for n in range(20)
        ]
        assert found(replace(parked_checkout("c1", 1.0, 1.0), samples=turns)) == ()


def test_the_explicit_style_has_no_findings() -> None:
    checkouts, _, _, until = explicit_burst()
    assert found(*checkouts, until=until) == ()


def test_what_was_counted_before_another_was_seen_beside_it_is_not_counted_twice() -> None:
    request = make_request("r1", 0.0, 10.0)
    outer = make_checkout("c1", 0.0, 1.0, 2.0, pool=POOL, request=request, site=ASKED)
    seen = [sample(PARKED, 2.0, 2.0, SLEEP)]
    inner = make_checkout("c2", 1.5, 2.0, 3.0, pool=POOL, request=request, samples=seen, site=ASKED)
    told = {f.kind: f.seconds for f in found(outer, inner, thresholds=EVERYTHING)}
    # A second of the inner one, and as much of the outer one as came before it asked for that.
    assert told[PARKED_CHECKOUT] == pytest.approx(1.5)


EVERYTHING = Thresholds({threshold.name: 0.0 for threshold in known_thresholds()})
instants = st.integers(0, 10_000_000).map(lambda microseconds: microseconds / 1e6)


@given(st.data())
def test_no_second_is_told_twice(data: st.DataObject) -> None:
    checkouts, requests = [], []
    for id_ in ("r1", "r2"):
        responding, responded = sorted(data.draw(st.tuples(instants, instants)))
        requests.append(make_request(id_, 0.0, 10.0, responding=responding, responded=responded))
    for number in range(data.draw(st.integers(1, 4))):
        asked, granted, returned = sorted(data.draw(st.tuples(instants, instants, instants)))
        request = data.draw(st.sampled_from(requests))
        cuts = sorted(data.draw(st.lists(instants, min_size=4, max_size=8)))
        inside = [cut for cut in cuts if granted <= cut <= returned]
        pairs = list(zip(inside[::2], inside[1::2], strict=False))
        samples = [
            sample(data.draw(st.sampled_from(Activity)), at, at, data.draw(SEEN))
            for at in sorted({data.draw(instants) for _ in range(3)})
            if granted <= at < returned
        ]
        checkouts.append(
            make_checkout(
                f"c{number}",
                asked,
                granted,
                returned,
                pool=POOL,
                request=request,
                owner=data.draw(st.sampled_from(["Task-1", "Task-2"])),
                operations=[op(STATEMENT, a, b, SELECT, site=QUERY) for a, b in pairs],
                samples=samples,
                site=ASKED,
                outcome=data.draw(st.sampled_from([Outcome.RETURNED, Outcome.COLLECTED])),
            )
        )
    told = sum(
        f.seconds for f in found(*checkouts, thresholds=EVERYTHING) if isinstance(f.kind, GapKind)
    )
    gaps = sum(one.spent.gap for one in with_spans(*checkouts))
    assert told <= gaps + 1e-6


SEEN = st.sampled_from([SLEEP, CALL, None])


class TestFailures:
    def failed(self, id_: str, at: float, error: str, pool: Pool | None = None) -> Checkout:
        return make_checkout(
            *(id_, at),
            gave_up=at + 0.1,
            outcome=Outcome.ERROR,
            pool=pool or POOL,
            operations=[op(CONNECT, at, at + 0.1, error=error)],
            site=ASKED,
        )

    def opened(self, id_: str, at: float, pool: Pool | None = None) -> Checkout:
        connect = op(CONNECT, at, at + 0.1)
        return make_checkout(
            id_, at, at + 0.1, at + 0.2, pool=pool or POOL, operations=[connect], site=ASKED
        )

    def test_connects_that_failed_come_before_what_only_costs_time(self) -> None:
        refused = "OperationalError: too many connections"
        some = [self.failed("f1", 1.0, refused), self.failed("f2", 2.0, "OSError")]
        first, second = found(*some, self.opened("o", 3.0), parked_checkout("c1", 5.0, 9.0))
        assert (first.kind, second.kind) == (CONNECT_FAILED, PARKED_CHECKOUT)
        assert first.severity is Severity.FAILURE
        assert (first.site, first.seconds) == (ASKED, 0.0)
        assert detail(first) == (
            "2 of 3 connects failed (1 OSError, 1 OperationalError: too many connections)"
        )
        assert advice(first).startswith("Open fewer connections")

    def test_what_was_cancelled_did_not_fail(self) -> None:
        cancelled = replace(self.failed("f1", 1.0, "CancelledError"), outcome=Outcome.CANCELLED)
        assert found(cancelled) == ()

    def test_a_connect_that_was_cancelled_by_the_timeout_of_the_wait(self) -> None:
        late = replace(self.failed("f1", 1.0, "CancelledError"), outcome=Outcome.TIMEOUT)
        finding = only(found(late), CONNECT_FAILED)
        assert detail(finding) == "1 of 1 connect failed (TimeoutError: timed out)"

    def test_an_error_that_was_not_recorded(self) -> None:
        old = make_checkout("w", 2.0, gave_up=5.0, outcome=Outcome.ERROR, site=ASKED)
        assert "an error that was not recorded" in detail(only(found(old), CONNECT_FAILED))

    def test_a_timeout_of_a_pool_that_could_not_connect(self) -> None:
        by_itself = make_pool(library="psycopg_pool")
        connect = op(CONNECT, 1.0, 1.0, error="OperationalError")
        late = make_checkout("w1", 0.5, gave_up=3.0, pool=by_itself, operations=[connect])
        other = make_checkout("w2", 0.6, gave_up=3.0, pool=by_itself)
        assert detail(only(found(late, other), CONNECT_FAILED)) == (
            "1 connect failed (OperationalError), and 1 wait timed out while the pool could not "
            "connect"
        )

    def test_a_timeout_while_others_hold_the_pool_is_one(self) -> None:
        holder = parked_checkout("hog", 1.0, 9.0, pool=ONE)
        late = make_checkout("w", 2.0, gave_up=5.0, pool=ONE, site=WRITE)
        broken = self.failed("f", 20.0, "OSError", ONE)
        kinds = [finding.kind for finding in found(holder, late, broken)]
        assert kinds == [CONNECT_FAILED, POOL_TIMEOUT, PARKED_CHECKOUT]

    def crowd(self, number: int, database: int | None = 1) -> list[Pool]:
        made = make_site(5, "create_engine(url)", function="make_engine")
        return [replace(make_pool(f"p{n}"), made_at=made, database=database) for n in range(number)]

    def test_pools_of_one_database_that_one_line_made(self) -> None:
        pools = self.crowd(6)
        some = [self.opened(f"c{n}", n, pool) for n, pool in enumerate(pools)]
        finding = only(found(*some), MANY_POOLS)
        assert finding.site is not None
        assert (finding.site.line, finding.checkouts) == (5, 6)
        assert finding.severity is Severity.TIME
        assert detail(finding) == "made 6 pools of one database in one process, for 6 checkouts"
        assert found(*some[:4]) == ()
        assert len(found(*some[:4], thresholds=Thresholds({"many_pools": 4}))) == 1

    def test_pools_of_databases_that_are_not_known_to_be_one(self) -> None:
        unknown = self.crowd(6, None)
        several = [replace(pool, database=n + 1) for n, pool in enumerate(self.crowd(6))]
        for pools in (unknown, several):
            some = [self.opened(f"c{n}", n, pool) for n, pool in enumerate(pools)]
            assert found(*some) == ()

    def test_a_pool_in_each_of_many_processes_is_fine(self) -> None:
        pools = [
            replace(pool, process=replace(PROCESS, pid=200 + n))
            for n, pool in enumerate(self.crowd(6))
        ]
        some = [self.opened(f"c{n}", n, pool) for n, pool in enumerate(pools)]
        trace = Trace(tuple(p.process for p in pools), tuple(pools), (), tuple(some), 60.0)
        assert report_of(trace).findings == ()

    def test_many_pools_come_before_the_connects_that_fail_because_of_them(self) -> None:
        pools = self.crowd(6)
        some = [self.opened(f"c{n}", n, pool) for n, pool in enumerate(pools[:3])]
        some += [self.failed(f"f{n}", 9.0 + n, "E", pool) for n, pool in enumerate(pools[3:])]
        first, second = found(*some)
        assert (first.kind, second.kind) == (MANY_POOLS, CONNECT_FAILED)
        assert first.severity is Severity.FAILURE
        assert detail(first).endswith("for 6 checkouts. 3 of 6 connects failed (E)")
        assert detail(second).endswith("The process had 6 pools of one database: see many-pools")

    def test_an_inherited_connection_until_it_is_opened_anew(self) -> None:
        child = replace(PROCESS, pid=200, parent_pid=100)
        pool = replace(make_pool(), process=child, inherited=2)
        some = [
            make_checkout("c1", 1.0, 1.0, 1.1, pool=pool, connection=1, site=ASKED),
            make_checkout("c2", 2.0, 2.0, 2.1, pool=pool, connection=2, site=ASKED),
            replace(self.opened("c3", 3.0, pool), connection=1),
            make_checkout("c4", 4.0, 4.0, 4.1, pool=pool, connection=1, site=ASKED),
            replace(self.opened("c5", 5.0, pool), connection=3),
        ]
        trace = Trace((child,), (pool,), (), tuple(some), 60.0)
        (finding,) = report_of(trace).findings
        assert (finding.kind, finding.checkouts) == (SHARED_OVER_FORK, 2)
        assert detail(finding).startswith(
            "used 2 connections of a parent process in 1 forked process (2 checkouts)"
        )

    def test_operations_that_failed_are_counted_by_class_and_line(self) -> None:
        def failing(id_: str, at: float, *errors: str) -> Checkout:
            some = [
                op(STATEMENT, at + n, at + n + 1, UPDATE, error=error, site=WRITE)
                for n, error in enumerate(errors)
            ]
            return make_checkout(id_, at, at, at + 9, operations=some, site=ASKED)

        checkouts = [
            failing("c1", 1.0, "UniqueViolation", "CancelledError", "UndefinedTable"),
            failing("c2", 20.0, "UniqueViolation"),
        ]
        report = report_of(trace_of(checkouts))
        assert [(one.error, one.site, one.count) for one in report.failures] == [
            ("UniqueViolation", WRITE, 2),
            ("UndefinedTable", WRITE, 1),
        ]


class TestOrder:
    OTHER = make_pool("other", size=1)

    def test_a_line_that_made_others_wait_comes_before_one_that_wasted_more(self) -> None:
        line = make_site(40, "await other()", function="endpoint")
        alone = parked_checkout("c1", 1.0, 9.0, seen=line)
        hog = parked_checkout("c2", 1.0, 2.0, pool=self.OTHER)
        waiter = make_checkout("w", 2.0, 3.5, 3.5, pool=self.OTHER)
        first, second = found(alone, hog, waiter)
        assert (first.site, second.site) == (CALL, line)
        assert first.seconds < second.seconds

    def test_a_wait_that_nobody_notices_does_not_count(self) -> None:
        line = make_site(40, "await other()", function="endpoint")
        alone = parked_checkout("c1", 1.0, 9.0, seen=line)
        hog = parked_checkout("c2", 1.0, 2.0, pool=self.OTHER)
        waiter = make_checkout("w", 3.0, 3.02, 3.03, pool=self.OTHER)
        first, second = found(alone, hog, waiter)
        assert second.made_wait > 0.0
        assert (first.site, second.site) == (line, CALL)

    def test_every_severity_comes_before_the_next(self) -> None:
        lost = [
            op(BEGIN, 1.0, 1.0),
            op(STATEMENT, 1.0, 1.1, UPDATE, site=WRITE),
            op(ROLLBACK, 1.1, 1.2),
        ]
        request = make_request("r1", 1.0, 30.0)
        some = [
            parked_checkout("hog", 1.0, 30.0),
            make_checkout("late", 2.0, gave_up=5.0, pool=POOL, site=WRITE),
            make_checkout("lost", 1.0, 1.0, 1.3, pool=POOL, operations=lost),
            make_checkout("gone", 1.0, 1.0, 9.0, pool=POOL, site=ASKED, outcome=Outcome.COLLECTED),
            make_checkout("outer", 1.0, 1.0, 9.0, pool=self.OTHER, request=request, site=ASKED),
            make_checkout("inner", 2.0, gave_up=8.0, pool=self.OTHER, request=request, site=WRITE),
            TestFailures().failed("f", 50.0, "OSError"),
        ]
        findings = found(*some)
        severities = [finding.severity for finding in findings]
        assert severities == sorted(severities)
        assert set(severities) == set(Severity)
