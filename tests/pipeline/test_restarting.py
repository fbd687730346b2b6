from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import pytest

from stembeam.pipeline import supervising
from stembeam.pipeline.restarting import (
    Begun,
    doubtful_tracks,
    fewer,
    forget_attempts,
    recall,
    remember,
    separate_doubtful,
    with_attempts,
)
from stembeam.pipeline.runners import place
from stembeam.transforms.attempts import Attempts, Mark, mark_name
from stembeam.transforms.completion import read_record, record_path
from stembeam.transforms.listing import Listing
from stembeam.transforms.listing_files import write_listing
from stembeam.transforms.records import Track
from stembeam.transforms.storage import Storage

from ..conftest import noise
from ..transforms.jobs import make_job, write_track

OPTIONS = argparse.Namespace(max_crashes=3, decode_timeout=40.0, log_format='json')
TRACKS = [Track(name, f'/{name}.wav', {'year': 1999}) for name in ('a', 'b', 'c/\udcff')]


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> supervising.Supervision:
    """This process, as if it had a parent that has seen two kills too many."""
    (tmp_path / 'shared').mkdir()
    supervision = supervising.Supervision(str(tmp_path / 'shared'), halvings=2)
    monkeypatch.setattr(supervising, '_supervision', supervision)
    return supervision


def test_without_a_parent_nothing_is_marked_or_remembered(tmp_path, tiny_model):
    job = make_job(tmp_path / 'out', tiny_model)
    assert with_attempts(job, OPTIONS, place(None, 2, {})).attempts is None
    assert recall(job.storage) is None
    assert fewer(8) == 8
    assert doubtful_tracks(TRACKS, None) == []


def test_a_run_is_recalled_as_it_began(tmp_path, supervised):
    storage = Storage.at(str(tmp_path / 'out'))
    listing = Listing(TRACKS, Counter({'.txt': 2}), frozenset({'host'}))
    assert recall(storage) is None
    begun = Begun(12.5, '1999-12-31', write_listing(storage, TRACKS, []), listing)
    remember(begun, OPTIONS)
    assert recall(storage) == begun
    assert supervised.recall()['log_format'] == 'json'
    assert fewer(8) == 2


def test_marks_are_with_the_parent_here_and_in_out_elsewhere(tmp_path, tiny_model, supervised):
    job = make_job(tmp_path / 'out', tiny_model)
    local = with_attempts(job, OPTIONS, place(None, 2, {})).attempts
    assert local == Attempts(Storage.at(supervised.marks), 3, 40.0)
    elsewhere = with_attempts(job, OPTIONS, place('FlinkRunner', 2, {'flink_master': 'localhost:1'}))
    assert elsewhere.attempts is not None
    elsewhere.attempts.write('decode-x-0', Mark('a'))
    assert len(list((tmp_path / 'out').glob('.stembeam/attempts/*/decode-x-0'))) == 1
    forget_attempts(elsewhere)
    assert list((tmp_path / 'out').glob('.stembeam/attempts/*')) == []


def test_doubtful_tracks(tmp_path):
    attempts = Attempts(Storage.at(str(tmp_path)))
    assert doubtful_tracks(TRACKS, attempts) == []
    for track, mark in zip(TRACKS, (Mark('x', 1), Mark('x', 0), Mark('x', 2, 'is set aside')), strict=True):
        attempts.write(mark_name('decode', track, 3), mark)
    assert doubtful_tracks(TRACKS, attempts) == TRACKS[:1]
    attempts.write(mark_name('assemble', TRACKS[1], 0), Mark('x', 1))
    assert doubtful_tracks(TRACKS, attempts) == TRACKS[:2]


def test_doubtful_tracks_are_separated(tmp_path, tiny_model):
    job = make_job(tmp_path / 'out', tiny_model)
    separate_doubtful(job, [write_track(tmp_path / 'a.wav', noise(0.2)), Track('b', '/none.wav', {})])
    record = read_record(job.storage, record_path('a'))
    assert record is not None
    assert record['status'] == 'done'
    assert read_record(job.storage, record_path('b')) is None
