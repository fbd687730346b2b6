"""The parts of the benchmark that measure nothing: rows, turns, comparison, report, options; and small commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import chart, machine, report
from benchmark.__main__ import RED, _tell_regressions
from benchmark.comparison import Comparison, compare
from benchmark.options import parse
from benchmark.peers import serving
from benchmark.peers.environments import Environment, install
from benchmark.peers.measuring import COMMAND_ALL
from benchmark.process import process_tree, run_command, separations
from benchmark.rows import Row, ceilings
from benchmark.stages import TIMES, difference
from benchmark.turns import MeasuringError, Subject, take_turns

SETTINGS = {'cores': 2, 'tracks': 10, 'track_seconds': 180.0}
CPU = 'some CPU'
ABOUT: dict[str, Any] = {
    'command': 'python -m benchmark',
    'date': '2026-11-22T12:00+00:00',
    'commit': 'abc',
    'took_minutes': 9.0,
    'settings': {**SETTINGS, 'quick': False},
    'machine': {
        'cpu': CPU,
        'vectors': ['avx2'],
        'cores_used': [0, 1],
        'cores': 4,
        'memory_gb': 16.0,
        'load_before': 0.1,
    },
    'versions': {'python': '3.11'},
    'failures': {},
}


def rows_of(ceiling: float = 200.0, speed: float = 20.0, memory: float = 2.0) -> list[Row]:
    return [
        Row('ceiling', 'NumPy, 1 call, one core', 'rate', (ceiling / 2,)),
        Row('ceiling', 'NumPy, 2 calls, all cores', 'rate', (ceiling * 0.9,)),
        Row('ceiling', 'TensorFlow, 2 calls, all cores', 'rate', (ceiling * 0.9, ceiling, ceiling * 1.1)),
        Row('network', 'four U-Nets, TensorFlow, 2 streams', 'rate', (0.5 * ceiling,)),
        *(Row('stages', name, quantity, (2.0,)) for name in TIMES for quantity in ('cpu', 'wall')),
        Row('process', report.MAIN, 'speed', (speed,)),
        Row('process', report.MAIN, 'memory', (memory,)),
        Row('peers', COMMAND_ALL, 'speed', (5.0,)),
    ]


def earlier(rows: list[Row], **changes: Any) -> str:
    about = {**ABOUT, **changes}
    return report.to_json(rows, about, Comparison('nothing', []))


def test_median_and_spread():
    row = Row('stages', 'STFT', 'cpu', (1.0, 2.0, 3.0, 4.0, 100.0))
    assert row.median == 3.0
    assert row.spread == (2.0, 4.0)  # quartiles: the outlier does not matter
    assert Row('stages', 'STFT', 'cpu', (1.0, 5.0, 2.0)).spread == (1.0, 5.0)
    assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row
    with pytest.raises(ValueError, match='STFT'):
        Row('stages', 'STFT', 'cpu', ())


def test_the_best_way_is_the_ceiling():
    assert ceilings(rows_of(200.0)) == {'one core': 100.0, 'all cores': 200.0}


def test_subjects_take_turns_and_one_that_fails_ends_alone():
    calls = []

    def subject(name: str, rounds: int) -> Subject:
        def measure() -> dict[str, Any]:
            calls.append(name)
            if name == 'bad':
                raise MeasuringError('it broke')
            return {'speed': [len(calls), 100.0] if name == 'pairs' else float(len(calls))}

        return Subject('process', name, measure, rounds)

    told: list[str] = []
    rows, failures = take_turns([subject('a', 3), subject('bad', 3), subject('pairs', 1)], told.append)
    assert calls == ['a', 'bad', 'pairs', 'a', 'a']
    assert [(row.name, row.samples) for row in rows] == [('a', (1.0, 4.0, 5.0)), ('pairs', (3.0, 100.0))]
    assert failures == {'bad': 'it broke'}
    assert any('it broke' in line for line in told)


def test_a_slower_machine_is_no_regression_and_a_slower_program_is():
    former = earlier(rows_of(ceiling=200, speed=20))
    assert compare(rows_of(ceiling=100, speed=10), SETTINGS, CPU, former).regressions == []
    found = compare(rows_of(ceiling=200, speed=17), SETTINGS, CPU, former).regressions
    assert [change.row.name for change in found] == [report.MAIN]
    assert found[0].worse == pytest.approx(20 / 17 - 1)
    assert found[0].told() == (
        f'{report.MAIN}: 17 x real time, before 20: 18% worse set against the ceiling of all cores, 18% worse as it is'
    )
    # 30 on twice the ceiling is less of it than 20, and faster all the same: both are told.
    found = compare(rows_of(ceiling=400, speed=30), SETTINGS, CPU, former).regressions
    (faster,) = (change for change in found if change.row.name == report.MAIN)
    assert faster.told().endswith('33% worse set against the ceiling of all cores, 33% better as it is')
    # Times: four milliseconds on half the machine are as good as two on the whole one; peers are left out.
    changes = {change.row.key: change for change in compare(rows_of(ceiling=100), SETTINGS, CPU, former).changes}
    assert changes[('stages', 'decode FLAC', 'cpu')].worse == pytest.approx(-0.5)
    assert not [key for key in changes if key[0] in ('peers', 'ceiling')]


def test_another_processor_is_named():
    former = earlier(rows_of())
    assert 'another processor' not in compare(rows_of(), SETTINGS, CPU, former).against
    comparison = compare(rows_of(), SETTINGS, 'newer CPU', former)
    assert 'another processor, some CPU' in comparison.against
    assert comparison.changes  # compared all the same


def test_memory_is_compared_as_it_is():
    former = earlier(rows_of(ceiling=200, memory=2.0))
    found = compare(rows_of(ceiling=100, speed=10, memory=2.4), SETTINGS, CPU, former).regressions
    assert [(change.row.quantity, round(change.worse, 3)) for change in found] == [('memory', 0.2)]


@pytest.mark.parametrize(
    ('former', 'said'),
    [
        (None, 'no report'),
        ('{', 'cannot be read'),
        ('{"rows": []}', 'cannot be read'),
        (earlier(rows_of(), settings={**SETTINGS, 'cores': 4, 'quick': False}), 'other settings'),
    ],
)
def test_reports_that_cannot_be_compared(former, said):
    comparison = compare(rows_of(), SETTINGS, CPU, former)
    assert said in comparison.against
    assert comparison.changes == []


def test_regressions_are_red_if_colour_is_wanted(capsys):
    comparison = compare(rows_of(speed=10), SETTINGS, CPU, earlier(rows_of(speed=20)))
    _tell_regressions(comparison, color=True)
    assert capsys.readouterr().out.startswith(f'{RED}REGRESSION {report.MAIN}')
    _tell_regressions(comparison, color=False)
    assert capsys.readouterr().out.startswith('REGRESSION')


def test_report_has_tables_failures_and_regressions(tmp_path):
    rows = rows_of()
    about = {**ABOUT, 'failures': {'a command': 'exit status 1'}, 'peer_failures': {'HTDemucs': 'no PyTorch'}}
    text = report.to_markdown(rows, about, compare(rows, SETTINGS, CPU, earlier(rows_of(speed=40))))
    assert '| **the ceiling of all cores** | **200** |' in text
    assert '| four U-Nets, TensorFlow, 2 streams |  | 100 |  | 50% |' in text
    assert '**Not measured: a command: exit status 1**' in text
    assert '| HTDemucs | not measured |  |  | no PyTorch |' in text
    assert f'| {COMMAND_ALL} | 5.00 |  | 4.0 |' in text
    assert '**Worse by more than 15%' in text
    # Decoding, signal path, five times features and four times encoding, 2 ms each.
    assert '**22.0** | **22.0** |' in text
    document = json.loads(report.to_json(rows, about, Comparison('nothing', [])))
    assert document['ceilings'] == {'one core': 100.0, 'all cores': 200.0}
    assert document['rows'][2] == {**rows[2].to_json(), 'samples': [180.0, 200.0, pytest.approx(220.0)]}
    chart.draw(rows, tmp_path / 'report.png')
    assert (tmp_path / 'report.png').read_bytes().startswith(b'\x89PNG')


def test_options():
    assert parse([]).parts == ('stages', 'network', 'process')
    assert parse(['--peers']).parts[-1] == 'peers'
    quick = parse(['--quick', '--only', 'stages,peers', '--rounds', '3'])
    assert (quick.parts, quick.rounds, quick.track_seconds) == (('stages', 'peers'), 3, 10.0)
    for wrong in (['--only', 'stage'], ['--cores', '0']):
        with pytest.raises(SystemExit):
            parse(wrong)


def test_ways_to_separate():
    names = [way.name for way in separations(4, 2)]
    assert names[0] == report.MAIN
    assert [name for name in names if 'worker' in name] == [f'{report.MAIN}, {n}' for n in
                                                            ('1 worker', '2 workers', '3 workers')]  # fmt: skip
    assert {way.rounds for way in separations(4, 4) if 'worker' in way.name} == {4}
    assert report.TWO_STEMS in [way.name for way in separations(1, 1, two_stems=True)]


def test_cores_are_taken_one_thread_of_each_first(monkeypatch, tmp_path):
    for cpu, siblings in enumerate(('0,2', '1,3', '0,2', '1,3')):
        folder = tmp_path / f'cpu{cpu}' / 'topology'
        folder.mkdir(parents=True)
        (folder / 'thread_siblings_list').write_text(siblings + '\n')
    monkeypatch.setattr(machine, 'TOPOLOGY', tmp_path)
    monkeypatch.setattr(machine.os, 'sched_getaffinity', lambda _: {0, 1, 2, 3})
    assert machine.choose_cores(2) == [0, 1]
    assert machine.choose_cores(3) == [0, 1, 2]
    with pytest.raises(MeasuringError, match='there are 4'):
        machine.choose_cores(5)


def test_a_command_is_measured_with_its_children(tmp_path):
    child = 'import time; block = bytearray(150_000_000); time.sleep(0.6)'
    parent = (
        f'import subprocess, sys; block = bytearray(100_000_000); subprocess.run([sys.executable, "-c", {child!r}])'
    )
    run = run_command([sys.executable, '-c', parent], tmp_path / 'log')
    assert run.wall > 0.6
    assert 0 < run.cpu < run.wall + 1
    assert 250e6 < run.memory < 500e6
    with pytest.raises(MeasuringError, match=r'exit status 3.*the reason'):
        run_command([sys.executable, '-c', 'import sys; print("the reason"); sys.exit(3)'], tmp_path / 'log')
    with pytest.raises(MeasuringError, match='cannot be started'):
        run_command([str(tmp_path / 'missing')], tmp_path / 'log')
    assert process_tree(1 << 22) == [1 << 22]


def test_an_environment_that_cannot_be_made_says_why(tmp_path):
    environment = Environment('peer', ('2.9',), (), '', ())
    with pytest.raises(MeasuringError, match=r'needs Python 2\.9'):
        install(environment, tmp_path, print)


def test_a_difference_takes_a_part_off():
    def work(steps: int) -> float:
        return 0.0 * sum(range(steps)) + 1.0

    found = difference(lambda: work(2_000_000), lambda: work(1_000_000), times=3, streams=1)
    alone = serving.timed(lambda: [work(1_000_000) for _ in range(3)])
    assert 0.2 < found['cpu'] / (alone['cpu'] / 3 * 1e3) < 5


def test_errors_of_threads_come_out():
    def fail() -> None:
        raise RuntimeError('broken')

    with pytest.raises(RuntimeError, match='broken'):
        serving.timed(fail, streams=2)


def test_a_worker_answers_and_tells_of_errors(tmp_path, monkeypatch):
    from benchmark import turns

    package = tmp_path / 'benchmark'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / 'serving.py').write_text(Path(serving.__file__).read_text())
    (package / 'double.py').write_text(
        'from .serving import serve\n'
        'def prepare(config):\n'
        '    print("chatter")\n'
        '    return lambda task: {"result": config["factor"] * task["number"]}\n'
        'serve(prepare)\n'
    )
    monkeypatch.setattr(turns, 'ROOT', tmp_path)
    with turns.Worker('double', {'factor': 2}, tmp_path / 'log') as worker:
        assert worker.measure({'number': 21}) == {'result': 42}
        assert worker.peak_memory() > 1e6
        with pytest.raises(MeasuringError, match='KeyError'):
            worker.measure({})
    assert 'chatter' in (tmp_path / 'log').read_text()
