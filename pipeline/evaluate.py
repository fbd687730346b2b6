"""A run of `evaluate` from its options to its table: what is scored already is left alone, the rest is scored track by
track in a Beam pipeline, and the medians are put beside the paper's numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult

from ..model.errors import RunError, UsageError
from ..model.evaluation.scores import load_museval
from ..model.evaluation.tables import Table
from ..model.hiding import without_secrets
from ..model.method import Method
from ..model.store import DEFAULT_MODEL, stage_model
from ..transforms.addresses import shown, to_uri
from ..transforms.completion import record_path
from ..transforms.datasets import DatasetTrack
from ..transforms.feature_tables import printable
from ..transforms.records import Failure
from ..transforms.scoring import EvaluateJob, ScoreTracks, id_of
from ..transforms.storage import PRIVATE, Storage
from .checks import find_model
from .clock import clock
from .evaluate_report import FIGURE, SCORES, TABLE_MARKDOWN, TABLE_TEXT, write_json, write_report
from .evaluate_tracks import Plan, find_estimates, list_tracks, make_plan
from .execution import all_retries, execute
from .launch import MODELS, RUN_FILE, hide_secrets, now, versions
from .options import method_of
from .progress import Progress
from .runners import Placement, available_cores, place
from .stores import RetryCount, counted_retries, guard_web_for, put_in_force, retries_told

FAILURES = 'failures.jsonl'
REASONS_SHOWN = 5
ESTIMATES_RATE = 44100  # Hz, unless --sample-rate says otherwise
_RUN_FAILURES = f'{PRIVATE}/evaluate-failures.jsonl'  # of the pipeline, until they join those of the plan


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished evaluation came to."""

    table: Table | None  # None: no track has scores
    done: int
    skipped: int
    failures: tuple[Failure, ...]
    elapsed: float  # seconds
    store_retries: int | None  # requests to stores that were made again; None: the runner does not tell


def evaluate(options: argparse.Namespace, beam_options: dict[str, Any]) -> Outcome:
    """Run `evaluate`.

    Raises:
      UsageError: before anything is done.
      RunError: the run could not go on; scored tracks are kept.
    """
    put_in_force(options)
    guard_web_for([*options.inputs, options.data, options.estimates, options.output], options.allow_local_inputs)
    placement = place(options.runner, options.workers or available_cores(), beam_options)
    with counted_retries(placement.is_local) as retries:
        return _evaluate(options, placement, retries)


def _evaluate(options: argparse.Namespace, placement: Placement, retries: RetryCount) -> Outcome:
    began = time.time()
    job = make_job(options, placement.streams)
    tracks = list_tracks(options)
    estimates = None if options.estimates is None else find_estimates(options.estimates, tracks)
    job.storage.check_writable()
    if job.model is not None and not placement.is_local:
        # As in `separate`: workers elsewhere read the model from where they write.
        job = dataclasses.replace(job, model=stage_model(job.model, job.storage.url(MODELS)))
    job.storage.forget_unfinished()
    run = _describe(job, options, tracks)
    write_json(job.storage, RUN_FILE, run)
    plan = make_plan(tracks, estimates, job, options.overwrite)
    result = _score(plan, job, placement, options)
    failures = sorted([*plan.failures, *_read_failures(plan, job)], key=lambda f: f.track_id)
    rows = [{key: printable(value) for key, value in failure._asdict().items()} for failure in failures]
    job.storage.write_bytes(FAILURES, ''.join(json.dumps(row) + '\n' for row in rows).encode())
    failed = {failure.track_id for failure in failures}
    scored = [track_id for track in tracks if (track_id := id_of(track)) not in failed]
    table = write_report(scored, job, options)
    outcome = Outcome(
        table=table,
        done=len(scored) - len(plan.complete),
        skipped=len(plan.complete),
        failures=tuple(failures),
        elapsed=time.time() - began,
        store_retries=all_retries(retries, result, placement.is_local),
    )
    counts = {
        'done': outcome.done,
        'skipped': outcome.skipped,
        'failed': len(failures),
        'elapsed': outcome.elapsed,
        'store_retries': outcome.store_retries,
    }
    write_json(job.storage, RUN_FILE, {**run, **counts, 'finished': now()})
    return outcome


def make_job(options: argparse.Namespace, streams: int) -> EvaluateJob:
    """The job that options describe.

    Raises:
      UsageError: what is wrong with them; nothing has been written then.
    """
    if not options.output:
        raise UsageError('no output folder: name one with -o')
    if len(options.inputs) != 1:
        raise UsageError(f'{len(options.inputs)} data sets are given: name one (stembeam evaluate DATASET -o OUT)')
    storage = Storage.at(options.output)
    for address in (*options.inputs, *([options.estimates] if options.estimates else [])):
        if storage.root == to_uri(address).rstrip('/'):
            raise UsageError(f'{storage.root} is both input and output folder: choose another with -o')
    _check_packages()
    if options.scorer == 'museval':
        load_museval()
    if options.estimates is not None:
        if options.model is not None or method_of(options) != Method():
            raise UsageError('--estimates are scored as they are: leave --model and the options of its method out')
        job = EvaluateJob(storage, None, Method(), sample_rate=options.sample_rate or ESTIMATES_RATE)
    else:
        if options.sample_rate is not None:
            raise UsageError('--sample-rate is for --estimates: a model is scored at its own rate, leave it out')
        model, method = find_model(options.model or DEFAULT_MODEL, options)
        model.check()
        job = EvaluateJob(storage, model, method, model.config.sample_rate, model.config.channels)
    return dataclasses.replace(
        job,
        window=options.window,
        hop=options.window if options.hop is None else options.hop,
        scorer=options.scorer,
        batch_size=options.batch_size,
        streams=streams,
    )


def _check_packages() -> None:
    """UsageError unless what only evaluations need is installed."""
    for package in ('matplotlib', 'threadpoolctl'):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"{package} is not installed: run pip install 'stembeam[evaluate]'")


def _score(plan: Plan, job: EvaluateJob, placement: Placement, options: argparse.Namespace) -> PipelineResult | None:
    """Run the pipeline, if there is anything to do."""
    if not plan.todo:
        return None
    job.storage.remove(_RUN_FAILURES)
    pipeline = placement.new_pipeline()
    scored = pipeline | 'Tracks' >> beam.Create(plan.todo) | 'ScoreTracks' >> ScoreTracks(job)
    one = pipeline | 'One' >> beam.Create([(0, None)])
    rows = scored.failures | 'KeyFailures' >> beam.Map(lambda failure: (0, failure))
    _ = (
        {'failures': rows, 'one': one}
        | 'GatherFailures' >> beam.CoGroupByKey()
        | 'WriteFailures' >> beam.Map(_write_failures, job.storage)
    )
    if options.progress:
        with Progress(_Watch(job.storage, plan), job.storage.is_local):
            return execute(pipeline)
    return execute(pipeline)


def _read_failures(plan: Plan, job: EvaluateJob) -> list[Failure]:
    """What the pipeline could not score. Raises RunError if it lost a track."""
    if not plan.todo:
        return []
    lines = job.storage.read_bytes(_RUN_FAILURES).splitlines()
    job.storage.remove(_RUN_FAILURES)
    failures = [Failure(**json.loads(line)) for line in lines]
    lost = [item for item in _unscored(plan, job.storage) if item not in {failure.track_id for failure in failures}]
    if lost:
        raise RunError(f'the runner lost {len(lost)} tracks ({shown(lost[0])}, ...): run the same command again')
    return failures


def _write_failures(keyed: tuple[int, Mapping[str, Any]], storage: Storage) -> None:
    rows = ''.join(json.dumps(failure._asdict()) + '\n' for failure in keyed[1]['failures'])
    storage.write_bytes(_RUN_FAILURES, rows.encode())


def _unscored(plan: Plan, storage: Storage) -> list[str]:
    return [item.track_id for item in plan.todo if storage.size(record_path(item.track_id)) is None]


class _Standing(NamedTuple):
    """A moment of a run."""

    done: int
    listed: int
    elapsed: float

    def line(self) -> str:
        return f'{self.done}/{self.listed} tracks scored, {clock(self.elapsed)}'

    def bar(self, width: int = 24) -> str:
        filled = round(width * self.done / self.listed)
        return '[' + '#' * filled + '.' * (width - filled) + ']'


class _Watch:
    """How far the run is, by the records of its tracks."""

    def __init__(self, storage: Storage, plan: Plan) -> None:
        self._storage = storage
        self._plan = plan
        self._began = time.time()

    def look(self) -> _Standing:
        listed = len(self._plan.todo)
        return _Standing(listed - len(_unscored(self._plan, self._storage)), listed, time.time() - self._began)


def _describe(job: EvaluateJob, options: argparse.Namespace, tracks: Sequence[DatasetTrack]) -> dict[str, Any]:
    model = job.model
    return {
        'options': hide_secrets(vars(options)),
        'results': job.results(),
        'model': model and {'name': model.name, 'sha256': model.fingerprint, 'config': model.config.to_json()},
        'versions': versions(),
        'tracks': len(tracks),
        'started': now(),
    }


def summary(outcome: Outcome, options: argparse.Namespace) -> str:
    """The table and a few lines for people, at the end of a run."""
    out = without_secrets(options.output.rstrip('/'))
    lines = [outcome.table.text()] if outcome.table else []
    lines.append(
        f'done {outcome.done}, skipped {outcome.skipped} (scored already), failed {len(outcome.failures)}: '
        f'{clock(outcome.elapsed)}'
    )
    if outcome.table:
        lines += [
            f'table      {out}/{TABLE_TEXT}, {out}/{TABLE_MARKDOWN}, {out}/{SCORES}',
            f'picture    {out}/{FIGURE}',
            f"tracks     {out}/tracks (museval's JSON; mixture as estimate: {out}/mixture), {out}/frames/**/*.parquet",
        ]
    lines += retries_told(outcome.store_retries)
    if outcome.failures:
        lines.append(f'failures   {out}/{FAILURES}')
        lines += [f'  {failure.reason}' for failure in outcome.failures[:REASONS_SHOWN]]
        if len(outcome.failures) > REASONS_SHOWN:
            lines.append(f'  ... and {len(outcome.failures) - REASONS_SHOWN} more')
    return '\n'.join(lines)
