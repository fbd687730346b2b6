"""The index of a folder of training shards, and the report of what was wrong with its tracks.

Stands on the small files that both stages leave. The one idea to know: the index is written last, so a folder that has
one is whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...model.errors import RunError, UsageError
from ...model.hiding import without_secrets
from .chunks import DONE, FAILED, SKIPPED, Extracted, read_track
from .job import FORMAT_VERSION, INDEX, REPORT, SUBSETS, PrepareJob, ShardTrack, fingerprint_of
from .shards import plan_shards, read_shard

_SHARD = re.compile(rf'({"|".join(SUBSETS)})-\d+-of-\d+\.tfrecord')
_ASKED_AT_A_TIME = 16  # files of a data set, which may be far away

_Known = tuple[ShardTrack, dict[str, Any]]  # a track and what it came to


def read_index(job: PrepareJob) -> dict[str, Any] | None:
    """The index of the output folder; None if there is none.

    Raises:
      UsageError: there is a file of this name that is none, or of another version.
    """
    try:
        index = json.loads(job.storage.read_bytes(INDEX))
    except FileNotFoundError:
        return None
    except ValueError:
        index = None
    if not isinstance(index, dict) or index.get('format_version') != FORMAT_VERSION:
        raise UsageError(
            f'{job.storage.url(INDEX)} is no index of shards of this version: choose another -o, or remove it'
        )
    return index


def is_prepared(index: Mapping[str, Any], job: PrepareJob, tracks: Sequence[ShardTrack]) -> bool:
    """Whether the shards of an index were made from these tracks, as they are now, and by this job, and are all there.

    Raises:
      RunError: a file cannot be asked for (no package for such addresses).
    """
    with ThreadPoolExecutor(_ASKED_AT_A_TIME) as pool:
        fingerprints = list(pool.map(lambda track: fingerprint_of(track, job), tracks))
    return index['content'] == _content(fingerprints) and all(
        job.storage.size(shard['file']) == shard['bytes'] for shards in index['shards'].values() for shard in shards
    )


def write_index(job: PrepareJob, tracks: Sequence[ShardTrack], datasets: Sequence[str]) -> dict[str, Any]:
    """Write report and index of a run that has come to its end; returns the index.

    Args:
      job: what was made.
      tracks: all of them, the bad ones too.
      datasets: addresses of the data sets, as they were given.

    Raises:
      RunError: nothing came out, or a part is missing.
    """
    records = [(t, _track_record(job, t)) for t in sorted(tracks, key=lambda t: (t.subset, t.name))]
    rows = [_report_row(track, record) for track, record in records if record['problems'] or record['notes']]
    job.storage.write_bytes(REPORT, ''.join(json.dumps(row) + '\n' for row in rows).encode())
    shards = _shards(job, records)
    wanted = {shard['file'] for files in shards.values() for shard in files}
    for path in job.storage.list_names(''):
        if _SHARD.fullmatch(path) and path not in wanted:
            job.storage.remove(path)
    index = {
        'format_version': FORMAT_VERSION,
        'stems': job.stems,
        'with_mixture': job.with_mixture,
        'sample_rate': job.sample_rate,
        'channels': job.channels,
        'chunk_samples': job.chunk_samples,
        'seed': job.seed,
        'totals': {subset: _totals(job, subset, records) for subset in SUBSETS},
        'levels': _levels(record['levels'] for _, record in records),
        'shards': shards,
        'datasets': [without_secrets(address) for address in datasets],
        'bad_tracks': [
            {'track': row['track'], 'action': row['action'], 'kinds': [problem['kind'] for problem in row['problems']]}
            for row in rows
            if row['problems']
        ],
        'options': job.options(),
        'content': _content(record['fingerprint'] for _, record in records),
    }
    job.storage.write_bytes(INDEX, json.dumps(index, indent=1).encode())
    return index


def read_reasons(job: PrepareJob, count: int) -> list[str]:
    """What is wrong with the first `count` bad tracks of the report, one line each."""
    rows = [json.loads(line) for line in job.storage.read_bytes(REPORT).splitlines()]
    return ['; '.join(problem['reason'] for problem in row['problems']) for row in rows if row['problems']][:count]


def _content(fingerprints: Iterable[str]) -> str:
    """SHA-256 of all that the shards were made from."""
    return hashlib.sha256(''.join(sorted(fingerprints)).encode()).hexdigest()


def _track_record(job: PrepareJob, track: ShardTrack) -> dict[str, Any]:
    record = read_track(job.storage, job.track_file(track.name))
    if record is None:
        raise RunError(f'nothing is known of track {track.name!r}: the runner lost it; run the same command again')
    if record['status'] == FAILED:
        return {'fingerprint': fingerprint_of(track, job), 'notes': [], 'levels': {}, 'samples': 0, **record}
    return record


def _report_row(track: ShardTrack, record: Mapping[str, Any]) -> dict[str, Any]:
    bad = {DONE: 'kept', SKIPPED: 'skipped', FAILED: 'skipped'}[record['status']]
    return {
        'track': track.name,
        'subset': track.subset,
        'dataset': without_secrets(track.dataset),
        'uri': without_secrets(track.uri),
        'action': bad if record['problems'] else 'noted',
        'problems': [{'kind': kind, 'reason': reason} for kind, reason in record['problems']],
        'notes': record['notes'],
        'residual_db': record.get('residual_db'),
    }


def _shards(job: PrepareJob, records: Sequence[_Known]) -> dict[str, list[dict[str, Any]]]:
    """What the second stage has written, by subset; everything that was to be written must be there."""
    extracted = [Extracted(track.name, track.subset, tuple(record['lengths'])) for track, record in records]
    if not any(track.lengths for track in extracted):
        raise RunError(f'no track could be prepared: {job.storage.url(REPORT)} says why')
    made: dict[str, list[dict[str, Any]]] = {subset: [] for subset in SUBSETS}
    for plan in plan_shards(extracted, job):
        shard = read_shard(plan, job)
        if shard is None:
            raise RunError(f'{job.storage.url(plan.file)} is missing: the runner lost it; run the same command again')
        made[plan.subset].append(shard)
    return made


def _totals(job: PrepareJob, subset: str, records: Sequence[_Known]) -> dict[str, Any]:
    chosen = [record for track, record in records if track.subset == subset and record['status'] == DONE]
    chunks = sum(len(record['lengths']) for record in chosen)
    return {
        'tracks': len(chosen),
        'chunks': chunks,
        'hours': round(chunks * job.chunk_samples / job.sample_rate / 3600, 6),
        'track_hours': round(sum(record['samples'] for record in chosen) / job.sample_rate / 3600, 6),
    }


def _levels(levels: Iterable[Mapping[str, Sequence[float | None]]]) -> dict[str, dict[str, float | None]]:
    """By stem: the mean level in dB of the chunks in which it is heard, and the share of those in which it is not."""
    by_stem: dict[str, list[float | None]] = {}
    for track in levels:
        for stem, chunks in track.items():
            by_stem.setdefault(stem, []).extend(chunks)
    found = {}
    for stem, chunks in by_stem.items():
        heard = [level for level in chunks if level is not None]
        found[stem] = {
            'mean_rms_db': round(sum(heard) / len(heard), 3) if heard else None,
            'silent_chunks': round(1 - len(heard) / len(chunks), 6),
        }
    return found
