from __future__ import annotations

import io
import json
import math
import os
import time

import numpy as np
import pytest

from stembeam.pipeline import progress
from stembeam.pipeline.progress import Progress, Standing, Watch, clock
from stembeam.transforms.completion import BEING_REPLACED, DONE, record_path, write_record
from stembeam.transforms.planning import PLAN_FILE, Totals
from stembeam.transforms.storage import Storage
from stembeam.transforms.writing import PARTS


@pytest.fixture
def storage(tmp_path):
    return Storage.at(str(tmp_path))


def complete(storage, name, seconds, finished=None, **changed):
    record = {'status': DONE, 'track_id': name, 'duration': seconds, 'finished': finished or time.time(), **changed}
    return os.path.join(storage.root, write_record(storage, record))


def write_part(storage, name, samples):
    path = f'{PARTS}/{name}/part.json'
    storage.write_bytes(path, json.dumps({'body_samples': samples}).encode())
    return storage.url(path)


def test_a_run_from_plan_to_end(storage):
    watch = Watch(storage, 3, 44100)
    assert watch.look().line().startswith('planning 3 tracks, 0:00:0')
    storage.write_bytes(PLAN_FILE, json.dumps(Totals(tracks=2, skipped=1, seconds=200.0)._asdict()).encode())
    standing = watch.look()
    assert (standing.totals, standing.done, standing.audio) == (Totals(2, 1, 200.0), 0, 0.0)

    complete(storage, 'a', 50.0)
    write_part(storage, 'b/1', 44100 * 20)
    write_part(storage, 'b/2', 44100 * 10)
    standing = watch.look()
    assert (standing.done, standing.audio) == (1, 80.0)
    assert standing.bar(10) == '[####......]'

    storage.remove_folder(f'{PARTS}/b')  # assembled
    complete(storage, 'b', 150.0)
    standing = watch.look()
    assert (standing.done, standing.audio) == (2, 200.0)
    assert standing.bar(10) == '[##########]'
    assert watch.look()[:4] == standing[:4]


def test_what_was_there_before_does_not_count(storage):
    old = complete(storage, 'old', 100.0, finished=time.time() - 1000)
    os.utime(old, (time.time() - 1000,) * 2)
    part = write_part(storage, 'old/1', 44100)
    os.utime(part, (time.time() - 1000,) * 2)
    watch = Watch(storage, 2, 44100)
    assert watch.look()[2:4] == (0, 0.0)
    complete(storage, 'old', 100.0, finished=time.time() - 1000)  # skipped, with other metadata
    assert watch.look()[2:4] == (0, 0.0)
    complete(storage, 'new', 10.0, status=BEING_REPLACED)
    assert watch.look()[2:4] == (0, 0.0)
    complete(storage, 'new', 10.0)
    complete(storage, 'old', 100.0)  # made again
    assert watch.look()[2:4] == (2, 110.0)


def test_files_that_are_not_whole_do_not_disturb(storage):
    watch = Watch(storage, 1, 44100)
    storage.write_bytes(PLAN_FILE, b'{"tracks": ')
    storage.write_bytes(record_path('a'), b'')
    assert watch.look()[:4] == (1, None, 0, 0.0)


def test_a_line_says_speed_and_time_left():
    standing = Standing(5, Totals(tracks=4, skipped=1, seconds=7200.0), done=1, audio=1800.0, elapsed=90.0)
    assert standing.line() == '1/4 tracks, 0.50/2.00 h of audio, 20.0x real time, 0:04:30 left'
    assert standing.bar(8) == '[##......]'
    begun = standing._replace(audio=0.0)
    assert begun.line() == '1/4 tracks, 0.00/2.00 h of audio, 0.0x real time, ? left'
    assert Standing(5, None, 0, 0.0, 75.0).line() == 'planning 5 tracks, 0:01:15'
    assert Standing(5, Totals(), 0, 0.0, 0.0).bar(4) == '[....]'
    assert standing._replace(audio=9000.0).bar(4) == '[####]'  # files may go on beyond what their headers promise
    assert standing._replace(audio=9000.0).line().endswith('putting long tracks together')


def test_measuring_for_wiener_filters_is_half_of_the_work(storage):
    watch = Watch(storage, 2, 44100)
    totals = Totals(tracks=2, seconds=7200.0, measured=3600.0)
    storage.write_bytes(PLAN_FILE, json.dumps(totals._asdict()).encode())
    for index in range(2):
        content = io.BytesIO()
        np.savez(content, samples=900 * 44100)
        storage.write_bytes(f'{PARTS}/a/b/wiener-1/{index}-0-4.sums.npz', content.getvalue())
    standing = watch.look()
    assert (standing.measured, standing.audio) == (1800.0, 0.0)
    line = standing._replace(elapsed=100.0).line()
    assert line == (
        '0/2 tracks, 0.50/1.00 h measured for Wiener filters, 0.00/2.00 h of audio, 0.0x real time, 0:08:20 left'
    )
    assert standing.bar(6) == '[#.....]'
    complete(storage, 'a', 3600.0)
    storage.remove_folder(f'{PARTS}/a')
    assert watch.look()[2:4] == (1, 3600.0)
    assert watch.look().measured == 1800.0


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0, '0:00:00'),
        (59.6, '0:01:00'),
        (3599, '0:59:59'),
        (360_000, '100:00:00'),
        (-1, '0:00:00'),
        (math.nan, '?'),
        (math.inf, '?'),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def wait_for(out, text):
    deadline = time.monotonic() + 20
    while text not in out.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    return out.getvalue()


def test_a_terminal_has_one_bar_that_is_gone_at_the_end(storage, monkeypatch):
    monkeypatch.setattr(progress, 'LOCAL_SECONDS', 0.01)
    out = Terminal()
    with Progress(Watch(storage, 7, 44100), True, out):
        shown = wait_for(out, 'planning 7 tracks')
    assert shown.startswith('\r\x1b[K[........................] planning 7 tracks, 0:00:0')
    assert '\n' not in out.getvalue()
    assert out.getvalue().endswith('\r\x1b[K')


def test_elsewhere_there_is_a_line_now_and_then(storage, monkeypatch):
    monkeypatch.setattr(progress, 'LINE_SECONDS', 0.01)
    out = io.StringIO()
    with Progress(Watch(storage, 7, 44100), True, out):
        wait_for(out, '\n')
    lines = out.getvalue().splitlines()
    assert lines
    assert all(line.startswith('planning 7 tracks, ') for line in lines)


def test_a_short_run_shows_nothing(storage):
    out = io.StringIO()
    with Progress(Watch(storage, 7, 44100), True, out):
        pass
    assert out.getvalue() == ''
