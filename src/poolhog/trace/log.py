"""SQLite's log (the ``-wal`` file) of a process that ended: folded into a copy, checked meanwhile.

The format is documented (sqlite.org/fileformat2.html, section 4): a header, and frames of a page
each, with two salts that are the log's own and a checksum over all before. A transaction counts
from its last frame on, which says how many pages the database has then. SQLite takes a log up to
the first frame that is not sound and says nothing of the rest; here it is found out whether there
is one. That a log was cut off is known from its index (the ``-shm`` file), if that is there.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = {0x377F0682: "little", 0x377F0683: "big"}
_VERSION = 3_007_000
_SMALLEST_PAGE, _LARGEST_PAGE = 512, 65_536
_MASK = 0xFFFFFFFF

_INDEX = struct.Struct("=4I I 3I 8s 14I I")
"""The index, up to how many frames were folded in: its 5th number counts frames, its 9th are the
salts, its last counts those that were."""

_MOST_LOOKED_AT = 100_000
"""Frames behind a broken one that are looked at."""


@dataclass(frozen=True, slots=True)
class _Log:
    """What of a log is sound: where each page's newest version is, and how many pages there are.

    ``frames`` is how many frames belong to transactions that are whole, ``damage`` what is wrong
    behind them; empty if nothing is.
    """

    page_size: int
    pages: dict[int, int]
    count: int
    frames: int
    damage: str


def fold_in(file: Path, log: Path, index: Path, copy: Path) -> str:
    """Copy the file, with all sound transactions of its log folded in.

    Returns what is wrong with the log, or nothing. Raises ``OSError`` if one of the files cannot be
    read, or the copy not be written.
    """
    # Only the file itself may be a link: a log that is one is not what SQLite makes.
    with _opened(file, 0) as original, _opened(log) as logged, copy.open("wb") as folded:
        found = _read(logged)
        shutil.copyfileobj(original, folded, 1 << 20)
        for number, at in found.pages.items():
            logged.seek(at)
            folded.seek((number - 1) * found.page_size)
            folded.write(logged.read(found.page_size))
        if found.pages:
            folded.truncate(found.count * found.page_size)
        return found.damage or _cut_off(log, index, found)


def _opened(file: Path, flags: int = os.O_NOFOLLOW) -> BinaryIO:
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{file} is not a regular file")
    return os.fdopen(descriptor, "rb")


def _read(log: BinaryIO) -> _Log:
    header = log.read(_HEADER.size)
    nothing = _Log(0, {}, 0, 0, "is damaged from its beginning: all that was in it is missing")
    if len(header) < _HEADER.size:
        return nothing
    magic, version, page_size, _, *rest = _HEADER.unpack(header)
    is_size = _SMALLEST_PAGE <= page_size <= _LARGEST_PAGE and page_size & (page_size - 1) == 0
    if magic not in _MAGIC or version != _VERSION or not is_size:
        return nothing
    order = _MAGIC[magic]
    salts, told = tuple(rest[:2]), tuple(rest[2:])
    sums = _checksum(header[: _HEADER.size - 8], (0, 0), order)
    if sums != told:
        return nothing
    pages: dict[int, int] = {}
    begun: dict[int, int] = {}
    count = frames = number = 0
    while True:
        frame = log.read(_FRAME.size + page_size)
        if len(frame) < _FRAME.size + page_size:
            break
        page, committed, *rest = _FRAME.unpack_from(frame)
        if tuple(rest[:2]) != salts:
            break
        sums = _checksum(frame[:8], sums, order)
        sums = _checksum(frame[_FRAME.size :], sums, order)
        if sums != tuple(rest[2:]) or page == 0:
            break
        begun[page] = _HEADER.size + number * (_FRAME.size + page_size) + _FRAME.size
        number += 1
        if committed:
            pages.update(begun)
            begun = {}
            count, frames = committed, number
    lost = _commits_behind(log, page_size, salts, number)
    pages = {page: at for page, at in pages.items() if page <= count}
    return _Log(page_size, pages, count, frames, _damaged(number, page_size) if lost else "")


def _commits_behind(log: BinaryIO, page_size: int, salts: tuple[int, ...], number: int) -> bool:
    """Whether a transaction ended in a frame of this log behind the one of this number.

    What an earlier log left behind in the file has other salts, and a process that is killed while
    it writes leaves a frame that is not sound, and none of this log behind that.
    """
    size = _FRAME.size + page_size
    for behind in range(number + 1, number + _MOST_LOOKED_AT):
        log.seek(_HEADER.size + behind * size)
        header = log.read(_FRAME.size)
        if len(header) < _FRAME.size:
            return False
        _, committed, *rest = _FRAME.unpack(header)
        if committed and tuple(rest[:2]) == salts:
            return True
    return False


def what_is_missing(index: Path) -> str:
    """What is missing of a log that is not there, according to its index; nothing if none is."""
    _, frames, folded = _told_by(index)
    return "is missing, and what its process wrote last" if frames > folded else ""


def _cut_off(log: Path, index: Path, found: _Log) -> str:
    """What is missing at the log's end according to its index; nothing if that tells nothing."""
    salts, frames, _ = _told_by(index)
    with _opened(log) as opened:
        if salts != opened.read(_HEADER.size)[16:24] or frames <= found.frames:
            return ""
    return f"{_damaged(found.frames, found.page_size)} ({frames - found.frames:,} pages)"


def _told_by(index: Path) -> tuple[bytes, int, int]:
    """The log's salts, how many frames it has, and how many of them were folded into the file."""
    try:
        with _opened(index) as opened:
            told = opened.read(_INDEX.size)
    except OSError:
        return b"", 0, 0
    if len(told) < _INDEX.size:
        return b"", 0, 0
    numbers = _INDEX.unpack(told)
    return numbers[8], numbers[4], numbers[-1]


def _damaged(number: int, page_size: int) -> str:
    at = _HEADER.size + number * (_FRAME.size + page_size)
    return f"is damaged at byte {at:,}: what its process wrote after that is missing"


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    """SQLite's checksum, carried on (fileformat2.html, section 4.2)."""
    words = array("I", data)
    if order != sys.byteorder:
        words.byteswap()
    first, second = sums
    pairs = iter(words)
    for one, other in zip(pairs, pairs, strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
