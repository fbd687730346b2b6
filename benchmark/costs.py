"""From the benchmark's report to the stage costs that `stembeam estimate` counts with.

    python -m benchmark.costs [benchmark/report.json]

writes configs/costs/measured.json anew. What the report does not hold stays as it was: bytes of stems and tables, which
were measured on real music and do not depend on the machine, and the time that a process takes to start.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .rows import Row, ceilings, find
from .stages import FEATURES, FEATURES_AFTER_GPU

ROOT = Path(__file__).resolve().parents[1]
COSTS = ROOT / 'configs/costs/measured.json'
REPORT = ROOT / 'benchmark/report.json'
NETWORKS = 'U-Nets'
WHOLE = 'signal path as a whole'
FLOP_PER_SECOND = 4.104e9  # of the four full-size networks that the benchmark runs
ENCODED = {'flac': 'encode FLAC, one stem', 'wav': 'encode WAV, one stem'}


def costs_of(report: Mapping[str, Any], former: Mapping[str, Any]) -> dict[str, Any]:
    """The stage costs of a report, CPU ms per second of audio, with the rest of `former`.

    Raises:
      ValueError: a stage that the report does not have.
    """
    rows = [Row.from_json(row) for row in report['rows']]
    one_core = ceilings(rows)['one core']
    networks = _cpu(rows, NETWORKS)
    cores = len(report['machine']['cores_used'])
    machine = f'{report["machine"]["cpu"]}, {cores} of {report["machine"]["cores"]} cores'
    return {
        **former,
        'date': str(report['date'])[:10],
        'machine': machine,
        'command': report['command'],
        'core_gflops': round(one_core, 1),
        'network_share': round(FLOP_PER_SECOND / (networks / 1000) / (one_core * 1e9), 3),
        'worker_efficiency': round(min(1.0, _scaling(rows, cores)), 3),
        'decode_ms': round(_cpu(rows, 'decode FLAC'), 2),
        'transforms_ms': round(_cpu(rows, WHOLE) - networks, 2),
        'features_ms': round(_cpu(rows, FEATURES), 2),
        'features_gpu_ms': round(_cpu(rows, FEATURES_AFTER_GPU), 2),
        'encode_ms': {form: round(_cpu(rows, name), 2) for form, name in ENCODED.items()},
    }


def _cpu(rows: Sequence[Row], name: str) -> float:
    row = find(rows, 'stages', name, 'cpu')
    if row is None:
        raise ValueError(f'the report has no stage {name!r}: make it with all parts')
    return row.median


def _scaling(rows: Sequence[Row], cores: int) -> float:
    """Speed with all cores over as many times the speed with one."""
    one = find(rows, 'process', 'stembeam separate, FLAC, 1 worker', 'speed')
    all_of_them = find(rows, 'process', 'stembeam separate, FLAC', 'speed')
    if one is None or all_of_them is None:
        raise ValueError('the report has no commands with one and with all workers: make it with all parts')
    return all_of_them.median / one.median / cores


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 0, or 2 where the report cannot be used."""
    words = sys.argv[1:] if arguments is None else arguments
    path = Path(words[0]) if words else REPORT
    try:
        costs = costs_of(json.loads(path.read_text()), json.loads(COSTS.read_text()))
    except (OSError, ValueError, KeyError) as error:
        print(f'{path}: not a report that costs can be taken from ({error})', file=sys.stderr)
        return 2
    COSTS.write_text(json.dumps(costs, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
