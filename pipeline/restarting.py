"""What a run that is started again does otherwise than the first time.

Stands on supervising.py. The one idea: it is the same run still. The listing is the first one's, and what was completed
in between counts as done by this run; tracks that may be what kills the process are separated one after the other
before all others.
"""

from __future__ import annotations

import argparse
import dataclasses
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import apache_beam as beam

from ..transforms.attempts import Attempts
from ..transforms.completion import track_key
from ..transforms.job import SeparateJob
from ..transforms.listing import Listing
from ..transforms.listing_files import ListingFiles, read_tracks
from ..transforms.records import Track
from ..transforms.storage import PRIVATE, Storage
from .execution import WorkerDied, execute
from .runners import Placement, place
from .separate import SeparateTracks
from .stores import guard_web
from .supervising import supervision

FOLDER = f'{PRIVATE}/attempts'  # marks of runs on other machines


class Begun(NamedTuple):
    """A run, as it was when it began."""

    began: float  # time.time()
    started: str  # the same for people
    files: ListingFiles
    listing: Listing


def recall(storage: Storage) -> Begun | None:
    """The run that this process goes on with; None if it begins one. `storage` is OUT."""
    supervisor = supervision()
    state = None if supervisor is None else supervisor.recall()
    if state is None:
        return None
    files = ListingFiles(*state['files'])
    hosts = None if state['trusted_hosts'] is None else frozenset(state['trusted_hosts'])
    guard_web(hosts)
    tracks = [track for path in files.tracks for track in read_tracks(path, storage)]
    return Begun(state['began'], state['started'], files, Listing(tracks, Counter(state['ignored']), hosts))


def remember(begun: Begun, options: argparse.Namespace) -> None:
    """Everything is checked and the run begins: should it die, it can be started again."""
    supervisor = supervision()
    if supervisor is not None:
        hosts = begun.listing.trusted_hosts
        supervisor.remember(
            {
                'began': begun.began,
                'started': begun.started,
                'files': begun.files,
                'ignored': begun.listing.ignored,
                'trusted_hosts': None if hosts is None else sorted(hosts),
                'log_format': options.log_format,
            }
        )


def with_attempts(job: SeparateJob, options: argparse.Namespace, placement: Placement) -> SeparateJob:
    """The job with a folder for marks, if there is somebody who starts processes that die again."""
    supervisor = supervision()
    if not placement.is_local:
        folder = job.storage.url(f'{FOLDER}/{uuid.uuid4().hex}')
    elif supervisor is not None:
        folder = supervisor.marks
    else:
        return job
    return dataclasses.replace(job, attempts=Attempts(Storage.at(folder), options.max_crashes, options.decode_timeout))


def forget_attempts(job: SeparateJob) -> None:
    """Remove the marks of a run that has ended."""
    if job.attempts is not None:
        name = job.attempts.storage.root.rpartition('/')[2]
        job.storage.remove_folder(f'{FOLDER}/{name}')


def fewer(workers: int) -> int:
    """How many of so many workers this start of the run may have."""
    supervisor = supervision()
    return workers if supervisor is None else supervisor.fewer(workers)


def doubtful_tracks(tracks: Sequence[Track], attempts: Attempts | None) -> list[Track]:
    """Those that are one death of a process away from being set aside: to be found guilty they must be alone."""
    if attempts is None:
        return []
    doubtful = {key for key, mark in attempts.left().items() if mark.crashes + 2 >= attempts.most_crashes}
    return [track for track in tracks if doubtful and track_key(track.track_id) in doubtful]


def separate_doubtful(job: SeparateJob, tracks: Sequence[Track]) -> None:
    """Separate some tracks one after the other; failures are told when the whole run meets them again."""
    for track in tracks:
        placement = place(None, 1, {})
        pipeline = placement.new_pipeline()
        listed = pipeline | 'Doubtful' >> beam.Create([track]).with_output_types(Track)
        _ = listed | 'SeparateTracks' >> SeparateTracks(job)
        execute(pipeline)


def ask_again(error: WorkerDied) -> None:
    """Have the run started again because a worker process died; returns if there is nobody who would."""
    supervisor = supervision()
    if supervisor is not None:
        supervisor.ask_again(error.how, error.is_kill)
