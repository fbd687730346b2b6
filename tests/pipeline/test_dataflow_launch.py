"""A job elsewhere that is only started: what the launcher does and leaves undone. (Beam's local runner stands in.)"""

from __future__ import annotations

import json

import pytest
import soundfile
from apache_beam.runners.portability.fn_api_runner.fn_runner import RunnerResult

from stembeam.pipeline import launch
from stembeam.pipeline.dataflow import waits
from stembeam.pipeline.exit_status import OK
from stembeam.pipeline.options import parse_separate
from stembeam.pipeline.runners import place

from ..conftest import noise
from .runs import separate


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [('', True), ('--no-wait', False), ('--template_location gs://templates/one', False)],
)
def test_who_waits(arguments, expected):
    options, beam = parse_separate(arguments.split())
    here = place(None, 2, beam)
    assert waits(options, here)
    assert waits(options, here._replace(is_local=False)) == expected


def test_a_job_that_is_only_started(tmp_path, tiny_model, monkeypatch):
    soundfile.write(tmp_path / 'song.wav', noise(1), 44100)
    waited = []
    monkeypatch.setattr(RunnerResult, 'wait_until_finish', lambda self, duration=None: waited.append(duration))
    monkeypatch.setattr(launch, 'place', lambda *arguments: place(*arguments)._replace(is_local=False))
    out, options = tmp_path / 'out', ['--no-features', '--batch-size', '1']
    stale = out / 'manifest-00000-of-00009.parquet'
    out.mkdir()
    stale.touch()
    started = separate([str(tmp_path / 'song.wav')], out, tiny_model, *options, '--no-wait')
    assert started.status == OK
    assert started.printed == f'the job is started; stembeam status {out} tells how far it is\n'
    assert waited == []
    assert not stale.exists()
    assert 'finished' not in json.loads((out / 'run.json').read_text())
    assert len(started.rows('manifest-*')) == 1  # the job itself writes the tables

    monkeypatch.undo()
    again = separate([str(tmp_path / 'song.wav')], out, tiny_model, *options)
    assert 'done 0, skipped 1 (complete already)' in again.printed
    assert json.loads((out / 'run.json').read_text())['skipped'] == 1
