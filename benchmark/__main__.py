"""`python -m benchmark`: measure, write the report, compare. Exit status 1 if something could not be measured."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import chart, machine, report
from .ceiling import ceiling_subjects
from .comparison import Comparison, compare
from .material import Material, make_material
from .network import network_subjects
from .options import Settings, parse
from .peers.environments import install, own_environment
from .peers.measuring import NOTES, Setting, peers
from .process import OURS, long_subjects, process_subjects, separations
from .rows import Row
from .stages import stage_subjects
from .turns import MeasuringError, Worker, take_turns

COMMITTED = 'benchmark/report.json'
RED, PLAIN = '\x1b[31m', '\x1b[0m'


def main() -> int:
    """Run the benchmark."""
    settings = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f'{time.monotonic() - began:6.0f} s  {line}', file=sys.stderr, flush=True)

    try:
        cores = machine.choose_cores(settings.cores)
        about: dict[str, Any] = {
            'command': shlex.join(['python', '-m', 'benchmark', *sys.argv[1:]]),
            'date': datetime.now(timezone.utc).isoformat(timespec='minutes'),
            'commit': machine.commit(),
            'settings': {**settings.comparable(), 'quick': settings.quick, 'parts': list(settings.parts)},
            'machine': machine.describe_machine(cores),
            'versions': machine.versions(),
        }
        os.sched_setaffinity(0, cores)  # of this process, and so of all that it starts
        tell(f'generating songs and models in {settings.build}, as far as they are not there')
        material = make_material(settings.build, settings.tracks, settings.track_seconds, settings.long)
        rows, about['failures'] = _warm_parts(settings, material, tell)
        more, failures = _cold_parts(settings, material, tell, about)
        rows += more
        about['failures'].update(failures)
    except MeasuringError as error:
        print(f'benchmark: {error}', file=sys.stderr)
        return 1
    about['took_minutes'] = (time.monotonic() - began) / 60
    comparison = compare(rows, settings.comparable(), about['machine']['cpu'], _earlier(settings))
    write(settings.output, rows, about, comparison)
    tell(f'written: {settings.output}/report.json, report.md, report.png')
    _tell_regressions(comparison, sys.stdout.isatty() if settings.color is None else settings.color)
    return 1 if about['failures'] else 0


def _warm_parts(settings: Settings, material: Material, tell: Any) -> tuple[list[Row], dict[str, str]]:
    """Ceiling, networks and stages, which take turns in processes that are kept open; rows, and what failed."""
    logs = settings.build / 'logs'
    workers: list[Worker] = []
    try:
        tell('starting and warming up: matrix ceiling, networks, stages')
        subjects = ceiling_subjects(settings.cores, settings.rounds, logs, workers)
        if 'network' in settings.parts:
            model = material.model('4stems')
            subjects += network_subjects(model, settings.cores, settings.rounds, settings.turn_chunks, logs, workers)
        if 'stages' in settings.parts:
            seconds = settings.turn_seconds
            subjects += stage_subjects(material, settings.cores, settings.rounds, seconds, logs, workers)
        return take_turns(subjects, tell)
    finally:
        for worker in workers:
            worker.close()


def _cold_parts(
    settings: Settings, material: Material, tell: Any, about: dict[str, Any]
) -> tuple[list[Row], dict[str, str]]:
    """Whole commands and peers, which take turns one after the other; what is told of peers goes into `about`.

    Returns:
      Rows, and what failed, peers left out: they are in `about`.
    """
    logs, scratch = settings.build / 'logs', settings.build / 'scratch'
    seconds = settings.tracks * settings.track_seconds
    with_peers = 'peers' in settings.parts
    program, subjects = OURS, []
    if with_peers:  # beside others that have environments of their own
        own = install(own_environment(), settings.build / 'peers', tell)
        program = str(Path(own.python).with_name('stembeam'))
    if 'process' in settings.parts or with_peers:
        ways = separations(settings.cores, settings.process_rounds, two_stems=with_peers)
        if 'process' not in settings.parts:  # what peers are set against
            ways = [way for way in ways if way.name in (report.MAIN, report.TWO_STEMS)]
        subjects += process_subjects(material, ways, seconds, scratch, logs, program)
    if with_peers:
        setting = Setting(
            material, settings.track_seconds, settings.cores, settings.build / 'peers', scratch / 'peers', logs
        )
        found = peers(setting, tell)
        subjects += found.subjects
        about.update(peer_versions={'stembeam': own.versions, **found.versions}, peer_failures=found.failures)
    if settings.long:
        subjects += long_subjects(material, settings.cores, scratch, logs, program)
    try:
        rows, failures = take_turns(subjects, tell)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if with_peers:
        about['peer_failures'].update({name: failures.pop(name) for name in NOTES if name in failures})
    return rows, failures


def _earlier(settings: Settings) -> str | None:
    if settings.baseline is not None:
        try:
            return settings.baseline.read_text(encoding='utf-8')
        except OSError as error:
            return f'--baseline: {error}'  # no JSON: the comparison says that it cannot be read
    return machine.committed_file(COMMITTED)


def write(folder: Path, rows: Sequence[Row], about: dict[str, Any], comparison: Comparison) -> None:
    """Write the three files of a report."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'report.json').write_text(report.to_json(rows, about, comparison), encoding='utf-8')
    (folder / 'report.md').write_text(report.to_markdown(rows, about, comparison), encoding='utf-8')
    chart.draw(rows, folder / 'report.png')


def _tell_regressions(comparison: Comparison, color: bool) -> None:
    red, plain = (RED, PLAIN) if color else ('', '')
    for change in comparison.regressions:
        print(f'{red}REGRESSION {change.told()}{plain}')
    if comparison.regressions:
        print(f'compared with {comparison.against}')
    else:
        count = len(comparison.changes)
        print(f'no regression in {count} rows, compared with {comparison.against}' if count else comparison.against)


if __name__ == '__main__':
    sys.exit(main())
