"""The tables of a corpus: manifest and track features, made from the completion records, and the failure table.

Tables are cut into shards by track, whose number is known at launch; every shard is written, also an empty one, so that
a run replaces the tables of the run before. Only names of records cross the shuffle, the records are read where they
are needed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Optional

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from ..model.hiding import without_secrets
from .completion import DONE, read_record, record_path
from .feature_tables import TRACKS_SCHEMA, printable, tracks_table
from .job import SeparateJob
from .records import Completed, Failure
from .retrying import side_by_side
from .storage import PRIVATE, Storage

MANIFEST_VERSION = '1'
TRACKS_PER_SHARD = 50_000
RECORDS_PER_GROUP = 1000  # rows that are in memory at a time
REMOTE_THREADS = 16  # records of a store that are read at the same time
MANIFEST, TRACKS, FAILED = 'manifest', 'features/tracks', 'failures'
_SUFFIX = {MANIFEST: 'parquet', TRACKS: 'parquet', FAILED: 'jsonl'}


def shard_name(table: str, shard: int, shards: int) -> str:
    """Path of a shard, relative to OUT."""
    return f'{table}-{shard:05d}-of-{shards:05d}.{_SUFFIX[table]}'


def table_files(storage: Storage) -> Iterator[str]:
    """Paths of all table shards in OUT, of whatever run."""
    for folder, tables in (('', (MANIFEST, FAILED)), ('features', (TRACKS,))):
        for path in storage.list_names(folder):
            if any(path.startswith(f'{table}-') and path.endswith(_SUFFIX[table]) for table in tables):
                yield path


def shard_of(record: str, shards: int) -> int:
    """Which shard the track with this record belongs to: the same in every process and run."""
    return int.from_bytes(hashlib.sha256(record.encode()).digest()[:8], 'big') % shards


# Column of the manifest -> (type, where a record has it, what it is).
_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    'track_id': (pa.string(), 'The track: unique in the corpus; folders are separated by /.'),
    'uri': (pa.string(), 'The input; what gives access is hidden in it.'),
    'status': (pa.string(), "'done': all files of the track are there."),
    'duration': (pa.float64(), 'Seconds that were separated.'),
    'num_samples': (pa.int64(), "Samples that were separated, at the model's rate."),
    'stems': (pa.map_(pa.string(), pa.string()), 'Stem -> its file, relative to the output folder.'),
    'stem_sha256': (pa.map_(pa.string(), pa.string()), 'Stem -> SHA-256 of its file.'),
    'stem_samples': (pa.map_(pa.string(), pa.int64()), 'Stem -> samples in its file.'),
    'stem_clipped': (pa.map_(pa.string(), pa.int64()), 'Stem -> samples beyond full scale.'),
    'frames': (pa.string(), 'Table of frame features, relative to the output folder; null without features.'),
    'bytes': (pa.int64(), 'Size of all files of the track.'),
    'format': (pa.string(), 'Format of the stem files.'),
    'sample_rate': (pa.int32(), 'Hz of the stem files.'),
    'model': (pa.string(), 'The model, as it was asked for.'),
    'model_sha256': (pa.string(), "SHA-256 of the model's weights and configuration."),
    'fingerprint': (pa.string(), 'SHA-256 of input, model and options.'),
    'input_sample_rate': (pa.int32(), 'Hz of the input.'),
    'input_channels': (pa.int32(), 'Channels of the input.'),
    'input_codec': (pa.string(), 'How the input is coded.'),
    'input_bytes': (pa.int64(), 'Size of the input.'),
    'seconds': (pa.map_(pa.string(), pa.float64()), 'Step -> seconds that it took.'),
}


def manifest_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row of the manifest; columns of the listing that have a name of ours get `listing_` in front."""
    stems = record['stems']
    return {
        **{key: record[key] for key in ('status', 'duration', 'num_samples', 'frames', 'model', 'fingerprint')},
        'track_id': printable(record['track_id']),
        'uri': printable(without_secrets(record['uri'])),  # records of earlier versions tell everything
        'stems': [(name, stem['path']) for name, stem in stems.items()],
        'stem_sha256': [(name, stem['sha256']) for name, stem in stems.items()],
        'stem_samples': [(name, stem['samples']) for name, stem in stems.items()],
        'stem_clipped': [(name, stem['clipped']) for name, stem in stems.items()],
        'bytes': sum(record['files'].values()),
        'format': record['results']['format'],
        'sample_rate': record['results']['sample_rate'],
        'model_sha256': record['results']['model'],
        'input_sample_rate': record['input']['sample_rate'],
        'input_channels': record['input']['channels'],
        'input_codec': record['input']['codec'],
        'input_bytes': record['source']['bytes'],
        'seconds': list(record['seconds'].items()),
        **{listing_column(name): value for name, value in record['metadata'].items()},
    }


def listing_column(name: str) -> str:
    """The manifest's column for a column of the listing."""
    # 'listing_duration' gets another prefix, because 'duration' may be in the listing as well.
    base = re.sub('^(listing_)*', '', name)
    return printable(f'listing_{name}' if base in _COLUMNS else name)


def listing_types(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Column of the listing -> 'bool', 'int64', 'double' or 'string', whatever holds all its values."""
    kinds: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            found = kinds.setdefault(name, set())
            if value is not None:
                found.add(str if isinstance(value, int) and not -(2**63) <= value < 2**63 else type(value))
    types = {}
    for name, found in kinds.items():
        if found == {bool}:
            types[name] = 'bool'
        elif found == {int}:
            types[name] = 'int64'
        elif found and found <= {int, float}:
            types[name] = 'double'
        else:
            types[name] = 'string'
    return types


def joined_types(former: Mapping[str, str], types: Mapping[str, str]) -> dict[str, str]:
    """`listing_types` of two listings together."""
    joined = {**former, **types}
    for name in former.keys() & types.keys():
        kinds = {former[name], types[name]}
        if len(kinds) > 1:
            joined[name] = 'double' if kinds == {'int64', 'double'} else 'string'
    return joined


def manifest_schema(types: Mapping[str, str]) -> pa.Schema:
    """The manifest's schema with the listing's own columns at its end."""
    fields = [pa.field(name, kind, metadata={'definition': text}) for name, (kind, text) in _COLUMNS.items()]
    fields += [
        pa.field(
            listing_column(name),
            pa.type_for_alias(kind),
            metadata={'definition': f'Column {printable(name)} of the listing.'},
        )
        for name, kind in types.items()
    ]
    return pa.schema(fields, metadata={'stembeam_manifest_version': MANIFEST_VERSION})


def _as_text(value: Any) -> Any:
    return value if value is None else printable(value if isinstance(value, str) else json.dumps(value))


def _manifest_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if field.type == pa.string():
            values = [_as_text(value) for value in values]
        elif field.type == pa.float64():
            values = [None if value is None else float(value) for value in values]  # Arrow refuses long integers
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


@dataclasses.dataclass(frozen=True)
class Tables:
    """Where and how the tables of a run are written."""

    job: SeparateJob
    shards: int
    types: Mapping[str, str]  # of the listing's columns

    def counts_file(self, shard: int) -> str:
        """Path of the counts of a shard: what this run made, for its summary."""
        return f'{PRIVATE}/counts-{shard:05d}.json'

    def expected_files(self) -> set[str]:
        """Paths of all shards that this run writes."""
        tables = [MANIFEST, FAILED, *([TRACKS] if self.job.features else [])]
        return {shard_name(table, shard, self.shards) for table in tables for shard in range(self.shards)}


def _records(completed: Iterable[Completed], storage: Storage) -> Iterator[tuple[dict[str, Any], Completed]]:
    """(record, completed track) by track id, each track once."""
    by_id = {item.record: item for item in completed}
    rest = iter(sorted(by_id.values(), key=lambda item: (item.track_id, item.record)))
    while some := list(itertools.islice(rest, RECORDS_PER_GROUP)):
        records = side_by_side(
            lambda item: read_record(storage, item.record), some, 1 if storage.is_local else REMOTE_THREADS
        )
        for item, record in zip(some, records, strict=True):
            # A record that is being replaced belongs to a failed or unfinished track, or vanished with another run.
            if record is not None and record['status'] == DONE:
                yield record, item


def write_tables(keyed: tuple[int, Iterable[Completed | None]], tables: Tables) -> None:
    """Write one shard of the manifest and of the track features, in row groups of bounded size, and count."""
    shard, completed = keyed
    storage = tables.job.storage
    schema = manifest_schema(tables.types)
    counts = {'done': 0, 'audio': 0.0}
    with storage.new_folder() as folder:
        local = {table: os.path.join(folder, str(number)) for number, table in enumerate((MANIFEST, TRACKS))}
        with (
            pq.ParquetWriter(local[MANIFEST], schema, compression='zstd') as manifest,
            pq.ParquetWriter(local[TRACKS], TRACKS_SCHEMA, compression='zstd') as features,
        ):
            for group in _groups(_records(filter(None, completed), storage)):
                rows = [manifest_row(record) for record, _ in group]
                manifest.write_table(_manifest_table(rows, schema))
                features.write_table(tracks_table([record for record, _ in group]))
                counts['done'] += sum(item.is_new for _, item in group)
                counts['audio'] += sum(record['duration'] for record, item in group if item.is_new)
        storage.publish(local[MANIFEST], shard_name(MANIFEST, shard, tables.shards))
        if tables.job.features:
            storage.publish(local[TRACKS], shard_name(TRACKS, shard, tables.shards))
    storage.write_bytes(tables.counts_file(shard), json.dumps(counts).encode())


def _groups(items: Iterable[Any]) -> Iterator[list[Any]]:
    group: list[Any] = []
    for item in items:
        group.append(item)
        if len(group) == RECORDS_PER_GROUP:
            yield group
            group = []
    yield group


_STAGES = ('plan', 'decode', 'wiener', 'separate', 'write', 'assemble')


def first_failures(failures: Iterable[Failure]) -> list[Failure]:
    """One failure per track, that of the earliest stage: the segments of a broken track may all fail."""
    first: dict[str, Failure] = {}
    for failure in sorted(failures, key=lambda f: (f.track_id, _STAGES.index(f.stage), f.reason)):
        first.setdefault(failure.track_id, failure)
    return list(first.values())


def write_failures(keyed: tuple[int, Iterable[Failure | None]], tables: Tables) -> int:
    """Write one shard of the failure table, a JSON object per line; returns the number of rows."""
    shard, failures = keyed
    rows = first_failures(filter(None, failures))
    lines = [json.dumps({key: printable(value) for key, value in row._asdict().items()}) + '\n' for row in rows]
    tables.job.storage.write_bytes(shard_name(FAILED, shard, tables.shards), ''.join(lines).encode())
    return len(rows)


@dataclasses.dataclass
class _GatherByShard(beam.PTransform):
    """In: Completed or Failure.  Out: (shard, items), every shard once, also an empty one.

    Beam's CoGroupByKey does this too, but its values cross the shuffle without a type, and so without our coder.
    """

    kind: type[Completed] | type[Failure]
    shards: int

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, items: beam.PCollection) -> beam.PCollection:
        keyed = tuple[int, Optional[self.kind]]  # type: ignore[name-defined]  # noqa: UP045  # read by Beam as a value
        shards = self.shards
        return (
            (
                items | 'Key' >> beam.Map(lambda item: (_shard(item, shards), item)).with_output_types(keyed),
                items.pipeline
                | 'Shards' >> beam.Create(list(range(shards)))
                | 'Mark' >> beam.Map(lambda shard: (shard, None)).with_output_types(keyed),
            )
            | beam.Flatten()
            | beam.GroupByKey()
        )


def _shard(item: Completed | Failure, shards: int) -> int:
    return shard_of(item.record if isinstance(item, Completed) else record_path(item.track_id), shards)


@dataclasses.dataclass
class WriteTables(beam.PTransform):
    """In: (completed, failures).  Out: nothing of use; OUT has the tables when the pipeline has ended."""

    tables: Tables

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        """Returns the number of failures per shard."""
        completed, failures = inputs
        shards = self.tables.shards
        _ = (
            completed
            | 'GatherCompleted' >> _GatherByShard(Completed, shards)
            | 'WriteManifest' >> beam.Map(write_tables, self.tables)
        )
        return (
            failures
            | 'GatherFailures' >> _GatherByShard(Failure, shards)
            | 'WriteFailures' >> beam.Map(write_failures, self.tables)
        )
