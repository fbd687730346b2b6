"""What an evaluation has to do: the tracks of the data set, their estimates, and which of them are scored already."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ..model.errors import TrackError, UsageError
from ..transforms.addresses import shown
from ..transforms.datasets import DatasetTrack, StemSource, list_dataset
from ..transforms.guarding import failure_of
from ..transforms.records import Failure, Track
from ..transforms.scoring import (
    EvaluateJob,
    ScoredTrack,
    forget_scores,
    id_of,
    is_scored,
    plan_score,
    where_of,
)

TEST, ALL = 'test', 'all'  # subsets; `all` asks for every track
_PLANNERS = 16  # threads that look at files


class Plan(NamedTuple):
    """What there is to do."""

    todo: list[ScoredTrack]  # largest first
    complete: list[str]  # ids of tracks that are scored already
    failures: list[Failure]


def list_tracks(options: argparse.Namespace) -> list[DatasetTrack]:
    """The tracks to score: of the subset that is asked for, else of `test` if there is one, else all."""
    address = options.inputs[0]
    if options.subset is None or options.subset == ALL:
        tracks = list_dataset(address, None, options.data, options.allow_local_inputs)
        tests = [track for track in tracks if track.subset == TEST]
        return tests if tests and options.subset is None else tracks
    return list_dataset(address, options.subset, options.data, options.allow_local_inputs)


def find_estimates(folder: str, tracks: Sequence[DatasetTrack]) -> dict[str, dict[str, StemSource]]:
    """Id of a track -> its estimates, which are laid out as a data set is: `[subset/]<song>/<stem>.<ext>`.

    Raises:
      UsageError: no such folder, or none of the tracks is in it.
    """
    there = {id_of(track): track.stems for track in list_dataset(folder)}
    found = {}
    for track in tracks:
        stems = there.get(id_of(track), there.get(track.name))
        if stems is not None:
            found[id_of(track)] = stems
    if not found:
        raise UsageError(
            f'{shown(folder)} holds estimates of {len(there)} tracks ({shown(next(iter(there)))}, ...), but none of '
            f'the data set ({shown(id_of(tracks[0]))}, ...): name their folders as the tracks'
        )
    return found


def make_plan(
    tracks: Sequence[DatasetTrack],
    estimates: Mapping[str, dict[str, StemSource]] | None,
    job: EvaluateJob,
    overwrite: bool,
) -> Plan:
    """Look at the files of all tracks; scores of something else than is asked for are removed."""

    def look(track: DatasetTrack) -> ScoredTrack | Failure | None:
        try:
            if estimates is not None and id_of(track) not in estimates:
                raise TrackError(f'{id_of(track)}: there are no estimates of it: add a folder of its name')
            planned = plan_score(track, None if estimates is None else estimates[id_of(track)], job)
        except TrackError as error:
            forget_scores(id_of(track), job.storage)
            return failure_of(Track(id_of(track), where_of(track), {}), 'plan', error)
        if not overwrite and is_scored(planned, job.storage):
            return None
        forget_scores(planned.track_id, job.storage)
        return planned

    with ThreadPoolExecutor(_PLANNERS) as pool:
        looked = list(pool.map(look, tracks))
    todo = [item for item in looked if isinstance(item, ScoredTrack)]
    return Plan(
        sorted(todo, key=lambda planned: (-planned.size, planned.track_id)),
        [id_of(track) for track, item in zip(tracks, looked, strict=True) if item is None],
        [item for item in looked if isinstance(item, Failure)],
    )
