"""Tracks under way: a mark is left before native code touches a track, and taken away when that is over.

Stands on storage.py and watchdog.py. The one idea: native code that crashes says nothing, and neither does the kernel
when memory is out, so the mark is there before. Whoever finds one knows that the process that left it died over this
track, or over another one beside it. The track is a suspect then: it is first decoded in a process of its own
(trial.py), and if that one dies or hangs too, the track is set aside for the rest of the run; so is one that was under
way in several deaths.

The marks of a run have a folder of their own: on this machine for local runs, in OUT for workers elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..model.errors import TrackError
from .addresses import shown
from .completion import track_key
from .metrics import PLAN
from .records import Track
from .storage import Storage
from .watchdog import DECODE_TIMEOUT, HUNG, MOST_CRASHES, Watchdog, watched_by

logger = logging.getLogger(__name__)

PROGRESS_FILE = 'progress'  # in a local folder: a byte for every attempt that is over, and for every track set aside


class Mark(NamedTuple):
    """What is known of a track under way."""

    owner: str  # the process
    crashes: int = 0  # of processes that had the track under way before
    verdict: str | None = None  # why it was set aside; None: it was not


@dataclasses.dataclass(frozen=True)
class Attempts:
    """Where the marks of a run are, and its patience; picklable."""

    storage: Storage  # the folder of the marks
    most_crashes: int = MOST_CRASHES  # processes that die while a track is under way, before it is set aside
    timeout: float = DECODE_TIMEOUT  # seconds in which a decoder must give something

    def read(self, name: str) -> Mark | None:
        """A mark, or None."""
        try:
            content = self.storage.read_bytes(name)
        except FileNotFoundError:
            return None
        try:
            return Mark(*json.loads(content))
        except (ValueError, TypeError):  # the process died while it wrote
            return Mark('')

    def write(self, name: str, mark: Mark) -> None:
        """Leave a mark, in place of the former one."""
        content = json.dumps(mark).encode()
        if self.storage.is_local:  # a few calls of the system instead of the dozen of a file that is renamed
            try:
                file = open(self.storage.url(name), 'wb', buffering=0)  # noqa: SIM115  # closed below
            except FileNotFoundError:
                os.makedirs(self.storage.root, exist_ok=True)
                file = open(self.storage.url(name), 'wb', buffering=0)  # noqa: SIM115
            with file:
                file.write(content)
        else:
            self.storage.write_bytes(name, content)

    def left(self) -> dict[str, Mark]:
        """Track's key -> the mark with the most crashes, of tracks that are not set aside.

        While nothing runs, these are the tracks that processes which died had under way.
        """
        found: dict[str, Mark] = {}
        for name in self.storage.list_names(''):
            mark = None if name == PROGRESS_FILE else self.read(name)
            key = name.split('-')[1] if mark is not None else ''
            if mark is not None and mark.verdict is None and (key not in found or found[key].crashes < mark.crashes):
                found[key] = mark
        return found

    def count_progress(self) -> None:
        """Let a supervisor see that the run gets on; only on this machine is there one."""
        if self.storage.is_local:
            with open(self.storage.url(PROGRESS_FILE), 'ab', buffering=0) as file:
                file.write(b'.')


def mark_name(stage: str, track: Track, index: int) -> str:
    """The file of a mark; `index` of the segment."""
    return f'{stage}-{track_key(track.track_id)}-{index}'


@contextlib.contextmanager
def attempt(
    attempts: Attempts | None, stage: str, track: Track, try_out: Callable[[], str | None], index: int = 0
) -> Iterator[None]:
    """What is done in the block, and downstream of generators that yield from within it, is done for a track.

    Args:
      attempts: None: nothing is marked or watched.
      stage: where in the run it is.
      track: the track.
      try_out: decodes a suspect without risk and says what is wrong with it, None for nothing; see trial.py.
      index: of the segment, where a track is touched in several pieces.

    Raises:
      TrackError: the track is set aside; the text says why.
    """
    if attempts is None:
        yield
        return
    name = mark_name(stage, track, index)
    crashes = _check(attempts, name, track, try_out)
    under_way = _UnderWay(attempts, name, track, crashes)
    attempts.write(name, Mark(_owner(os.getpid()), crashes))
    _of_process[id(under_way)] = under_way
    try:
        with watched_by(under_way):
            yield
    finally:
        del _of_process[id(under_way)]
        attempts.storage.remove(name)
    if stage != PLAN:  # which is done again and again, whatever comes of it
        attempts.count_progress()


def _check(attempts: Attempts, name: str, track: Track, try_out: Callable[[], str | None]) -> int:
    """How many processes died while this was under way. Raises TrackError if it is, or must be, set aside."""
    mark = attempts.read(name)
    if mark is None:
        return 0
    if mark.verdict is not None:
        raise TrackError(mark.verdict)
    if mark.owner == _owner(os.getpid()):  # an error that stopped others, and this is tried again
        return mark.crashes
    crashes = mark.crashes + 1
    attempts.write(name, Mark(_owner(os.getpid()), crashes))  # the trial may be what is too much for this machine
    verdict = try_out()
    if verdict is None and crashes >= attempts.most_crashes:
        verdict = (
            f'{shown(track.uri)}: {crashes} processes died while they worked on it, though it can be decoded: '
            'try it alone, with one of --workers and more memory'
        )
    if verdict is not None:
        _set_aside(attempts, name, crashes, verdict)
        raise TrackError(verdict)
    return crashes


def _set_aside(attempts: Attempts, name: str, crashes: int, verdict: str) -> None:
    attempts.write(name, Mark(_owner(os.getpid()), crashes, verdict))
    attempts.count_progress()


def hung(track: Track, seconds: float) -> str:
    """The reason of a track whose decoder does not come back."""
    return (
        f'{shown(track.uri)}: decoding it hangs, nothing came for {seconds:.0f} s: replace it, '
        'or give a longer --decode-timeout'
    )


@functools.cache
def _owner(process: int) -> str:
    return f'{socket.gethostname()}-{process}-{uuid.uuid4().hex}'


@dataclasses.dataclass(frozen=True)
class _UnderWay:
    """An attempt that is going on; the Watcher of its thread."""

    attempts: Attempts
    name: str
    track: Track
    crashes: int

    def watch(self, more: float) -> contextlib.AbstractContextManager[None]:
        seconds = self.attempts.timeout + more
        return _watchdog.watch(seconds, lambda: self._end_process(seconds))

    def _end_process(self, seconds: float) -> None:
        """Set the track aside and end the process, which has no other way out of its decoder."""
        reason = hung(self.track, seconds)
        try:
            logger.error('%s; this process ends, and what else it had under way is done by another one', reason)
            _set_aside(self.attempts, self.name, self.crashes, reason)
            for other in list(_of_process.values()):
                if other is not self:  # these are no suspects
                    other.attempts.storage.remove(other.name)
        finally:
            os._exit(HUNG)


_of_process: dict[int, _UnderWay] = {}  # all attempts that are going on in this process
_watchdog = Watchdog()
