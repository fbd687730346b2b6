"""Scores of a track of a data set: its references are read, its mixture is separated or estimates are read, and both
the estimates and the mixture are scored.

Stands on datasets/ and on model/evaluation. The one idea to know: a track is one element, scored as a whole in one
step, since BSSEval's filters are fitted to whole tracks; what crosses a shuffle is where its files are.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
from apache_beam.utils import shared

from ..model.errors import TrackError
from ..model.evaluation.scores import FRAME_SECONDS, score_track
from ..model.method import Method
from .comparing import ComparedStem, compared_stems, usual_order
from .completion import DONE, is_complete, read_record, record_path, write_record
from .datasets import DatasetTrack, StemSource, read_source, summands
from .guarding import Guard, Guarded
from .planning import source_identity
from .records import Completed, Track
from .score_files import FRAMES, MIXTURE, SCORES_VERSION, SEPARATION, frames_table, museval_json, track_files
from .storage import Storage, full_disk_stops_the_run

if TYPE_CHECKING:
    from ..model.separator import Separator
    from ..model.store import ModelFiles

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EvaluateJob:
    """Options of `evaluate`, checked and complete."""

    storage: Storage
    model: ModelFiles | None  # None: estimates are there already
    method: Method
    sample_rate: int = 44100  # Hz at which is scored: the model's
    channels: int = 2
    window: float = FRAME_SECONDS  # seconds of a frame
    hop: float = FRAME_SECONDS
    scorer: str = 'stembeam'
    batch_size: int | None = None  # chunks in one call of the network; None: see engines.load_engine
    streams: int = 1  # threads of a process that separate at the same time

    def results(self) -> dict[str, Any]:
        """Everything but the input that decides what the scores are."""
        return {
            'version': SCORES_VERSION,
            'model': self.model.fingerprint if self.model else None,
            'method': self.method.to_json(),
            'sample_rate': self.sample_rate,
            'channels': self.channels,
            'window': self.window,
            'hop': self.hop,
            'scorer': self.scorer,
        }


class ScoredTrack(NamedTuple):
    """A track that is to be scored."""

    track_id: str  # name of the track, with its subset in front
    references: DatasetTrack
    estimates: dict[str, StemSource] | None  # stem -> file; None: the model makes them
    fingerprint: str  # SHA-256 of input, model and options
    size: int  # bytes of all its files, as far as they are known

    @property
    def track(self) -> Track:
        """For records of failures."""
        return Track(self.track_id, where_of(self.references), {})


def id_of(track: DatasetTrack) -> str:
    """What a track is called in OUT: unique in its data set."""
    return f'{track.subset}/{track.name}' if track.subset else track.name


def where_of(track: DatasetTrack) -> str:
    """An address that tells people which track is meant."""
    source = track.mixture or next(iter(track.stems.values()), None)
    return source.uri if source else track.name


def plan_score(track: DatasetTrack, estimates: dict[str, StemSource] | None, job: EvaluateJob) -> ScoredTrack:
    """A track with the fingerprint of all that decides its scores.

    Raises:
      TrackError: a file that is not there.
    """
    sources = {
        'references': {**track.stems, **({MIXTURE: track.mixture} if track.mixture else {})},
        'estimates': estimates or {},
    }
    identities = {source.uri: source_identity(source.uri) for group in sources.values() for source in group.values()}
    content = [
        id_of(track),
        job.results(),
        {
            kind: {name: [source.uri, source.stream, identities[source.uri]] for name, source in sorted(group.items())}
            for kind, group in sources.items()
        },
    ]
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    size = sum(identity['bytes'] or 0 for identity in identities.values())
    return ScoredTrack(id_of(track), track, estimates, fingerprint, size)


def is_scored(planned: ScoredTrack, storage: Storage) -> bool:
    """Whether the track's scores are there, of the same input, model and options."""
    record = read_record(storage, record_path(planned.track_id))
    return record is not None and is_complete(storage, record, planned.fingerprint)


def forget_scores(track_id: str, storage: Storage) -> None:
    """Remove what is there of a track's scores, which are of something else."""
    storage.remove(record_path(track_id))
    for path in track_files(track_id).values():
        storage.remove(path)


def load_separator(job: EvaluateJob) -> Separator:
    """The job's model, for all threads of a process."""
    # Here and not above: only processes that separate load an engine.
    from ..model.separator import Separator, load_chunk_separator

    if job.model is None:
        raise ValueError('a job with estimates has no model')
    return Separator(load_chunk_separator(job.model, job.batch_size, job.method, job.streams))


@functools.cache
def one_thread_per_track() -> None:
    """Have linear algebra use one thread per call from here on in this process: tracks are what runs side by side.

    Threads inside of calls would wait for each other (measured: six times as slow on a busy machine).
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api='blas')


class TrackScorer:
    """Makes the scores of planned tracks; the model is loaded once per process and shared by its threads."""

    def __init__(self, job: EvaluateJob) -> None:
        """Nothing is loaded here."""
        self.job = job
        self._model = shared.Shared()

    def score(self, planned: ScoredTrack) -> Completed:
        """Score a track and write its files.

        Raises:
          TrackError: files that cannot be read, or that do not fit each other.
          RunError: the disk is full.
        """
        one_thread_per_track()
        began = time.perf_counter()
        track = planned.references
        names = self._outputs() if planned.estimates is None else usual_order(planned.estimates)
        compared = self._within(planned, lambda: compared_stems(track.stems, names))
        references = {stem.name: self._read_sum(track.stems, stem.references) for stem in compared}
        mixture = self._read(track.mixture) if track.mixture else self._read_sum(track.stems, summands(track.stems))
        read = time.perf_counter()
        made = self._estimates(planned, mixture, compared)
        separated = time.perf_counter()
        estimates = {stem.name: _sum([made[name] for name in stem.estimates], planned.track_id) for stem in compared}
        num_samples = len(next(iter(references.values())))
        lengths = {name: len(signal) - num_samples for name, signal in estimates.items() if len(signal) != num_samples}
        for name, difference in lengths.items():
            logger.warning(
                '%s: the estimate of %s is %d samples %s than its reference: it was %s',
                *(planned.track_id, name, abs(difference)),
                *(('longer', 'cut') if difference > 0 else ('shorter', 'padded with zeros')),
            )
        del made
        found = self._within(planned, lambda: self._score(references, estimates, mixture))
        seconds = {'read': read - began, 'separate': separated - read, 'score': time.perf_counter() - separated}
        return self._write(planned, found, num_samples, lengths, seconds)

    def _outputs(self) -> tuple[str, ...]:
        assert self.job.model is not None
        return self.job.method.outputs(self.job.model.config)

    def _within(self, planned: ScoredTrack, function: Any) -> Any:
        """Call a function whose errors do not say which track they are about."""
        try:
            return function()
        except TrackError as error:
            raise TrackError(f'{planned.track_id}: {error}') from error

    def _read(self, source: StemSource) -> np.ndarray:
        return read_source(source, self.job.sample_rate, self.job.channels)

    def _read_sum(self, sources: Mapping[str, StemSource], names: Sequence[str]) -> np.ndarray:
        return _sum([self._read(sources[name]) for name in names], ', '.join(sources[name].uri for name in names))

    def _estimates(
        self, planned: ScoredTrack, mixture: np.ndarray, compared: Sequence[ComparedStem]
    ) -> Mapping[str, np.ndarray]:
        if planned.estimates is None:
            separator = self._model.acquire(lambda: load_separator(self.job))
            return separator.separate(mixture, self.job.sample_rate)
        needed = [name for stem in compared for name in stem.estimates]
        return {name: self._read(planned.estimates[name]) for name in needed}

    def _score(
        self, references: Mapping[str, np.ndarray], estimates: Mapping[str, np.ndarray], mixture: np.ndarray
    ) -> dict[str, Any]:
        job = self.job
        sets = [estimates, dict.fromkeys(references, mixture)]
        scores = score_track(references, sets, job.sample_rate, job.window, job.hop, job.scorer)
        return dict(zip((SEPARATION, MIXTURE), scores, strict=True))

    def _write(
        self,
        planned: ScoredTrack,
        found: Mapping[str, Any],
        num_samples: int,
        lengths: Mapping[str, int],
        seconds: Mapping[str, float],
    ) -> Completed:
        storage = self.job.storage
        paths = track_files(planned.track_id)
        with storage.new_folder() as folder, full_disk_stops_the_run(storage.root):
            local = {name: os.path.join(folder, name) for name in paths}
            pq.write_table(frames_table(planned.track_id, found), local[FRAMES], compression='zstd')
            for kind, scores in found.items():
                with open(local[kind], 'wb') as file:
                    file.write(museval_json(scores))
            sizes = {paths[name]: os.path.getsize(path) for name, path in local.items()}
            for name, path in local.items():
                storage.publish(path, paths[name])
        record = {
            'status': DONE,
            'track_id': planned.track_id,
            'fingerprint': planned.fingerprint,
            'results': self.job.results(),
            'files': sizes,
            'num_samples': num_samples,
            'duration': num_samples / self.job.sample_rate,
            'length_differences': dict(lengths),  # stem -> samples that its estimate has more than the reference
            'finished': time.time(),
            'seconds': {step: round(spent, 4) for step, spent in seconds.items()},
        }
        return Completed(planned.track_id, write_record(storage, record), is_new=True)


def _sum(signals: Sequence[np.ndarray], what: str) -> np.ndarray:
    """The sum of signals of the same length. Raises TrackError if they are not."""
    lengths = {len(signal) for signal in signals}
    if len(lengths) > 1:
        raise TrackError(
            f'{what}: stems that are added up have different lengths ({", ".join(map(str, sorted(lengths)))} samples): '
            'make them the same'
        )
    total = signals[0]
    for signal in signals[1:]:
        total = total + signal
    return total


def score_planned(planned: ScoredTrack, scorer: TrackScorer) -> Iterator[Completed]:
    """The step of the pipeline. Errors as TrackScorer.score."""
    yield scorer.score(planned)


@dataclasses.dataclass
class ScoreTracks(beam.PTransform):
    """In: ScoredTrack.  Out: a Guard of Completed, and of Failure with stage 'evaluate'."""

    job: EvaluateJob

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tracks: beam.PCollection) -> Guard:
        """Returns a Guard."""
        return (
            tracks
            | 'SpreadTracks' >> beam.Reshuffle()
            | 'Score'
            >> Guarded(
                score_planned,
                TrackScorer(self.job),
                stage='evaluate',
                track_of=lambda planned: planned.track,
                output_type=Completed,
            )
        )
