"""The report: JSON for programs, Markdown for people, both of the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .comparison import Comparison
from .peers.measuring import COMMAND_ALL, COMMAND_EACH, NOTES
from .rows import Row, ceilings, find
from .stages import TIMES

FORMAT = 1  # of the JSON
MAIN = 'stembeam separate, FLAC'  # what peers are set against
TWO_STEMS = 'stembeam separate, FLAC, two stems'
WARM_UP = (
    'ceiling, network and stages: every function once before it counts, files in the page cache; commands: none, '
    'every run is a process from start to exit; peers that are kept open: one short track'
)


def to_json(rows: Sequence[Row], about: Mapping[str, Any], comparison: Comparison) -> str:
    """The whole report; `about` is what was measured on what, when and how."""
    document = {
        'format': FORMAT,
        **about,
        'ceilings': ceilings(rows),
        'warm_up': WARM_UP,
        'rows': [row.to_json() for row in rows],
        'compared_with': comparison.against,
        'regressions': [change.told() for change in comparison.regressions],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + '\n'


def to_markdown(rows: Sequence[Row], about: Mapping[str, Any], comparison: Comparison) -> str:
    """Tables, medians with spread."""
    parts = [
        _head(about, comparison),
        _ceiling_table(rows),
        _network_table(rows),
        _stage_table(rows, about['settings']['cores']),
        _process_table(rows, about),
        _peer_table(rows, about),
        _long_table(rows),
    ]
    return '\n\n'.join(part for part in parts if part) + '\n'


def _head(about: Mapping[str, Any], comparison: Comparison) -> str:
    machine, settings = about['machine'], about['settings']
    lines = [
        '# Benchmark',
        '',
        *(['**A quick run, to see that the benchmark works: no figures to keep.**', ''] if settings['quick'] else []),
        f'`{about["command"]}`, {about["date"]}, commit {about["commit"]}, {about["took_minutes"]:.0f} minutes.',
        '',
        f'{machine["cpu"]} ({", ".join(machine["vectors"])}), {len(machine["cores_used"])} of {machine["cores"]} cores '
        f'used, {machine["memory_gb"]:.0f} GB; load {machine["load_before"]:.1f} before the run. '
        + ', '.join(f'{name} {version}' for name, version in about['versions'].items())
        + '.',
        '',
        f'Model 4stems in full size with random weights; {settings["tracks"]} stereo tracks of '
        f'{settings["track_seconds"]:g} s at 44.1 kHz, FLAC. All is measured in this one run, in turns; medians, with '
        f'quartiles behind them (of fewer than four samples: lowest and highest). Warm-up: {WARM_UP}.',
        '',
        *(f'**Not measured: {name}: {why}**\n' for name, why in about.get('failures', {}).items()),
    ]
    if comparison.regressions:
        lines.append(f'**Worse by more than 15% than {comparison.against}:**')
        lines += [f'- {change.told()}' for change in comparison.regressions]
    elif comparison.changes:
        lines.append(
            f'Compared with {comparison.against}: nothing is worse by more than 15% (speeds and times set against the '
            f'matrix ceiling of their own run, {len(comparison.changes)} rows).'
        )
    else:
        lines.append(f'Not compared with an earlier report: {comparison.against}.')
    return '\n'.join(lines)


def _table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A section with a table; '' without lines."""
    if not lines:
        return ''
    rows = [header, ['---', *['---:'] * (len(header) - 1)], *lines]
    return f'## {title}\n\n' + '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f'{value:.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def told(row: Row | None) -> str:
    """A median with its spread."""
    if row is None:
        return ''
    low, high = row.spread
    return number(row.median) + (f' ({number(low)} to {number(high)})' if len(row.samples) > 1 else '')


def _names(rows: Sequence[Row], part: str) -> list[str]:
    return list(dict.fromkeys(row.name for row in rows if row.part == part))


def _ceiling_table(rows: Sequence[Row]) -> str:
    lines = [[name, told(find(rows, 'ceiling', name, 'rate'))] for name in _names(rows, 'ceiling')]
    best = ceilings(rows)
    lines += [[f'**the ceiling of {cores}**', f'**{number(rate)}**'] for cores, rate in best.items()]
    return _table('Float32 matrix ceiling', ['', 'GFLOP/s'], lines)


def _network_table(rows: Sequence[Row]) -> str:
    best = ceilings(rows)
    lines = []
    for name in _names(rows, 'network'):
        rate = find(rows, 'network', name, 'rate')
        ceiling = best.get('one core' if name.endswith(' 1 stream') else 'all cores') or best.get('one core')
        share = f'{rate.median / ceiling:.0%}' if rate and ceiling else ''
        cells = [told(find(rows, 'network', name, quantity)) for quantity in ('speed', 'rate', 'cpu')]
        lines.append([name, *cells, share])
    header = ['', 'x real time', 'GFLOP/s', 'CPU ms per s of audio', 'of the ceiling']
    return _table('The networks alone', header, lines)


def _stage_table(rows: Sequence[Row], cores: int) -> str:
    lines = []
    for name in _names(rows, 'stages'):
        lines.append([name, *(told(find(rows, 'stages', name, quantity)) for quantity in ('cpu', 'wall'))])
    parts = [(times, find(rows, 'stages', name, 'wall')) for name, times in TIMES.items()]
    if all(row is not None for _, row in parts):
        wall = sum(times * row.median for times, row in parts if row)
        one = [find(rows, 'stages', name, 'cpu') for name in TIMES]
        cpu = sum(times * row.median for times, row in zip(TIMES.values(), one, strict=True) if row)
        what = ', '.join(f'{times} x {name}' if times > 1 else name for name, times in TIMES.items())
        lines.append([f'**sum: {what}**', f'**{number(cpu)}**', f'**{number(wall)}**'])
    title = f'Stages, in {cores} threads at a time'
    return _table(title, ['', 'CPU ms per s of audio', 'wall ms per s of audio'], lines)


def _process_table(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    lines = []
    main = find(rows, 'process', MAIN, 'speed')
    for name in _names(rows, 'process'):
        speed = find(rows, 'process', name, 'speed')
        if speed is None:
            continue
        cells = [told(find(rows, 'process', name, quantity)) for quantity in ('speed', 'cpu', 'memory')]
        lines.append([name, *cells, f'{speed.median / main.median:.2f}' if main else ''])
    header = ['', 'x real time', 'CPU ms per s of audio', 'peak memory, GB', 'to the first']
    table = _table('The command, from start to exit', header, lines)
    start = find(rows, 'process', 'stembeam --help', 'seconds')
    return f'{table}\n\n`stembeam --help`: {told(start)} s.' if table and start else table


def _peer_table(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    main = {'': find(rows, 'process', MAIN, 'speed'), 'two stems': find(rows, 'process', TWO_STEMS, 'speed')}
    failures = about.get('peer_failures', {})
    lines = []
    for name, note in NOTES.items():
        speed = find(rows, 'peers', name, 'speed')
        ours = main['two stems' if name.endswith('two stems') else '']
        if speed is not None:
            times = f'{ours.median / speed.median:.1f}' if ours else ''
            lines.append([name, told(speed), told(find(rows, 'peers', name, 'memory')), times, note])
        elif name in failures:
            lines.append([name, 'not measured', '', '', failures[name].replace('|', '/')])
    table = _table(
        'What one would use instead', ['', 'x real time', 'peak memory, GB', 'stembeam is faster by', 'note'], lines
    )
    if not table:
        return ''
    versions = about.get('peer_versions', {})
    told_versions = '; '.join(', '.join(f'{n} {v}' for n, v in found.items()) for found in versions.values())
    return (
        f'{table}\n\nFLAC in and out, the same tracks (all for "{COMMAND_ALL}", the first ones for the others, '
        f'"{COMMAND_EACH}" included), same cores, same run. stembeam is always the whole command, from start to exit, '
        f'without features: peers that are kept open are spared what stembeam pays. {told_versions}.'
    )


def _long_table(rows: Sequence[Row]) -> str:
    lines = [
        [name, *(told(find(rows, 'long', name, quantity)) for quantity in ('speed', 'memory'))]
        for name in _names(rows, 'long')
    ]
    return _table('Long tracks', ['', 'x real time', 'peak memory, GB'], lines)
