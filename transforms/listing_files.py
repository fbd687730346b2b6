"""The listing of a run as files in OUT, from which workers read their tracks.

Stands on storage.py. The one idea: a graph that carried a million tracks inside would be gigabytes in the launcher and
more than Dataflow takes as a request; one that carries the names of a thousand files is the same for any corpus.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from .records import Completed, Track
from .storage import PRIVATE, Storage

FOLDER = f'{PRIVATE}/listing'
TRACKS_PER_FILE = 1000
FORGOTTEN_SECONDS = 30 * 86400.0  # older than any job that may still read them


class ListingFiles(NamedTuple):
    """What a run works on, by the paths (relative to OUT) of the files that say it."""

    tracks: list[str]
    former: list[str]  # records of earlier runs that this one does not list: they stay in the tables

    @classmethod
    def empty(cls, tracks: int) -> ListingFiles:
        """As of so many tracks, for a graph that is only looked at."""
        return cls([f'{FOLDER}/tracks-{number:06d}.jsonl' for number in range(-(-tracks // TRACKS_PER_FILE))], [])


def write_listing(storage: Storage, tracks: Iterable[Track], former: Iterable[str]) -> ListingFiles:
    """Put the listing into OUT, in a folder of this run's own.

    Args:
      storage: OUT.
      tracks: of the run.
      former: paths of the records of other tracks, as they come.

    Raises:
      RunError: OUT cannot be written.
    """
    folder = f'{FOLDER}/{time.time():.0f}-{uuid.uuid4().hex}'
    return ListingFiles(
        _write(storage, f'{folder}/tracks', (list(track) for track in tracks)),
        _write(storage, f'{folder}/former', former),
    )


def forget_listing(storage: Storage, files: ListingFiles) -> None:
    """Remove the files of a run that has ended, and those of runs that ended otherwise long ago."""
    for path in (*files.tracks, *files.former):
        storage.remove(path)
    for folder in storage.list_names(FOLDER):
        began = folder.rpartition('/')[2].partition('-')[0]
        is_ours = any(path.startswith(f'{folder}/') for path in (*files.tracks, *files.former))
        if is_ours or (began.isdecimal() and time.time() - int(began) > FORGOTTEN_SECONDS):
            storage.remove_folder(folder)


def _write(storage: Storage, name: str, rows: Iterable[object]) -> list[str]:
    paths: list[str] = []
    rest = iter(rows)
    while piece := list(itertools.islice(rest, TRACKS_PER_FILE)):
        paths.append(f'{name}-{len(paths):06d}.jsonl')
        storage.write_bytes(paths[-1], ''.join(f'{json.dumps(row)}\n' for row in piece).encode())
    return paths


def read_tracks(path: str, storage: Storage) -> Iterator[Track]:
    """The tracks of one file."""
    return (Track(*json.loads(line)) for line in storage.read_bytes(path).splitlines())


def read_former(path: str, storage: Storage) -> Iterator[Completed]:
    """The tracks of earlier runs that one file names."""
    return (Completed('', json.loads(line), is_new=False) for line in storage.read_bytes(path).splitlines())


@dataclasses.dataclass
class ReadListing(beam.PTransform):
    """In: the pipeline.  Out: of all files, spread over the workers, what `read` finds in them."""

    storage: Storage
    paths: list[str]
    read: Callable[[str, Storage], Iterator[Track] | Iterator[Completed]]
    kind: type  # of what is read

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Returns what the files hold."""
        paths = pipeline | 'Files' >> beam.Create(self.paths).with_output_types(str) | beam.Reshuffle()
        return paths | 'Read' >> beam.FlatMap(self.read, self.storage).with_output_types(self.kind)
