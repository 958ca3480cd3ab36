"""Sites: stacks of the application's code, taken in a microsecond per ten frames.

On the hot path a stack is a tuple of code objects' ids and instructions, looked up in a dictionary.
A stack that is new becomes a chain of ``SiteRecord``; the writer finds its names and lines.
"""

from __future__ import annotations

import functools
import gc
import inspect
import linecache
import os
import sys
from enum import IntEnum
from fnmatch import fnmatch
from itertools import accumulate, chain, islice, repeat, takewhile
from operator import attrgetter, call
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolhog.layout import SiteRow, row_maker
from poolhog.recording.lengths import LONGEST_PATH, LONGEST_SOURCE, shortened
from poolhog.recording.libraries import OURS, STANDARD_LIBRARY, inside_packages, top_package
from poolhog.recording.record import Record, ids
from poolhog.recording.unseen import is_unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import CodeType, FrameType

    from poolhog.recording.libraries import Libraries
    from poolhog.recording.options import Options
    from poolhog.recording.record import Row, Texts

MOST_SITES = 50_000
"""Sites that are remembered; code that makes code for ever would otherwise fill the memory."""

MOST_FILES = 10_000
"""Names of files whose rank is remembered: code that is made may have a name of its own each."""

MOST_SAMPLED_SITES = 40_000
"""Sites after which those of samples are not: code that runs is somewhere else at every look, and
must not leave statements without theirs."""

DEEPEST = 200
"""Frames that are looked at, from the innermost on."""

# An interpreter inside of another program has no executable.
_SCRIPTS = os.path.dirname(sys.executable or __file__) + os.sep  # noqa: PTH120 - compared with files
_LOOPS = tuple(
    STANDARD_LIBRARY + os.path.join(*parts)  # noqa: PTH118
    for parts in (
        *(("asyncio", "events.py"), ("asyncio", "runners.py"), ("asyncio", "base_events.py")),
        *(("threading.py",), ("concurrent", "futures", "thread.py")),
    )
)


class Rank(IntEnum):
    """Whose code a file is; ``ROOT`` runs a loop or thread, or calls endpoints: it ends a stack."""

    APPLICATION = 0
    LIBRARY = 1
    INFRASTRUCTURE = 2
    ROOT = 3


_COLLECTS_ANYWHERE = sys.version_info < (3, 12)
_PLACE = attrgetter("f_code", "f_lasti")
_INFRASTRUCTURE = Rank.INFRASTRUCTURE
_ROOT = Rank.ROOT
_site_row = row_maker(SiteRow)


class SiteRecord(Record):
    """A place in the code, called from another; its line is looked up when it is written."""

    __slots__ = ("caller", "code", "instruction", "is_application")
    table = "sites"

    def __init__(
        self, code: CodeType, instruction: int, caller: SiteRecord | None, *, is_application: bool
    ) -> None:
        self.id = next(ids)
        self.written = None
        self.checksum = 0
        self.code = code
        self.instruction = instruction
        self.caller = caller
        self.is_application = is_application

    @property
    def done(self) -> bool:
        return True

    @property
    def line(self) -> int:
        """The number of the line that was being executed."""
        for first, last, line in self.code.co_lines():
            if line is not None and first <= self.instruction < last:
                return line
        return self.code.co_firstlineno

    @property
    def source(self) -> str:
        """The text of the line, as it is on disk when it is first asked for."""
        # What ``python -c`` runs is a part of the command line, which newer Pythons remember.
        if self.code.co_filename == "<string>":
            return ""
        line = linecache.getline(self.code.co_filename, self.line).strip()
        return shortened(line, LONGEST_SOURCE)

    def row(self, texts: Texts) -> Row:
        return _site_row(
            id=self.id,
            caller_id=self.caller.id if self.caller is not None else None,
            file=shortened(self.code.co_filename, LONGEST_PATH),
            line=self.line,
            function=shortened(self.code.co_qualname, LONGEST_PATH),
            source=texts.source_of(self),
            is_application=int(self.is_application),
        )


class Sites:
    """The stacks of one process, each known by the record of its innermost frame.

    ``announce`` is called with every site that is new, and ``lose`` for every fact that gets none
    because there are too many. Looks are not facts: ``unseen`` counts those that get none.
    """

    def __init__(
        self,
        options: Options,
        libraries: Libraries,
        announce: Callable[[SiteRecord], None],
        lose: Callable[[], None],
    ) -> None:
        self.unseen = 0
        self._announce = announce
        self._lose = lose
        self._ranks = _Ranks(options, libraries)
        self._stacks: dict[tuple[int, ...], SiteRecord] = {}
        self._nodes: dict[tuple[int, int, int, bool], SiteRecord] = {}

    def here(self, frame: FrameType | None) -> SiteRecord | None:
        """The application's stack at a running frame, across the greenlet that it may be in.

        Where all of the code is installed in site-packages, libraries count as the application.
        """
        codes, key, has_library = self._places(frame, Rank.APPLICATION)
        if not codes:
            if not has_library:
                return None
            codes, key, _ = self._places(frame, Rank.LIBRARY)
        return self._stacks.get(tuple(key)) or self._learn(codes, key)

    def again(self, site: SiteRecord | None) -> SiteRecord | None:
        """The record of a stack, which may be one of a process that this one was forked from."""
        codes: list[CodeType] = []
        key: list[int] = []
        while site is not None:
            codes.append(site.code)
            key += id(site.code), site.instruction
            site = site.caller
        return self._stacks.get(tuple(key)) or self._learn(codes, key)

    def function(self, function: Any) -> SiteRecord | None:
        """Where a function of Python is defined; nothing if it is none."""
        while isinstance(function, functools.partial):
            function = function.func
        function = inspect.unwrap(function)
        code = getattr(function, "__code__", None)
        if code is None:
            # An object that is called like a function, or a class, which has no code of its own.
            code = getattr(vars(type(function)).get("__call__"), "__code__", None)
            if code is None:
                return None
        key = id(code), 0
        return self._stacks.get(key) or self._learn([code], key)

    def chain(
        self, places: Sequence[tuple[CodeType, int]], *, moving: bool = False
    ) -> SiteRecord | None:
        """The stack of these frames, the innermost first, libraries included.

        What runs loops and threads ends it, unless it was called: to wait for another thread, say.
        Code that is ``moving`` is somewhere else in its libraries at every look: of these only the
        innermost is kept, by its function, or there would be a new stack to write for each.
        """
        codes: list[CodeType] = []
        key: list[int] = []
        inside = True
        places = [place for place in places if not is_unseen(place[0])]
        ranks = [self.rank(code.co_filename) for code, _ in places]
        own = Rank.APPLICATION if Rank.APPLICATION in ranks else Rank.LIBRARY
        for (code, instruction), rank in zip(places, ranks, strict=True):
            if rank is not _ROOT:
                inside = False
            elif not inside:
                break
            at = instruction
            if moving and rank > own:
                if codes:
                    continue
                at = 0
            codes.append(code)
            key += id(code), at
        known = self._stacks.get(tuple(key))
        if known is None and codes:
            if len(self._nodes) < MOST_SAMPLED_SITES:
                return self._learn(codes, key)
            self.unseen += 1
        return known

    def places(self, thread: int) -> list[tuple[CodeType, int]]:
        """Where a thread is, the innermost frame first; nothing if it is gone."""
        found: list[tuple[CodeType, int]] = []
        inside = True
        for code, instruction in _stack(thread):
            if self.rank(code.co_filename) is not _ROOT:
                inside = False
            elif not inside:
                break
            found.append((code, instruction))
        return found

    def is_application(self, code: CodeType) -> bool:
        """Whether the code is the application's own."""
        return self._ranks[code.co_filename] is Rank.APPLICATION

    def within_application(
        self, places: Sequence[tuple[CodeType, int]]
    ) -> list[tuple[CodeType, int]]:
        """The application's own frames of these, the innermost first, up to what ends a stack."""
        own: list[tuple[CodeType, int]] = []
        inside = True
        for place in places:
            rank = self.rank(place[0].co_filename)
            if rank is Rank.APPLICATION:
                own.append(place)
            if rank is not _ROOT:
                inside = False
            elif not inside:
                break
        return own

    def rank(self, file: str) -> Rank:
        """Whose code the file is."""
        return self._ranks[file]

    def _places(
        self, frame: FrameType | None, most: Rank
    ) -> tuple[list[CodeType], list[int], bool]:
        """The frames up to a rank: their code, and each one's id and instruction in a row.

        With them, whether there was a frame of a library among those left out.
        """
        ranks, infrastructure = self._ranks, _INFRASTRUCTURE
        codes: list[CodeType] = []
        key: list[int] = []
        has_library = False
        within: Any = None
        for _ in range(DEEPEST):
            if frame is None:
                within = _outer_greenlet(within)
                frame = within.gr_frame if within is not None else None
                if frame is None:
                    break
            # Nearly all frames are: this runs at every checkout and statement, and is not kept.
            if ranks[frame.f_code.co_filename] is not infrastructure:
                rank = ranks[frame.f_code.co_filename]
                if rank <= most:
                    code = frame.f_code
                    codes.append(code)
                    key += id(code), frame.f_lasti
                elif rank is _ROOT:
                    break
                else:
                    has_library = True
            frame = frame.f_back
        return codes, key, has_library

    def _learn(self, codes: Sequence[CodeType], key: Sequence[int]) -> SiteRecord | None:
        """Make the records of a stack that is new, from the outermost frame on."""
        if len(self._nodes) >= MOST_SITES:
            self._lose()
            return None
        ranks = [self.rank(code.co_filename) for code in codes]
        own = Rank.APPLICATION if Rank.APPLICATION in ranks else Rank.LIBRARY
        site: SiteRecord | None = None
        for code, rank, instruction in zip(
            reversed(codes), reversed(ranks), reversed(key[1::2]), strict=True
        ):
            # A library counts as the application in stacks that have nothing of that.
            is_own = rank <= own
            node = id(code), instruction, site.id if site is not None else 0, is_own
            known = self._nodes.get(node)
            if known is None:
                known = SiteRecord(code, instruction, site, is_application=is_own)
                self._nodes[node] = known
                self._announce(known)
            site = known
        if site is not None:
            # The records keep the code alive: its ids stay theirs.
            self._stacks[tuple(key)] = site
        return site


class _Ranks(dict[str, Rank]):
    """The ranks of files, found out when they are first asked for."""

    def __init__(self, options: Options, libraries: Libraries) -> None:
        self._options = options
        self._libraries = libraries

    def __missing__(self, file: str) -> Rank:
        if len(self) >= MOST_FILES:
            self.clear()
        rank = self[file] = _rank(file, self._options, self._libraries)
        return rank


def _stack(thread: int) -> list[tuple[CodeType, int]]:
    """The code and instruction of each frame of a thread.

    All in one call of C, which no other thread interrupts: if one of the frames came to its end
    meanwhile, what it holds would be destroyed here, in the wrong thread. Nor may the garbage
    collector: before Python 3.12 it can run anywhere, and if it destroys a ``threading.local``
    within ``sys._current_frames``, the process stands still for ever (python/cpython#106883).
    """
    pauses = _COLLECTS_ANYWHERE and gc.isenabled()
    before, after = ([gc.disable], [gc.enable]) if pauses else ([], [])
    made = filter(None, map(call, chain(before, [sys._current_frames])))
    frame: Iterator[Any] = map(dict.get, made, [thread])
    frames = accumulate(chain(frame, repeat("f_back")), getattr)
    places = map(_PLACE, takewhile(bool, islice(frames, DEEPEST)))
    try:
        return list(chain(places, filter(None, map(call, after))))
    except BaseException:
        if pauses:
            gc.enable()
        raise


def _outer_greenlet(greenlet: Any) -> Any:
    """The greenlet that started this one (``None``: the running one); ``None`` for a thread's."""
    if greenlet is None:
        module = sys.modules.get("greenlet")
        if module is None:
            return None
        greenlet = module.getcurrent()
    return greenlet.parent


def _rank(file: str, options: Options, libraries: Libraries) -> Rank:
    path = file if file.startswith("<") else os.path.abspath(file)  # noqa: PTH100
    if path in _LOOPS:
        return Rank.ROOT
    if _matches(path, options.exclude):
        return Rank.LIBRARY
    if path.startswith(OURS):
        return Rank.INFRASTRUCTURE
    if _matches(path, options.include) or path == "<stdin>":
        return Rank.APPLICATION
    inside = inside_packages(path)
    if inside is not None:
        if inside in libraries.roots:
            return Rank.ROOT
        is_known = top_package(inside) in libraries.infrastructure
        return Rank.INFRASTRUCTURE if is_known else Rank.LIBRARY
    # What pip makes to start a package: a script of that name.
    if os.path.basename(path) in libraries.infrastructure:  # noqa: PTH119
        return Rank.INFRASTRUCTURE
    if path.startswith(_SCRIPTS):
        return Rank.LIBRARY
    # What has no file was made by a library, such as a decorator of its.
    if path.startswith((STANDARD_LIBRARY, "<")):
        return Rank.INFRASTRUCTURE
    return Rank.APPLICATION


def _matches(path: str, globs: Iterable[str]) -> bool:
    """Whether a glob matches the whole path, or one of the names in it."""
    names = Path(path).parts
    return any(fnmatch(path, g) or any(fnmatch(name, g) for name in names) for g in globs)
