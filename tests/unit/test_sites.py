"""Sites: the application's stack, whatever is around it, and each place once."""

from __future__ import annotations

import asyncio
import functools
import itertools
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from recorders import eventually
from sqlalchemy.util import await_only, greenlet_spawn

from poolhog.probes import libraries
from poolhog.recording import sites as sites_module
from poolhog.recording.options import Options
from poolhog.recording.sites import DEEPEST, Rank, Sites

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from poolhog.recording.sites import SiteRecord

SITE_PACKAGES = "/usr/lib/python3/site-packages"


class Known(Sites):
    """Sites that keep a list of what was announced."""

    def __init__(self, **options: Any) -> None:
        self.announced: list[SiteRecord] = []
        self.lost = 0
        super().__init__(Options(**options), libraries(), self.announced.append, self.lose)

    def lose(self) -> None:
        self.lost += 1


@pytest.fixture
def sites() -> Known:
    return Known()


def here(sites: Sites) -> SiteRecord | None:
    """Where this was called."""
    return sites.here(sys._getframe(1))


def stack(site: SiteRecord | None) -> list[SiteRecord]:
    """The site and its callers."""
    found = []
    while site is not None:
        found.append(site)
        site = site.caller
    return found


def functions(site: SiteRecord | None) -> list[str]:
    return [frame.code.co_name for frame in stack(site)]


def code_of(path: str, source: str, **names: Any) -> dict[str, Any]:
    """The names of a module with this source, as if it were that file."""
    exec(compile(textwrap.dedent(source), path, "exec"), names)
    return names


def caller_in(path: str) -> Callable[[Callable[[], Any]], Any]:
    """A function of a file that calls what it is given."""
    function: Callable[[Callable[[], Any]], Any] = code_of(
        path, "def call_back(function):\n    return function()\n"
    )["call_back"]
    return function


def test_a_site_is_the_applications_stack_the_innermost_first(sites: Known) -> None:
    def outer() -> SiteRecord | None:
        return middle()

    def middle() -> SiteRecord | None:
        found: SiteRecord | None = caller_in(f"{SITE_PACKAGES}/sqlalchemy/engine.py")(inner)
        return found

    def inner() -> SiteRecord | None:
        return here(sites)

    site = outer()
    assert functions(site)[:3] == ["inner", "middle", "outer"]
    assert functions(site)[-1] == "test_a_site_is_the_applications_stack_the_innermost_first"
    assert all(frame.is_application for frame in stack(site))
    assert {frame.code.co_filename for frame in stack(site)} == {__file__}
    assert site is not None
    assert site.source == "return here(sites)"


def test_a_place_is_one_record_and_callers_are_shared(sites: Known) -> None:
    first, again = (here(sites) for _ in range(2))
    assert first is again is not None
    announced = len(sites.announced)
    other = here(sites)
    assert other is not first
    assert other is not None
    assert other.caller is None
    assert len(sites.announced) == announced + 1
    # Callers are announced before those that they call: a reader knows them by then.
    known: set[int] = set()
    for record in sites.announced:
        assert record.caller is None or record.caller.id in known
        known.add(record.id)


def test_a_place_reached_in_two_ways_is_two_sites(sites: Known) -> None:
    def leaf() -> SiteRecord | None:
        return here(sites)

    def one() -> SiteRecord | None:
        return leaf()

    def two() -> SiteRecord | None:
        return leaf()

    first, second = one(), two()
    assert first is not second
    assert first is not None
    assert second is not None
    assert first.line == second.line
    assert functions(first)[1] == "one"
    assert functions(second)[1] == "two"


def test_a_stack_goes_on_beyond_its_greenlet(sites: Known) -> None:
    """SQLAlchemy's asyncio runs what is below it in a greenlet."""

    def in_greenlet() -> SiteRecord | None:
        return here(sites)

    def through_another_await() -> SiteRecord | None:
        found: SiteRecord | None = await_only(awaited())
        return found

    async def awaited() -> SiteRecord | None:
        return await greenlet_spawn(in_greenlet)

    async def handler(function: Callable[[], SiteRecord | None]) -> SiteRecord | None:
        return await greenlet_spawn(function)

    assert functions(asyncio.run(handler(in_greenlet))) == ["in_greenlet", "handler"]
    nested = asyncio.run(handler(through_another_await))
    assert functions(nested) == ["in_greenlet", "awaited", "handler"]


def test_a_stack_ends_where_a_loop_or_a_thread_begins(sites: Known) -> None:
    found: list[SiteRecord | None] = []

    async def in_task() -> None:
        found.append(here(sites))

    async def main() -> None:
        await asyncio.create_task(in_task())

    asyncio.run(main())
    thread = threading.Thread(target=lambda: found.append(here(sites)))
    thread.start()
    thread.join()
    assert [functions(site) for site in found] == [["in_task"], ["<lambda>"]]


def test_where_all_is_installed_libraries_are_the_application(sites: Known) -> None:
    """The same without any frame of ours: as a thread's first frame is."""
    application = f"{SITE_PACKAGES}/installed_application/views.py"
    names = code_of(application, "def view():\n    found.append(execute(take))\n", found=[])
    names["execute"] = caller_in(f"{SITE_PACKAGES}/sqlalchemy/orm/session.py")
    names["take"] = lambda: sites.here(sys._getframe(1))
    thread = threading.Thread(target=names["view"])
    thread.start()
    thread.join()
    (site,) = names["found"]
    assert functions(site) == ["view"]
    assert site.is_application
    assert site.line == 2


@pytest.mark.parametrize(
    ("path", "rank"),
    [
        ("/app/service.py", Rank.APPLICATION),
        ("service.py", Rank.APPLICATION),
        ("<stdin>", Rank.APPLICATION),
        ("<string>", Rank.INFRASTRUCTURE),
        ("<frozen runpy>", Rank.INFRASTRUCTURE),
        (f"{SITE_PACKAGES}/acme/views.py", Rank.LIBRARY),
        (f"{SITE_PACKAGES}/six.py", Rank.LIBRARY),
        ("/usr/lib/python3/dist-packages/acme/views.py", Rank.LIBRARY),
        (f"{SITE_PACKAGES}/sqlalchemy/pool/base.py", Rank.INFRASTRUCTURE),
        (f"{SITE_PACKAGES}/click/core.py", Rank.INFRASTRUCTURE),
        ("/app/site-packages.py", Rank.APPLICATION),
        ("/app/uvicorn/settings.py", Rank.APPLICATION),
        ("/usr/bin/gunicorn", Rank.INFRASTRUCTURE),
        (f"{sys.prefix}/bin/some-command", Rank.LIBRARY),
        (asyncio.__file__, Rank.INFRASTRUCTURE),
        (asyncio.base_events.__file__, Rank.ROOT),
        (threading.__file__, Rank.ROOT),
        (sites_module.__file__, Rank.INFRASTRUCTURE),
    ],
)
def test_whose_code_a_file_is(sites: Known, path: str, rank: Rank) -> None:
    assert sites.rank(path) is rank
    assert sites.rank(path) is rank  # remembered


def test_globs_say_otherwise() -> None:
    known = Known(include=("acme", "*/house_style/*"), exclude=("*/generated/*", "health.py"))
    assert known.rank(f"{SITE_PACKAGES}/acme/views.py") is Rank.APPLICATION
    assert known.rank(f"{SITE_PACKAGES}/house_style/sql.py") is Rank.APPLICATION
    assert known.rank(f"{SITE_PACKAGES}/acmeist/views.py") is Rank.LIBRARY
    assert known.rank("/app/generated/client.py") is Rank.LIBRARY
    assert known.rank("/app/views/health.py") is Rank.LIBRARY
    # What is excluded stays excluded.
    both = Known(include=("acme",), exclude=("acme",))
    assert both.rank(f"{SITE_PACKAGES}/acme/views.py") is Rank.LIBRARY


def test_an_excluded_file_is_left_out_of_a_stack() -> None:
    known = Known(exclude=("/app/middleware.py",))

    def endpoint() -> SiteRecord | None:
        found: SiteRecord | None = caller_in("/app/middleware.py")(lambda: here(known))
        return found

    assert functions(endpoint())[:2] == ["<lambda>", "endpoint"]


def test_code_that_has_no_file_is_nobodys(sites: Known) -> None:
    names = code_of("<string>", "def made():\n    return take()\n")
    names["take"] = lambda: sites.here(sys._getframe(1))
    found: list[SiteRecord | None] = []
    thread = threading.Thread(target=lambda make: found.append(make()), args=[names["made"]])
    thread.start()
    thread.join()
    assert [functions(site) for site in found] == [["<lambda>"]]


def test_lines_are_those_that_were_executed(sites: Known) -> None:
    """As the interpreter itself numbers them, also within calls of several lines."""
    frame: FrameType | None = sys._getframe()
    assert frame is not None
    seen: list[tuple[int, SiteRecord | None]] = []

    def look(*_: object) -> int:
        caller = sys._getframe(1)
        seen.append((caller.f_lineno, sites.here(caller)))
        return 1

    look()
    look(
        look(),
        [look() for _ in range(1)],
        *(1, 2),
    )
    value = (
        look()
        + look()
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        look(
            1,
        ) / 0
    for _ in (look(), look()):
        look()
    assert value == 2
    assert len(seen) == 11
    assert [site.line for _, site in seen if site is not None] == [line for line, _ in seen]
    assert len({line for line, _ in seen}) >= 8


def test_deep_recursion_is_cut_at_the_outside(sites: Known) -> None:
    def descend(depth: int) -> SiteRecord | None:
        return here(sites) if depth == 0 else descend(depth - 1)

    assert functions(descend(2 * DEEPEST)) == ["descend"] * DEEPEST


def test_there_is_a_limit_to_what_is_remembered(
    sites: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites_module, "MOST_SITES", 30)
    made = [
        code_of("/app/templates.py", f"def template_{n}(take):\n    return take()\n")[
            f"template_{n}"
        ]
        for n in range(100)
    ]
    found = [function(lambda: here(sites)) for function in made]
    known = [site for site in found if site is not None]
    assert 0 < len(known) < 100
    assert found[: len(known)] == known
    assert sites.lost == 100 - len(known)
    # A stack that was begun is finished.
    assert 30 <= len(sites.announced) < 40


def test_samples_leave_room_for_the_sites_of_statements(
    sites: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites_module, "MOST_SAMPLED_SITES", 30)
    code = compile("def endpoint(): ...", "/app/service.py", "exec")
    found = [sites.chain([(code, instruction)]) for instruction in range(100)]
    assert found.count(None) == sites.unseen == 70
    assert sites.lost == 0
    assert here(sites) is not None


def test_code_that_is_gone_does_not_lend_its_id(sites: Known) -> None:
    """A site keeps its code: another function never looks like one that was collected."""
    names = []
    for n in itertools.count():
        function = code_of("/app/made.py", f"def made_{n}(take):\n    return take()\n")[f"made_{n}"]
        names.append(functions(function(lambda: here(sites)))[1])
        del function
        if n == 200:
            break
    assert names == [f"made_{n}" for n in range(201)]


def test_a_chain_has_the_libraries_too_and_says_which_they_are(sites: Known) -> None:
    library = compile("def wait(): ...", f"{SITE_PACKAGES}/httpx/client.py", "exec")
    application = compile("def endpoint(): ...", "/app/service.py", "exec")
    site = sites.chain([(library, 0), (application, 0), (library, 0)])
    assert [frame.is_application for frame in stack(site)] == [False, True, False]
    assert sites.chain([]) is None
    only = sites.chain([(compile("0", f"{SITE_PACKAGES}/acme/jobs.py", "exec"), 0)])
    assert only is not None
    assert only.is_application


def test_a_library_that_calls_the_application_later_is_none_of_it_then(sites: Known) -> None:
    library = compile("def stream(): ...", f"{SITE_PACKAGES}/acme/events.py", "exec")
    application = compile("def content(): ...", "/app/service.py", "exec")
    alone = sites.chain([(library, 0)])
    assert [frame.is_application for frame in stack(alone)] == [True]
    site = sites.chain([(application, 0), (library, 0)])
    assert [frame.is_application for frame in stack(site)] == [True, False]


def test_the_frames_of_a_thread_from_outside(sites: Known) -> None:
    started, ending = threading.Event(), threading.Event()

    def wait_inside() -> None:
        started.set()
        ending.wait()

    thread = threading.Thread(target=wait_inside)
    thread.start()
    assert started.wait(10)
    try:
        assert thread.ident is not None
        eventually(lambda: "wait" in functions(sites.chain(sites.places(thread.ident or 0))))
        names = functions(sites.chain(sites.places(thread.ident)))
    finally:
        ending.set()
        thread.join()
    # threading's frames end the stack, but not where the application waits inside of them.
    assert names == ["wait", "wait", "wait_inside"]
    assert sites.places(thread.ident) == []


def test_what_a_frame_holds_is_destroyed_in_its_own_thread(sites: Known) -> None:
    destroyed_by: set[str] = set()
    ending = threading.Event()

    class Local:
        def __del__(self) -> None:
            destroyed_by.add(threading.current_thread().name)

    def step() -> None:
        local = Local()
        time.sleep(0.001)
        assert isinstance(local, Local)

    def step_again_and_again() -> None:
        while not ending.is_set():
            step()

    def look() -> None:
        for _ in range(40):
            for thread in threads:
                sites.places(thread.ident or 0)

    threads = [threading.Thread(target=step_again_and_again, name="own") for _ in range(100)]
    looking = threading.Thread(target=look, name="looking")
    for thread in (*threads, looking):
        thread.start()
    looking.join()
    ending.set()
    for thread in threads:
        thread.join()
    assert destroyed_by == {"own"}


def test_a_function_is_known_by_where_it_is_defined(sites: Known) -> None:
    class Callable:
        def __call__(self) -> None: ...

    @functools.wraps(here)
    def wrapped() -> None: ...

    def plain() -> None: ...

    found = [sites.function(one) for one in (plain, functools.partial(plain), wrapped, Callable())]
    assert [site.code.co_name for site in found if site] == ["plain", "plain", "here", "__call__"]
    assert found[0] is found[1]
    assert found[0] is not None
    assert found[0].source == "def plain() -> None: ..."
    assert sites.function(len) is None
    assert sites.function(dict) is None


COLLECTING_WHILE_LOOKING = """
import gc, threading
from poolhog.recording.libraries import Libraries
from poolhog.recording.options import Options
from poolhog.recording.sites import Sites

class Garbage:
    def __init__(self):
        self.itself, self.local = self, threading.local()

sites = Sites(Options(), Libraries(), lambda record: None, lambda: None)
for threshold in range(1, 200):
    gc.disable()
    gc.set_threshold(threshold)
    for _ in range(3):
        Garbage()
    gc.enable()
    sites.places(threading.get_ident())
    assert gc.isenabled()
gc.disable()
sites.places(threading.get_ident())
assert not gc.isenabled()
print("went on")
"""


def test_the_garbage_collector_does_not_stop_the_process_while_a_thread_is_looked_at() -> None:
    """A thread's frames are made under a lock that destroying a ``threading.local`` takes too."""
    command = [sys.executable, "-c", COLLECTING_WHILE_LOOKING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "went on\n", done.stderr
