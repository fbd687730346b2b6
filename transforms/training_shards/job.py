"""Everything that making training shards depends on, and where its files are.

The one idea to know: the name of every file and the content of every shard follow from the job and the tracks alone, so
that whoever does the work, in whatever order, comes to the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, NamedTuple

from ...model.errors import TrackError
from ..completion import track_key
from ..datasets import DatasetTrack
from ..planning import source_identity
from ..storage import PRIVATE, Storage
from .checks import Limits

FORMAT_VERSION = 1  # of the records and the index
TRAIN, VALIDATION = 'train', 'validation'
SUBSETS = (TRAIN, VALIDATION)
STOP, SKIP, KEEP = 'stop', 'skip', 'keep'
WORK = f'{PRIVATE}/prepare'  # temporary files, removed at the end
TRACKS, SHARDS = f'{WORK}/tracks', f'{WORK}/shards'
INDEX, REPORT = 'index.json', 'prepare-report.jsonl'


class ShardTrack(NamedTuple):
    """A track of a data set on its way into the shards."""

    name: str  # unique in the job; the feature `track` of its records
    subset: str  # 'train' or 'validation': of the shards, not of the data set
    dataset: str  # address of the data set, as it was given
    track: DatasetTrack

    @property
    def uri(self) -> str:
        """What messages call the track: the file of its mixture, or else of a stem."""
        sources = [*filter(None, [self.track.mixture]), *self.track.stems.values()]
        return sources[0].uri if sources else self.name


@dataclasses.dataclass(frozen=True)
class PrepareJob:
    """What to make, and where."""

    storage: Storage
    stems: tuple[str, ...]
    sample_rate: int = 44100  # Hz
    channels: int = 2
    chunk_samples: int = 882_000  # at `sample_rate`
    chunks_per_track: int | None = None  # evenly spread; None: as many as cover the track
    with_mixture: bool = False
    shard_bytes: int = 256_000_000
    seed: int = 0
    bad_tracks: str = SKIP
    limits: Limits = dataclasses.field(default_factory=Limits)

    def options(self) -> dict[str, Any]:
        """What decides the content of the shards, for JSON."""
        chosen = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != 'storage'}
        return {'format_version': FORMAT_VERSION, **chosen, 'limits': self.limits._asdict()}

    def records_file(self, name: str) -> str:
        """Where the framed records of a track wait for their shards, relative to the output folder."""
        return f'{TRACKS}/{track_key(name)}.records'

    def track_file(self, name: str) -> str:
        """Where it says what a track came to."""
        return f'{TRACKS}/{track_key(name)}.json'


def shard_name(subset: str, index: int, total: int) -> str:
    """The file name of a shard."""
    return f'{subset}-{index:05d}-of-{total:05d}.tfrecord'


def fingerprint_of(track: ShardTrack, job: PrepareJob) -> str:
    """SHA-256 of a track's sources (address, size, time of change), its place and the job."""
    sources = {**track.track.stems, **({'mixture': track.track.mixture} if track.track.mixture else {})}
    identities = {uri: _identity(uri) for uri in {source.uri for source in sources.values()}}
    content = {
        'options': job.options(),
        'name': track.name,
        'subset': track.subset,
        'sources': {name: [*source, identities[source.uri]] for name, source in sources.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode('utf-8', 'surrogatepass')).hexdigest()


def _identity(uri: str) -> Any:
    try:
        return source_identity(uri)
    except TrackError:
        return None  # not there, now: nothing that could be compared
