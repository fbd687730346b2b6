"""The second stage: records in random order, a file at a time, and the transform that puts both stages together.

Stands on Beam. The one idea to know: which record goes where is decided once, from the names of the tracks and the
seed (`plan_shards`), so that any worker can make any shard, and make it again, with the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from ...model.errors import RunError
from ..guarding import Guarded
from ..records import Track
from .chunks import Extracted, extract_track, record_failure
from .job import SHARDS, SUBSETS, PrepareJob, ShardTrack, shard_name


class RecordPlace(NamedTuple):
    """Where a record waits."""

    path: str  # of the track's records, relative to the output folder
    offset: int  # in bytes
    length: int


class ShardPlan(NamedTuple):
    """A shard to be written."""

    subset: str
    file: str
    places: tuple[RecordPlace, ...]  # of its records, in their order


def plan_shards(extracted: Iterable[Extracted], job: PrepareJob) -> Iterator[ShardPlan]:
    """All records of each subset in random order, divided among files that differ by at most one record.

    The order is that of the SHA-256 of seed, subset, track and chunk, whatever the order of `extracted`.
    """
    tracks = sorted(extracted)
    for subset in SUBSETS:
        chosen = [track for track in tracks if track.subset == subset]
        owners = np.repeat(np.arange(len(chosen)), [len(track.lengths) for track in chosen])
        lengths = np.array([length for track in chosen for length in track.lengths], np.int64)
        offsets = np.array([at for track in chosen for at in _offsets(track.lengths)], np.int64)
        keys = [_key(job.seed, track, chunk) for track in chosen for chunk in range(len(track.lengths))]
        order = np.argsort(np.array(keys, np.uint64), kind='stable')
        total = min(len(order), -(-int(lengths.sum()) // job.shard_bytes))
        bounds = [index * len(order) // max(1, total) for index in range(total + 1)]
        for index in range(total):
            places = (
                RecordPlace(job.records_file(chosen[owners[at]].name), int(offsets[at]), int(lengths[at]))
                for at in order[bounds[index] : bounds[index + 1]]
            )
            yield ShardPlan(subset, shard_name(subset, index, total), tuple(places))


def _offsets(lengths: Iterable[int]) -> Iterator[int]:
    position = 0
    for length in lengths:
        yield position
        position += length


def _key(seed: int, track: Extracted, chunk: int) -> int:
    text = json.dumps([seed, track.subset, track.name, chunk])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big')


def shard_record(file: str) -> str:
    """Where it says what a shard came to, relative to the output folder."""
    return f'{SHARDS}/{file}.json'


def write_shard(plan: ShardPlan, job: PrepareJob) -> None:
    """Put the records of a shard together; one that is there already, whole and of the same records, stays.

    Raises:
      RunError: a record is not where it should be; or this machine is the trouble.
    """
    if read_shard(plan, job) is not None:
        return
    digest, size = hashlib.sha256(), 0
    with job.storage.new_folder() as folder:
        path = os.path.join(folder, 'shard')
        with open(path, 'wb') as file:
            for place in plan.places:
                record = job.storage.read_range(place.path, place.offset, place.length)
                if len(record) != place.length:
                    raise RunError(f'{job.storage.url(place.path)} was cut off by somebody: run the same command again')
                digest.update(record)
                size += file.write(record)
        job.storage.publish(path, plan.file)
    made = {
        'content': _content(plan, job),
        'file': plan.file,
        'records': len(plan.places),
        'bytes': size,
        'sha256': digest.hexdigest(),
    }
    job.storage.write_bytes(shard_record(plan.file), json.dumps(made).encode())


def read_shard(plan: ShardPlan, job: PrepareJob) -> dict[str, Any] | None:
    """File, records, bytes and sha256 of a shard that is written; None if it is not, or holds other records."""
    try:
        made = json.loads(job.storage.read_bytes(shard_record(plan.file)))
    except FileNotFoundError:
        return None
    if made.pop('content') != _content(plan, job) or job.storage.size(plan.file) != made['bytes']:
        return None
    return made


def _content(plan: ShardPlan, job: PrepareJob) -> str:
    return hashlib.sha256(json.dumps([job.options(), plan]).encode()).hexdigest()


@dataclasses.dataclass
class WriteTrainingShards(beam.PTransform):
    """Tracks of data sets to shards of shuffled chunks.

    In: ShardTrack.  Out: nothing; what every track and shard came to is in small files under SHARDS/.stembeam/prepare,
    from which the index is made.
    """

    job: PrepareJob

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tracks: beam.PCollection) -> beam.PCollection:
        """Returns one None for each shard."""
        extracted = (
            tracks
            | 'SpreadTracks' >> beam.Reshuffle()
            | 'Extract' >> Guarded(extract_track, self.job, stage='prepare', track_of=_track_of)
        )
        failed = extracted.failures | 'Failures' >> beam.Map(record_failure, self.job)
        return (
            tracks.pipeline
            | 'Once' >> beam.Create([None])
            | 'Plan' >> beam.FlatMap(_plan, self.job, beam.pvalue.AsList(extracted.good), beam.pvalue.AsList(failed))
            | 'SpreadShards' >> beam.Reshuffle()
            | 'WriteShards' >> beam.Map(write_shard, self.job)
        )


def _plan(_: Any, job: PrepareJob, extracted: list[Extracted], failed: list[None]) -> Iterator[ShardPlan]:
    """`failed` is waited for: a track that stops the run stops it before any shard is written."""
    return plan_shards(extracted, job)


def _track_of(track: ShardTrack) -> Track:
    return Track(track.name, track.uri, {})
