"""A run of `prepare` from its options to its summary: data sets are listed, the shards made, the index written last."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult

from ..model.errors import UsageError
from ..model.hiding import without_secrets
from ..transforms.addresses import shown, to_uri
from ..transforms.datasets import derived_stems, summands
from ..transforms.storage import Storage
from ..transforms.training_shards import (
    INDEX,
    REPORT,
    Limits,
    PrepareJob,
    ShardTrack,
    WriteTrainingShards,
    is_prepared,
    read_index,
    read_reasons,
    write_index,
)
from ..transforms.training_shards.job import SHARDS, TRACKS, WORK
from .execution import all_retries, execute
from .prepare_tracks import Selected, Selection, select_tracks
from .progress import Progress, clock
from .runners import Placement, available_cores, place
from .stores import RetryCount, counted_retries, guard_web_for, put_in_force, retries_told

STEM_ORDER = ('vocals', 'piano', 'drums', 'bass', 'other', 'accompaniment')  # then all others by name
REASONS_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    storage: Storage
    index: Mapping[str, Any]
    was_complete: bool  # there was nothing to do
    skipped: int  # bad tracks that are not in the shards
    kept: int  # bad tracks that are
    left_out: Mapping[str, int]  # subset -> tracks of the data sets that are not used
    reasons: Sequence[str]  # why tracks are bad, the first ones
    elapsed: float  # seconds
    store_retries: int | None  # requests to stores that were made again; None: the runner does not tell


def prepare(options: argparse.Namespace, beam_options: dict[str, Any]) -> Outcome:
    """Run `prepare`.

    Raises:
      UsageError: before anything is done.
      RunError: the run could not go on; the same command goes on from there.
    """
    put_in_force(options)
    guard_web_for(
        [*options.inputs, *(options.validation or ()), options.data, options.output], options.allow_local_inputs
    )
    placement = place(options.runner, options.workers or available_cores(), beam_options)
    with counted_retries(placement.is_local) as retries:
        return _prepare(options, placement, retries)


def _prepare(options: argparse.Namespace, placement: Placement, retries: RetryCount) -> Outcome:
    began = time.time()
    if not options.output:
        raise UsageError('no output folder: name one with -o')
    selected = select_tracks(_selection(options))
    job = make_job(options, selected.tracks)
    if job.storage.root in (to_uri(text).rstrip('/') for text in (*options.inputs, *(options.validation or ()))):
        raise UsageError(f'{shown(job.storage.root)} is both data set and output folder: choose another with -o')
    index = read_index(job)
    was_complete = index is not None and not options.overwrite and is_prepared(index, job, selected.tracks)
    result = None
    if index is None or not was_complete:
        job.storage.check_writable()
        job.storage.remove(INDEX)
        result = _run(job, selected.tracks, placement, options)
        index = write_index(job, selected.tracks, [*options.inputs, *(options.validation or ())])
    job.storage.remove_folder(WORK)
    told = all_retries(retries, result, placement.is_local)
    return _outcome(job, index, selected, was_complete, time.time() - began, told)


def _selection(options: argparse.Namespace) -> Selection:
    return Selection(
        datasets=options.inputs,
        subset=options.subset,
        validation=options.validation or (),
        validation_subset=options.validation_subset,
        validation_share=options.validation_share,
        data=options.data,
        seed=options.seed,
        allow_local=options.allow_local_inputs,
    )


def make_job(options: argparse.Namespace, tracks: Sequence[ShardTrack]) -> PrepareJob:
    """The job that options describe.

    Raises:
      UsageError: stems that no track has, or that leave a part of the mixture out.
    """
    there = {stem for track in tracks for stem in track.track.stems}
    if not there:
        raise UsageError('the data sets have no stems, only mixtures: check their form with stembeam prepare --help')
    stems = _default_stems(there) if options.stems is None else options.stems
    if not stems or len(set(stems)) < len(stems) or 'mixture' in stems:
        raise UsageError(f'--stems {",".join(stems)}: give each stem once; the mixture is --with-mixture')
    for stem, parts in derived_stems(sorted(there), stems, allow_missing=True).items():
        if not parts:
            raise UsageError(f'no track has a stem {stem!r}, only {", ".join(sorted(there))}: choose others in --stems')
    if not options.with_mixture:
        _check_nothing_left_out(tracks, stems)
    chunk_samples = round(options.chunk_duration * options.sample_rate)
    if chunk_samples < 1:
        raise UsageError(f'--chunk-duration {options.chunk_duration:g}: this is less than a sample: choose more')
    return PrepareJob(
        storage=Storage.at(options.output),
        stems=tuple(stems),
        sample_rate=options.sample_rate,
        channels=options.channels,
        chunk_samples=chunk_samples,
        chunks_per_track=options.chunks_per_track,
        with_mixture=options.with_mixture,
        shard_bytes=options.shard_size * 1_000_000,
        seed=options.seed,
        bad_tracks=options.bad_tracks,
        limits=Limits(options.max_residual, options.max_clipped),
    )


def _default_stems(there: set[str]) -> tuple[str, ...]:
    known = [stem for stem in STEM_ORDER if stem in there]
    return summands([*known, *sorted(there - set(known))])


def _check_nothing_left_out(tracks: Sequence[ShardTrack], stems: Sequence[str]) -> None:
    """UsageError if the stems that are written do not add up to the mixture of a track."""
    for track in tracks:
        parts = derived_stems(track.track.stems, stems, allow_missing=True)
        used = {name for names in parts.values() for name in names}
        left = [name for name in summands(track.track.stems) if name not in used]
        if left and 'accompaniment' not in used:
            raise UsageError(
                f'--stems {",".join(stems)} leaves {", ".join(left)} of {shown(track.uri)} out, which training would '
                'miss in the mixture: add accompaniment or the missing stems, or --with-mixture'
            )


def _run(
    job: PrepareJob, tracks: Sequence[ShardTrack], placement: Placement, options: argparse.Namespace
) -> PipelineResult:
    job.storage.forget_unfinished()
    if options.overwrite:
        job.storage.remove_folder(WORK)
    pipeline = placement.new_pipeline()
    _ = pipeline | 'Tracks' >> beam.Create(list(tracks)) | 'WriteTrainingShards' >> WriteTrainingShards(job)
    if options.progress:
        with Progress(_Watch(job.storage, len(tracks)), job.storage.is_local):
            return execute(pipeline)
    return execute(pipeline)


class _Standing(NamedTuple):
    listed: int
    read: int
    written: int
    elapsed: float

    def line(self) -> str:
        if self.written:
            return f'{self.written} shards written, {clock(self.elapsed)}'
        return f'{self.read}/{self.listed} tracks read, {clock(self.elapsed)}'

    def bar(self, width: int = 24) -> str:
        filled = width * self.read // max(1, self.listed)
        return '[' + '#' * filled + '.' * (width - filled) + ']'


class _Watch:
    """How far the run is, by the small files that tracks and shards leave; those of a killed run count too."""

    def __init__(self, storage: Storage, listed: int) -> None:
        self._storage = storage
        self._listed = listed
        self._began = time.time()

    def look(self) -> _Standing:
        read, written = (
            sum(path.endswith('.json') for path in self._storage.list_names(folder)) for folder in (TRACKS, SHARDS)
        )
        return _Standing(self._listed, read, written, time.time() - self._began)


def _outcome(
    job: PrepareJob,
    index: Mapping[str, Any],
    selected: Selected,
    was_complete: bool,
    elapsed: float,
    store_retries: int | None,
) -> Outcome:
    actions = [bad['action'] for bad in index['bad_tracks']]
    return Outcome(
        storage=job.storage,
        index=index,
        was_complete=was_complete,
        skipped=actions.count('skipped'),
        kept=actions.count('kept'),
        left_out=selected.left_out,
        reasons=read_reasons(job, REASONS_SHOWN),
        elapsed=elapsed,
        store_retries=store_retries,
    )


def summary(outcome: Outcome) -> str:
    """A few lines for people, at the end of a run."""
    totals, root = outcome.index['totals'], without_secrets(outcome.storage.root)
    tracks = sum(subset['tracks'] for subset in totals.values())
    seconds = 3600 * sum(subset['track_hours'] for subset in totals.values())
    bad = f'skipped {outcome.skipped} bad' + (f', kept {outcome.kept} bad' if outcome.kept else '')
    if outcome.was_complete:
        head = f'complete already: {tracks} tracks, {bad}: {clock(seconds)} of audio; --overwrite makes it again'
    else:
        rate = seconds / 60 / max(outcome.elapsed, 1e-3)
        head = (
            f'prepared {tracks} tracks, {bad}: {clock(seconds)} of audio in {clock(outcome.elapsed)}, '
            f'{rate:.1f} hours of audio per minute'
        )
    lines = [head]
    for subset, total in totals.items():
        shards = outcome.index['shards'][subset]
        size = sum(shard['bytes'] for shard in shards) / 1e6
        lines.append(
            f'{subset:10} {total["tracks"]} tracks, {total["chunks"]} chunks, {total["hours"]:.2f} hours in '
            f'{len(shards)} shards, {size:.0f} MB'
        )
    lines.append(f'index      {root}/{INDEX}')
    if outcome.left_out:
        left = ', '.join(f'{count} of {subset or "no subset"}' for subset, count in sorted(outcome.left_out.items()))
        lines.append(f'left out   tracks of other subsets: {left}; --subset chooses')
    lines += retries_told(outcome.store_retries)
    if outcome.reasons:
        lines.append(f'report     {root}/{REPORT}')
        lines += [f'  {reason}' for reason in outcome.reasons]
        if outcome.skipped + outcome.kept > len(outcome.reasons):
            lines.append(f'  ... and {outcome.skipped + outcome.kept - len(outcome.reasons)} more')
    return '\n'.join(lines)
