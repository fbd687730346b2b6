"""A run of `separate` from its options to its summary: everything is checked first, then the graph runs, then
counts are told.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import platform
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import apache_beam as beam

from ..model.errors import RunError, UsageError
from ..model.features.columns import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from ..model.store import ModelFiles, resolve_model
from ..transforms.addresses import shown, to_uri
from ..transforms.completion import list_records, record_path, track_key
from ..transforms.formats import check_format, output_rate
from ..transforms.job import SeparateJob
from ..transforms.listing import Listing, read_listing
from ..transforms.manifest import TRACKS_PER_SHARD, Tables, joined_types, listing_types, table_files
from ..transforms.naming import check_distinct, check_pattern, stem_path
from ..transforms.planning import PLAN_FILE, Totals
from ..transforms.records import Completed, Track
from ..transforms.storage import Storage
from ..transforms.writing import PARTS
from .execution import execute
from .progress import Progress, Watch, clock
from .runners import Placement, available_cores, place
from .separate import build_separate

RUN_FILE = 'run.json'
PACKAGES = ('stembeam', 'apache-beam', 'tensorflow', 'keras', 'numpy', 'soundfile', 'av', 'soxr', 'pyarrow', 'fsspec')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run came to."""

    done: int
    skipped: int
    failed: int
    audio: float  # seconds of audio that were separated
    elapsed: float  # seconds
    reasons: tuple[str, ...]  # of the first failures
    ignored: dict[str, int]  # extension -> files of input folders that were not taken for audio


def _choose_stems(model: ModelFiles, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    known = model.config.instruments
    unknown = [name for name in wanted or () if name not in known]
    if unknown or wanted == ():
        raise UsageError(
            f'--stems: model {model.name} has no stem {", ".join(map(repr, unknown)) or "of no name"}: '
            f'it has {", ".join(known)}'
        )
    return tuple(name for name in known if wanted is None or name in wanted)


def make_job(options: argparse.Namespace, streams: int) -> SeparateJob:
    """The job that options describe.

    Raises:
      UsageError: whatever is wrong with model, stems, format or output folder; nothing has been written then.
    """
    if not options.output:
        raise UsageError('no output folder: name one with -o')
    check_pattern(options.filename_format)
    model = resolve_model(options.model)
    config = model.config
    rate = output_rate(options.format, config.sample_rate, options.sample_rate)
    bitrate = check_format(options.format, options.bitrate, rate, config.channels)
    if options.features and not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise UsageError(
            f'features of stems at {rate} Hz are not defined, only from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz: '
            'choose another --sample-rate, or --no-features'
        )
    model.check()
    if options.decoder == 'tfio':
        from ..transforms.tfio_decoding import check_tfio

        check_tfio()
    return SeparateJob(
        storage=Storage.at(options.output),
        model=model,
        instruments=_choose_stems(model, options.stems),
        format=options.format,
        bitrate=bitrate,
        output_rate=rate,
        features=options.features,
        offset=options.offset,
        duration=options.duration,
        filename_format=options.filename_format,
        allow_truncated=options.allow_truncated,
        decoder=options.decoder,
        overwrite=options.overwrite,
        chunks_per_segment=options.chunks_per_segment,
        batch_size=options.batch_size,
        streams=streams,
    )


def separate(options: argparse.Namespace, beam_options: dict[str, Any]) -> Outcome:
    """Run `separate`.

    Raises:
      UsageError: before anything is done.
      RunError: the run could not go on; complete tracks are kept.
    """
    placement = place(options.runner, options.workers or available_cores(), beam_options)
    job = make_job(options, placement.streams)
    if job.storage.root in (to_uri(text).rstrip('/') for text in options.inputs):
        raise UsageError(
            f'{job.storage.root} is both input and output folder: choose another with -o, one in it will do'
        )
    listing = read_listing(options.inputs, exclude=[job.storage.root])
    check_distinct(listing.tracks, job.filename_format, job.instruments, job.stem_format.codec)
    _check_inputs_are_kept(listing.tracks, job)
    job.storage.check_writable()
    return _run(job, listing, placement, options)


def _check_inputs_are_kept(tracks: Sequence[Track], job: SeparateJob) -> None:
    """UsageError if a stem would overwrite an input, which only one in the output folder can come to."""
    within = {track.uri for track in tracks if track.uri.startswith(f'{job.storage.root}/')}
    for track in tracks if within else ():
        for name in job.instruments:
            path = stem_path(job.filename_format, track.track_id, name, job.stem_format.codec)
            url = job.storage.url(f'stems/{path}')
            if url in within:
                raise UsageError(
                    f'the input {shown(url)} would be overwritten by a stem: choose another folder with -o'
                )


def _run(job: SeparateJob, listing: Listing, placement: Placement, options: argparse.Namespace) -> Outcome:
    storage = job.storage
    listed = {record_path(track.track_id) for track in listing.tracks}
    former = [Completed('', path, is_new=False) for path in list_records(storage) if path not in listed]
    shards = -(-(len(listed) + len(former)) // TRACKS_PER_SHARD)
    types = listing_types(track.metadata for track in listing.tracks)
    if former:
        types = joined_types(_former_columns(storage), types)
    tables = Tables(job, shards, types)
    run = _describe(job, listing, options)
    run['listing_columns'] = types
    storage.forget_unfinished()
    storage.remove(PLAN_FILE)
    storage.write_bytes(RUN_FILE, json.dumps(run, indent=1).encode())
    watch = Watch(storage, len(listing.tracks), job.model.config.sample_rate)
    began = time.time()
    if options.progress:
        with Progress(watch, storage.is_local):
            _execute(job, listing, former, tables, placement)
    else:
        _execute(job, listing, former, tables, placement)
    for path in set(table_files(storage)) - tables.expected_files():
        storage.remove(path)
    _forget_parts(storage, listing)
    outcome = _outcome(tables, listing, time.time() - began)
    run.update(dataclasses.asdict(outcome), finished=_now())
    storage.write_bytes(RUN_FILE, json.dumps(run, indent=1).encode())
    return outcome


def _former_columns(storage: Storage) -> dict[str, str]:
    """Columns of the listings of earlier runs, whose tracks stay in the manifest."""
    try:
        return json.loads(storage.read_bytes(RUN_FILE))['listing_columns']
    except (FileNotFoundError, ValueError):  # not JSON: it was not us
        return {}


def _forget_parts(storage: Storage, listing: Listing) -> None:
    """Remove parts that a killed run has left and this one, cutting its tracks otherwise, had no use for."""
    tracks = {track_key(track.track_id) for track in listing.tracks}
    for folder in storage.list_names(PARTS):
        if folder.rpartition('/')[2] in tracks:
            storage.remove_folder(folder)


def _execute(job: SeparateJob, listing: Listing, former: list[Completed], tables: Tables, placement: Placement) -> None:
    pipeline = beam.Pipeline(runner=placement.runner, options=placement.options)
    build_separate(pipeline, listing.tracks, former, job, tables, in_order=placement.is_local)
    execute(pipeline)


def _outcome(tables: Tables, listing: Listing, elapsed: float) -> Outcome:
    """Counted from what is in OUT, not by Beam's counters, of which runners may lose some."""
    storage, listed = tables.job.storage, len(listing.tracks)
    counts = [json.loads(storage.read_bytes(tables.counts_file(shard))) for shard in range(tables.shards)]
    done = sum(count['done'] for count in counts)
    skipped = Totals(**json.loads(storage.read_bytes(PLAN_FILE))).skipped
    failures = _read_failures(tables)
    if done + skipped + len(failures) != listed:
        raise RunError(
            f'{listed} tracks were listed, but {done} were done, {skipped} skipped and {len(failures)} failed: '
            'the runner lost some; run the same command again'
        )
    return Outcome(
        done=done,
        skipped=skipped,
        failed=len(failures),
        audio=sum(count['audio'] for count in counts),
        elapsed=elapsed,
        reasons=tuple(_told(row) for row in failures[:5]),
        ignored=dict(listing.ignored.most_common()),
    )


def _told(row: dict[str, Any]) -> str:
    """The reason of a failure, which always says of which input."""
    uri = shown(row['uri'])
    return row['reason'] if uri in row['reason'] else f'{uri}: {row["reason"]}'


def _read_failures(tables: Tables) -> list[dict[str, Any]]:
    storage = tables.job.storage
    paths = sorted(path for path in tables.expected_files() if path.startswith('failures'))
    return [json.loads(line) for path in paths for line in storage.read_bytes(path).splitlines()]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _describe(job: SeparateJob, listing: Listing, options: argparse.Namespace) -> dict[str, Any]:
    """run.json: what was asked for, with what, and when."""
    return {
        'options': vars(options),
        'results': job.results(),
        'model': {'name': job.model.name, 'sha256': job.model.fingerprint, 'config': job.model.config.to_json()},
        'versions': {'python': platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        'tracks': len(listing.tracks),
        'started': _now(),
    }


def summary(outcome: Outcome, options: argparse.Namespace) -> str:
    """A few lines for people, at the end of a run."""
    speed = f'{outcome.audio / outcome.elapsed:.1f}x real time' if outcome.audio else 'nothing to separate'
    out = options.output.rstrip('/')
    lines = [
        f'done {outcome.done}, skipped {outcome.skipped} (complete already), failed {outcome.failed}: '
        f'{clock(outcome.audio)} of audio in {clock(outcome.elapsed)}, {speed}',
        f'stems      {out}/stems',
        *([f'features   {out}/features'] if options.features else []),
        f'manifest   {out}/manifest-*.parquet',
    ]
    if outcome.ignored:
        kinds = ', '.join(f'{count} {kind}' for kind, count in outcome.ignored.items())
        lines.append(f'not audio  {sum(outcome.ignored.values())} other files left alone ({kinds})')
    if outcome.failed:
        lines.append(f'failures   {out}/failures-*.jsonl')
        lines += [f'  {reason}' for reason in outcome.reasons]
        if outcome.failed > len(outcome.reasons):
            lines.append(f'  ... and {outcome.failed - len(outcome.reasons)} more')
    return '\n'.join(lines)
