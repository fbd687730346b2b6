"""What `stembeam status` says of a run, told from OUT alone: run.json, the plan, and what progress.py counts.

The one idea: nothing is asked of the run itself, so it is all the same whether it goes on here, in a cluster, or has
been dead for a day; therefore the time of the last completed track is always told.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from datetime import datetime, timezone
from typing import Any

from ..model.errors import UsageError
from ..transforms.addresses import shown
from ..transforms.manifest import FAILED
from ..transforms.storage import Storage
from .clock import clock
from .launch import RUN_FILE
from .progress import Standing, Watch
from .stores import retries_told

PLANNING, RUNNING, FINISHED = 'planning', 'running', 'finished'
QUIET_SECONDS = 1800.0  # without a completed track, after which it is worth a line
BAR_WIDTH = 40


@dataclasses.dataclass(frozen=True)
class Status:
    """A run at a moment; times in seconds, None where they cannot be known yet."""

    state: str  # PLANNING, RUNNING (or killed) or FINISHED
    started: str  # ISO 8601
    finished: str | None  # of a run that nobody waited for: when its last track was completed
    listed: int  # tracks
    planned: int | None  # tracks that have to be separated
    skipped: int | None  # tracks that were complete already
    done: int  # tracks that this run has completed
    failed: int | None  # while the run goes on: those whose header could not be read; the others are known at its end
    audio: float  # that this run has separated
    audio_planned: float | None
    elapsed: float
    speed: float  # of all workers together: audio over elapsed
    left: float | None
    share: float  # of the work that is done, 0 to 1
    since_last: float | None  # since a track was completed
    reasons: tuple[str, ...] = ()  # of the first failures, at the end
    store_retries: int | None = None  # requests to stores that were made again, at the end of a run that tells

    def to_json(self) -> dict[str, Any]:
        """For programs; numbers rounded to milliseconds."""
        values = dataclasses.asdict(self)
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}

    def lines(self) -> list[str]:
        """For people, at most 100 columns wide but for the reasons of failures."""
        if self.state == FINISHED:
            return self._lines_at_the_end()
        lines = [f'{self.state}, started {self.started}, {clock(self.elapsed)} ago']
        if self.state == PLANNING:
            return [*lines, f'{self.listed} tracks are listed; their headers are being read', *self._quiet()]
        filled = round(BAR_WIDTH * self.share)
        lines += [
            f'[{"#" * filled}{"." * (BAR_WIDTH - filled)}] {100 * self.share:.1f}%',
            f'listed {self.listed}, skipped {self.skipped} (complete already), done {self.done} of {self.planned}, '
            f'failed {self.failed} or more',
            f'{self.audio / 3600:.2f} of {(self.audio_planned or 0) / 3600:.2f} h of audio, '
            f'{self.speed:.1f}x real time, {clock(math.nan if self.left is None else self.left)} left',
        ]
        return [*lines, *self._quiet()]

    def _quiet(self) -> list[str]:
        last = 'no track completed yet'
        if self.since_last is not None:
            last = f'last track completed {clock(self.since_last)} ago'
        quiet = self.elapsed if self.since_last is None else self.since_last
        if quiet < QUIET_SECONDS:
            return [last]
        return [f'{last}: if the run was killed, the same command goes on from here']

    def _lines_at_the_end(self) -> list[str]:
        return [
            f'finished {self.finished or "without a track"}, started {self.started}',
            f'listed {self.listed}, skipped {self.skipped} (complete already), done {self.done}, failed {self.failed}',
            f'{clock(self.audio)} of audio in {clock(self.elapsed)}, {self.speed:.1f}x real time',
            *retries_told(self.store_retries),
            *(f'  {reason}' for reason in self.reasons),
        ]


class StatusWatch:
    """Looks at the run of an OUT, again and again if asked to: what was read once is not read again."""

    def __init__(self, storage: Storage) -> None:
        """Nothing is read yet."""
        self._storage = storage
        self._watch: Watch | None = None
        self._started = ''

    def look(self) -> Status:
        """The status now.

        Raises:
          UsageError: there is no run in OUT.
          RunError: the store does not answer.
        """
        run = _read_run(self._storage)
        if run.get('finished'):
            return _status_at_the_end(run)
        if self._watch is None or self._started != run['started']:  # another run has begun in the same place
            began = datetime.fromisoformat(run['started']).timestamp()
            rate = run['model']['config']['sample_rate']
            self._watch, self._started = Watch(self._storage, run['tracks'], rate, began), run['started']
        return _status_meanwhile(run, self._watch.look(), self._storage)


def _read_run(storage: Storage) -> dict[str, Any]:
    where = shown(storage.root)
    try:
        run = json.loads(storage.read_bytes(RUN_FILE))
    except FileNotFoundError as error:
        raise UsageError(f'no run in {where}: there is no {RUN_FILE}; name the output folder of a run') from error
    except ValueError as error:
        raise UsageError(
            f'{where}/{RUN_FILE} cannot be read: it is not JSON; name the output folder of a run'
        ) from error
    if not {'started', 'tracks', 'model', 'listing_columns'} <= run.keys():
        raise UsageError(f'{where}/{RUN_FILE} is not that of stembeam separate; name the output folder of one')
    return run


def _status_at_the_end(run: dict[str, Any]) -> Status:
    ended = datetime.fromisoformat(run['finished']).timestamp()
    return Status(
        state=FINISHED,
        started=run['started'],
        finished=run['finished'],
        listed=run['tracks'],
        planned=run['tracks'] - run['skipped'],
        skipped=run['skipped'],
        done=run['done'],
        failed=run['failed'],
        audio=run['audio'],
        audio_planned=run['audio'],
        elapsed=run['elapsed'],
        speed=run['audio'] / run['elapsed'] if run['elapsed'] > 0 else 0.0,
        left=0.0,
        share=1.0,
        since_last=time.time() - ended if run['done'] else None,
        reasons=tuple(run['reasons']),
        store_retries=run.get('store_retries'),  # runs of earlier versions do not say
    )


def _failures(storage: Storage) -> list[dict[str, Any]]:
    """The rows of the failure table, which a run writes at its end."""
    paths = [path for path in storage.list_names('') if path.startswith(f'{FAILED}-')]
    return [json.loads(line) for path in sorted(paths) for line in storage.read_bytes(path).splitlines()]


def _status_meanwhile(run: dict[str, Any], standing: Standing, storage: Storage) -> Status:
    totals, share = standing.totals, standing.share()
    failed = None if totals is None else standing.listed - totals.tracks - totals.skipped
    state = PLANNING if totals is None else RUNNING
    reasons: tuple[str, ...] = ()
    left = standing.elapsed * (1 / share - 1) if share > 0 else None
    if totals is not None and not run['options'].get('wait', True):
        # Nobody waits for this run, so nobody will complete run.json: it has ended when every track is accounted for.
        rows = _failures(storage)
        if standing.done + totals.skipped + len(rows) == standing.listed:
            state, failed, reasons, left, share = FINISHED, len(rows), tuple(r['reason'] for r in rows[:5]), 0.0, 1.0
    return Status(
        state=state,
        started=run['started'],
        finished=_stamp(standing.last) if state == FINISHED else None,
        listed=standing.listed,
        planned=None if totals is None else totals.tracks,
        skipped=None if totals is None else totals.skipped,
        done=standing.done,
        failed=failed,
        audio=standing.audio,
        audio_planned=None if totals is None else totals.seconds,
        elapsed=standing.elapsed,
        speed=standing.audio / standing.elapsed if standing.elapsed > 0 else 0.0,
        left=left,
        share=share,
        since_last=None if standing.last is None else time.time() - standing.last,
        reasons=reasons,
    )


def _stamp(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec='seconds')
