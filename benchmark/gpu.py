"""`python -m benchmark.gpu`: what a GPU reaches of its limits, and what a run with it reaches with the host's cores.

Measured are products of matrices, the U-Nets by themselves, the device path with and without the spectral rows of
features, with one and with more threads that feed it, and whole commands on a corpus.  Told next to them are the limits
of roofline.py.  With KERAS_BACKEND=jax all but the commands' own choice of libraries is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import machine
from .material import make_material
from .process import process_subjects, separations
from .roofline import CHIPS, Chip, table
from .rows import QUANTITIES, Row
from .turns import MeasuringError, Subject, Worker, take_turns

PRECISIONS = {False: 'float32', True: 'TF32 where there is any'}
PRODUCT, NETWORKS = 'matrix product', 'U-Nets'


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options; exits with status 2 where they are wrong."""
    parser = argparse.ArgumentParser(prog='python -m benchmark.gpu', description=(__doc__ or '').split('\n')[0])
    add = parser.add_argument
    add('--quick', action='store_true', help='small matrices, short tracks, one round: no figures to keep')
    add('--device-only', action='store_true', help='leave out the whole commands')
    add('--model', type=Path, help='folder of a model (default: four full-size stems with random weights)')
    add('--cores', type=int, default=len(os.sched_getaffinity(0)), help='workers of the commands (default: all cores)')
    add('--batch', type=int, default=8, help='chunks in a call (default: 8)')
    add('--tracks', type=int, default=20, help='of 3 minutes, for the commands (default: 20; if quick 2 of 10 seconds)')
    add('--rounds', type=int, default=5, help='of everything (default: 5; 1 if quick)')
    add('-o', '--output', type=Path, default=Path('out/gpu'), help='(default: out/gpu)')
    add('--build', type=Path, default=Path('.build/bench'), help='what is kept (default: .build/bench)')
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.tracks = 1, 2
    return options


def device_subjects(worker: Worker, rounds: int, seconds: float) -> list[Subject]:
    """What is measured on the device; `seconds` for every turn."""

    def subject(name: str, part: str, tf32: bool, streams: int = 1) -> Subject:
        task = {'part': part, 'tf32': tf32, 'streams': streams, 'seconds': seconds}
        return Subject('gpu', name, partial(worker.measure, task), rounds)

    subjects = []
    for tf32, precision in PRECISIONS.items():
        subjects.append(subject(f'{PRODUCT}, {precision}', 'product', tf32))
        subjects.append(subject(f'{NETWORKS}, {precision}', 'networks', tf32))
    for part in ('path', 'path and features'):
        for streams in (1, 2, 3):
            name = f'device {part}, {streams} thread' + 's' * (streams > 1)
            subjects.append(subject(name, part, False, streams))  # as runs do it
    return subjects


def measure(options: argparse.Namespace, tell: Any) -> tuple[list[Row], dict[str, Any]]:
    """Rows, and what is told of the device and of what failed."""
    build = options.build.resolve()
    logs, scratch = build / 'logs', build / 'scratch-gpu'
    track_seconds = 10.0 if options.quick else 180.0
    material = None
    if options.model is None or not options.device_only:
        material = make_material(build, options.tracks, track_seconds)
    model = options.model or material.model('4stems')  # type: ignore[union-attr]
    config = {'model': str(model), 'batch': options.batch, 'size': 256 if options.quick else 8192}
    with Worker('device', config, logs / 'device.log') as worker:
        about = worker.measure({})
        rows, failures = take_turns(device_subjects(worker, options.rounds, 0.1 if options.quick else 2.0), tell)
    if not options.device_only and material is not None:
        ways = [way for way in separations(options.cores, options.rounds) if 'worker' not in way.name]
        try:
            subjects = process_subjects(material, ways, options.tracks * track_seconds, scratch, logs)
            more, others = take_turns(subjects, tell)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        rows, failures = rows + more, {**failures, **others}
    return rows, {**about, 'failures': failures}


def chip_of(description: str) -> Chip | None:
    """The chip of roofline.py that a description names."""
    return next((chip for chip in CHIPS if chip.name in description.upper()), None)


def markdown(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Everything measured, with the share of the measured ceiling and of the data sheet's."""
    chip = chip_of(about['gpu'])
    products = {row.name.partition(', ')[2]: row.median for row in rows if row.name.startswith(PRODUCT)}
    lines = [
        f'Measured {about["date"]} on {about["gpu"] or "a machine without a GPU"} ({about["device"]}), '
        f'{about["cores"]} cores, by `{about["command"]}`.',
        '',
        '| what | median | low to high | unit | of the matrix product | of the data sheet |',
        '| --- | --- | --- | --- | --- | --- |',
    ]
    for row in rows:
        of_product = of_sheet = ''
        if row.quantity == 'rate':
            kind = row.name.partition(', ')[2]
            of_product = f'{row.median / products[kind]:.0%}'
            limit = chip and (chip.float32 if kind == PRECISIONS[False] else chip.tf32 or chip.float32)
            of_sheet = f'{row.median / (1e3 * limit):.0%}' if limit else ''
        low, high = row.spread
        unit = QUANTITIES[row.quantity].unit
        lines.append(
            f'| {row.name} | {row.median:.4g} | {low:.4g} to {high:.4g} | {unit} | {of_product} | {of_sheet} |'
        )
    lines += ['', f'Largest difference of stems by TF32: {about["difference"]:.1e} of full scale.']
    lines += [f'\n**Not measured: {name}: {why}**' for name, why in about['failures'].items()]
    lines += ['', 'Limits, of four full-size stems, counted and not measured:', '', *table()]
    return '\n'.join(lines) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write gpu.json and gpu.md. Exit status 1 if something could not be measured."""
    from datetime import datetime, timezone

    options = parse(arguments)
    try:
        rows, about = measure(options, lambda line: print(line, file=sys.stderr, flush=True))
    except MeasuringError as error:
        print(f'benchmark.gpu: {error}', file=sys.stderr)
        return 1
    words = sys.argv[1:] if arguments is None else list(arguments)
    about.update(
        date=datetime.now(timezone.utc).isoformat(timespec='minutes'),
        commit=machine.commit(),
        command=' '.join(['python -m benchmark.gpu', *words]),
        gpu=machine_gpu(),
        cores=options.cores,
    )
    options.output.mkdir(parents=True, exist_ok=True)
    text = markdown(rows, about)
    document = {'about': about, 'rows': [row.to_json() for row in rows]}
    (options.output / 'gpu.json').write_text(json.dumps(document, indent=1), encoding='utf-8')
    (options.output / 'gpu.md').write_text(text, encoding='utf-8')
    print(text)
    return 1 if about['failures'] else 0


def machine_gpu() -> str:
    """What the driver calls the first GPU; '' without one."""
    import subprocess

    try:
        asked = ['nvidia-smi', '--query-gpu=name', '--format=csv,noheader']
        found = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ''
    return found.strip().split('\n')[0]


if __name__ == '__main__':
    sys.exit(main())
