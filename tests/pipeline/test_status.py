"""What `stembeam status` says, from the files alone: made by hand as a run leaves them, and by a real one."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import fsspec
import pytest
import soundfile

from stembeam.pipeline.cli import main
from stembeam.pipeline.exit_status import BAD_USAGE, INTERRUPTED, OK
from stembeam.transforms.completion import BEING_REPLACED, DONE, write_record
from stembeam.transforms.planning import PLAN_FILE, Totals
from stembeam.transforms.storage import Storage
from stembeam.transforms.writing import PARTS

from ..conftest import noise
from .runs import separate

RATE = 44_100


@pytest.fixture(params=['folder', 'store'])
def storage(request, tmp_path):
    """OUT on a disk, and behind a URL."""
    if request.param == 'folder':
        yield Storage.at(str(tmp_path))
        return
    fs = fsspec.filesystem('memory')
    yield Storage.at('memory://status/out')
    fs.rm('/status', recursive=True)


def begin(storage, tracks, ago, **options):
    started = datetime.fromtimestamp(time.time() - ago, timezone.utc).isoformat(timespec='seconds')
    run = {
        'options': {'wait': True, **options},
        'model': {'config': {'sample_rate': RATE}},
        'listing_columns': {},
        'tracks': tracks,
        'started': started,
    }
    storage.write_bytes('run.json', json.dumps(run).encode())
    return run


def plan(storage, **totals):
    storage.write_bytes(PLAN_FILE, json.dumps(Totals(**totals)._asdict()).encode())


def complete(storage, name, seconds, ago, status=DONE):
    record = {'status': status, 'track_id': name, 'duration': seconds, 'finished': time.time() - ago}
    write_record(storage, record)


def fail(storage, *names):
    rows = [json.dumps({'uri': name, 'reason': f'{name}: is broken'}) + '\n' for name in names]
    storage.write_bytes('failures-00000-of-00001.jsonl', ''.join(rows).encode())


def look(storage, capsys, *options):
    """The status as an object."""
    assert main(['status', storage.root, '--json', *options]) == OK
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]


def lines(storage, capsys):
    assert main(['status', storage.root]) == OK
    found = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in found if not line.startswith('  ')) <= 100
    return found


def test_a_run_from_its_beginning(storage, capsys):
    complete(storage, 'of an earlier run', 1000.0, ago=9000)
    begin(storage, tracks=10, ago=100)
    status = look(storage, capsys)
    assert (status['state'], status['listed'], status['planned'], status['done']) == ('planning', 10, None, 0)
    assert (status['failed'], status['left'], status['since_last']) == (None, None, None)
    assert lines(storage, capsys)[1].startswith('10 tracks are listed')

    plan(storage, tracks=7, skipped=1, seconds=400.0)
    complete(storage, 'a', 60.0, ago=50)
    complete(storage, 'b', 30.0, ago=20)
    complete(storage, 'c', 30.0, ago=5, status=BEING_REPLACED)
    storage.write_bytes(f'{PARTS}/d/1/part.json', json.dumps({'body_samples': RATE * 10}).encode())
    status = look(storage, capsys)
    assert (status['state'], status['planned'], status['skipped'], status['done']) == ('running', 7, 1, 2)
    assert status['failed'] == 2  # neither planned nor skipped
    assert (status['audio'], status['audio_planned'], status['share']) == (100.0, 400.0, 0.25)
    assert status['elapsed'] == pytest.approx(100, abs=20)
    assert status['speed'] == pytest.approx(100 / status['elapsed'], rel=0.01)
    assert status['left'] == pytest.approx(3 * status['elapsed'], rel=0.01)
    assert 20 <= status['since_last'] < 40
    told = lines(storage, capsys)
    assert told[1] == '[##########..............................] 25.0%'
    assert told[2] == 'listed 10, skipped 1 (complete already), done 2 of 7, failed 2 or more'


def test_a_run_that_stands_still_is_told(storage, capsys):
    begin(storage, tracks=2, ago=8000)
    plan(storage, tracks=2, seconds=400.0)
    complete(storage, 'a', 200.0, ago=3725)
    assert lines(storage, capsys)[-1] == (
        'last track completed 1:02:05 ago: if the run was killed, the same command goes on from here'
    )


def test_a_run_that_nobody_waited_for_ends_when_all_tracks_are_accounted_for(storage, capsys):
    begin(storage, tracks=4, ago=100, wait=False)
    plan(storage, tracks=2, skipped=1, seconds=100.0)
    complete(storage, 'a', 60.0, ago=30)
    assert look(storage, capsys)['state'] == 'running'
    fail(storage, 'x', 'y')
    status = look(storage, capsys, '--watch', '60')  # returns at once: there is nothing to wait for
    assert (status['state'], status['done'], status['skipped'], status['failed']) == ('finished', 1, 1, 2)
    assert (status['reasons'], status['left'], status['share']) == (['x: is broken', 'y: is broken'], 0.0, 1.0)
    assert lines(storage, capsys)[-2:] == ['  x: is broken', '  y: is broken']


def test_records_that_are_made_again_count_when_they_are(storage, capsys, monkeypatch):
    """All complete tracks of a store are old at first, and are not taken for skipped ones."""
    for name in 'abc':
        complete(storage, name, 10.0, ago=9000)
    begin(storage, tracks=3, ago=60)
    plan(storage, tracks=2, skipped=1, seconds=20.0)
    left = ['a', 'b']

    def sleep(seconds):
        if not left:
            raise KeyboardInterrupt
        complete(storage, left.pop(0), 10.0, ago=0)

    monkeypatch.setattr(time, 'sleep', sleep)
    assert main(['status', storage.root, '--json', '--watch', '1']) == INTERRUPTED
    told = [json.loads(line)['done'] for line in capsys.readouterr().out.splitlines()]
    assert told == [0, 1, 2]


@pytest.mark.parametrize('content', [None, b'no JSON', b'{"started": "now"}'])
def test_no_run_is_bad_usage(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / 'run.json').write_bytes(content)
    assert main(['status', str(tmp_path)]) == BAD_USAGE
    said = capsys.readouterr().err
    assert str(tmp_path) in said
    assert 'name the output folder of' in said


def test_a_finished_run(tmp_path, tiny_model, capsys):
    (tmp_path / 'in').mkdir()
    soundfile.write(tmp_path / 'in' / 'a.wav', noise(2.0), RATE)
    (tmp_path / 'in' / 'b.wav').write_text('no audio')
    run = separate([str(tmp_path / 'in')], tmp_path / 'out', tiny_model)
    capsys.readouterr()
    storage = Storage.at(str(run.out))
    status = look(storage, capsys, '--watch', '60')
    assert (status['state'], status['listed'], status['done'], status['failed']) == ('finished', 2, 1, 1)
    assert (status['audio'], status['share'], status['left']) == (2.0, 1.0, 0.0)
    assert 'is not audio' in status['reasons'][0]
    assert lines(storage, capsys)[1] == 'listed 2, skipped 0 (complete already), done 1, failed 1'
