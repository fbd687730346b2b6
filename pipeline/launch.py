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
from datetime import datetime, timezone
from typing import Any

from apache_beam.runners.runner import PipelineResult

from ..model.errors import RunError
from ..model.hiding import without_secrets
from ..model.store import stage_model
from ..transforms.addresses import shown
from ..transforms.completion import list_records, record_path, track_key
from ..transforms.job import SeparateJob
from ..transforms.listing import Listing
from ..transforms.listing_files import ListingFiles, forget_listing, write_listing
from ..transforms.manifest import TRACKS_PER_SHARD, Tables, joined_types, listing_types, table_files
from ..transforms.model_handler import load_ahead
from ..transforms.naming import LAYOUTS
from ..transforms.planning import PLAN_FILE, Totals
from ..transforms.separating import StemModelHandler
from ..transforms.storage import PRIVATE, Storage
from ..transforms.writing import PARTS
from .checks import check_asked, check_places, check_reachable, make_job, read_inputs
from .dataflow import complete_options, waits
from .dry_run import tell
from .execution import WorkerDied, all_retries, execute
from .progress import Progress, Watch, clock
from .restarting import (
    Begun,
    ask_again,
    doubtful_tracks,
    fewer,
    forget_attempts,
    recall,
    remember,
    separate_doubtful,
    with_attempts,
)
from .runners import Placement, available_cores, place
from .separate import build_separate
from .stores import RetryCount, counted_retries, retries_told

RUN_FILE = 'run.json'
MODELS = f'{PRIVATE}/models'  # where workers on other machines read them
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
    store_retries: int | None  # requests to stores that were made again; None: the runner does not tell


def dry_run(options: argparse.Namespace, beam_options: dict[str, Any]) -> str:
    """What `separate` would do, for people. Raises UsageError."""
    check_asked(options)
    beam_options = {**complete_options(options, beam_options), 'dry_run': True}  # then Beam's checks ask no network
    return tell(options, place(options.runner, options.workers or available_cores(), beam_options), MODELS)


def separate(options: argparse.Namespace, beam_options: dict[str, Any]) -> Outcome | None:
    """Run `separate`; None if a job was started elsewhere whose end is not waited for.

    Raises:
      UsageError: before anything is done.
      RunError: the run could not go on; complete tracks are kept.
    """
    check_asked(options)
    beam_options = complete_options(options, beam_options)
    placement = place(options.runner, fewer(options.workers or available_cores()), beam_options)
    with counted_retries(placement.is_local) as retries:
        return _separate(options, placement, retries)


def _separate(options: argparse.Namespace, placement: Placement, retries: RetryCount) -> Outcome | None:
    begun = recall(Storage.at(options.output)) if placement.is_local else None
    listing = begun.listing if begun else read_inputs(options)  # before a model is fetched for nothing
    if not placement.is_local:
        check_reachable(listing.tracks, options)
    job = make_job(options, placement.streams)
    check_places(listing.tracks, job)
    if begun is None:  # later it may be away for a while, as in any other moment of the run
        job.storage.check_writable()
    if not placement.is_local:
        # Workers elsewhere read the model from where they write: never from this machine, nor from the internet.
        job = dataclasses.replace(job, model=stage_model(job.model, job.storage.url(MODELS)))
    try:
        return _run(with_attempts(job, options, placement), listing, placement, options, begun, retries)
    except WorkerDied as error:
        ask_again(error)
        raise


def _run(
    job: SeparateJob,
    listing: Listing,
    placement: Placement,
    options: argparse.Namespace,
    begun: Begun | None,
    retries: RetryCount,
) -> Outcome | None:
    storage = job.storage
    listed = {record_path(track.track_id) for track in listing.tracks}
    former, recorded = [], 0
    for path in list_records(storage):
        if path in listed:
            recorded += 1
        else:
            former.append(path)
    shards = -(-(len(listed) + len(former)) // TRACKS_PER_SHARD)
    types = listing_types(track.metadata for track in listing.tracks)
    if former:
        types = joined_types(_former_columns(storage), types)
    tables = Tables(job, shards, types)
    run = _describe(job, listing, options)
    run['listing_columns'] = types
    storage.forget_unfinished()
    is_first = begun is None
    if begun is None:
        began = time.time()
        begun = Begun(began, run['started'], write_listing(storage, listing.tracks, former), listing)
    run['started'], files = begun.started, begun.files
    storage.write_bytes(RUN_FILE, json.dumps(run, indent=1).encode())
    is_fresh = is_first and not recorded
    job = dataclasses.replace(job, since=begun.began, is_fresh=is_fresh)
    if placement.is_local:
        remember(begun, options)
        separate_doubtful(job, doubtful_tracks(listing.tracks, job.attempts))
    if placement.is_here and recorded < len(listed):  # most likely there is something to separate
        load_ahead(StemModelHandler(job))
    storage.remove(PLAN_FILE)
    watch = Watch(storage, len(listing.tracks), job.model.config.sample_rate)
    if not waits(options, placement):
        _forget_tables(tables)
        _execute(job, files, tables, placement, wait=False)
        return None
    if options.progress:
        with Progress(watch, storage.is_local):
            result = _execute(job, files, tables, placement)
    else:
        result = _execute(job, files, tables, placement)
    forget_listing(storage, files)
    if not placement.is_local:
        forget_attempts(job)
    _forget_tables(tables)
    _forget_parts(storage, listing)
    told = all_retries(retries, result, placement.is_local)
    outcome = _outcome(tables, listing, time.time() - begun.began, told)
    run.update(dataclasses.asdict(outcome), finished=now())
    storage.write_bytes(RUN_FILE, json.dumps(run, indent=1).encode())
    return outcome


def _former_columns(storage: Storage) -> dict[str, str]:
    """Columns of the listings of earlier runs, whose tracks stay in the manifest."""
    try:
        return json.loads(storage.read_bytes(RUN_FILE))['listing_columns']
    except (FileNotFoundError, ValueError):  # not JSON: it was not us
        return {}


def _forget_tables(tables: Tables) -> None:
    """Remove tables of earlier runs that had other shards."""
    storage = tables.job.storage
    for path in set(table_files(storage)) - tables.expected_files():
        storage.remove(path)


def _forget_parts(storage: Storage, listing: Listing) -> None:
    """Remove parts that a killed run has left and this one, cutting its tracks otherwise, had no use for."""
    tracks = {track_key(track.track_id) for track in listing.tracks}
    for folder in storage.list_names(PARTS):
        if folder.rpartition('/')[2] in tracks:
            storage.remove_folder(folder)


def _execute(
    job: SeparateJob,
    files: ListingFiles,
    tables: Tables,
    placement: Placement,
    wait: bool = True,
) -> PipelineResult:
    pipeline = placement.new_pipeline()
    build_separate(pipeline, files, job, tables, in_order=placement.is_local)
    return execute(pipeline, wait)


def _outcome(tables: Tables, listing: Listing, elapsed: float, store_retries: int | None) -> Outcome:
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
        store_retries=store_retries,
    )


def _told(row: dict[str, Any]) -> str:
    """The reason of a failure, which always says of which input."""
    uri = shown(row['uri'])
    return row['reason'] if uri in row['reason'] else f'{uri}: {row["reason"]}'


def _read_failures(tables: Tables) -> list[dict[str, Any]]:
    storage = tables.job.storage
    paths = sorted(path for path in tables.expected_files() if path.startswith('failures'))
    return [json.loads(line) for path in paths for line in storage.read_bytes(path).splitlines()]


def now() -> str:
    """The time, for run.json."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on, for run.json."""
    return {'python': platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _describe(job: SeparateJob, listing: Listing, options: argparse.Namespace) -> dict[str, Any]:
    """run.json: what was asked for, with what, and when."""
    return {
        'options': hide_secrets(vars(options)),
        'results': job.results(),
        'model': {'name': job.model.name, 'sha256': job.model.fingerprint, 'config': job.model.config.to_json()},
        'versions': versions(),
        'tracks': len(listing.tracks),
        'started': now(),
    }


def hide_secrets(value: Any) -> Any:
    """Options as run.json may hold them: what gives access is hidden in every text of them."""
    if isinstance(value, dict):
        return {name: hide_secrets(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide_secrets(item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value


def summary(outcome: Outcome, options: argparse.Namespace) -> str:
    """A few lines for people, at the end of a run."""
    speed = f'{outcome.audio / outcome.elapsed:.1f}x real time' if outcome.audio else 'nothing to separate'
    out = without_secrets(options.output.rstrip('/'))
    lines = [
        f'done {outcome.done}, skipped {outcome.skipped} (complete already), failed {outcome.failed}: '
        f'{clock(outcome.audio)} of audio in {clock(outcome.elapsed)}, {speed}',
        *([] if options.features_only else [f'stems      {out}/{LAYOUTS[options.layout].folder}'.rstrip('/')]),
        *([f'features   {out}/features'] if options.features else []),
        f'manifest   {out}/manifest-*.parquet',
    ]
    if outcome.ignored:
        kinds = ', '.join(f'{count} {kind}' for kind, count in outcome.ignored.items())
        lines.append(f'not audio  {sum(outcome.ignored.values())} other files left alone ({kinds})')
    lines += retries_told(outcome.store_retries)
    if outcome.failed:
        lines.append(f'failures   {out}/failures-*.jsonl')
        lines += [f'  {reason}' for reason in outcome.reasons]
        if outcome.failed > len(outcome.reasons):
            lines.append(f'  ... and {outcome.failed - len(outcome.reasons)} more')
    return '\n'.join(lines)
