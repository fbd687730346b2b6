"""Chunks, checks and the order of the shards, as plain functions."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from stembeam.transforms.records import AudioInfo
from stembeam.transforms.storage import Storage
from stembeam.transforms.training_shards import Limits, PrepareJob
from stembeam.transforms.training_shards.checks import TrackChecks, check_headers, sum_of
from stembeam.transforms.training_shards.chunks import Extracted, chunk_starts
from stembeam.transforms.training_shards.shards import plan_shards

from .dataset_files import make_stems


@pytest.mark.parametrize(
    ('length', 'chunk', 'count', 'expected'),
    [
        (60, 20, None, [0, 20, 40]),
        (61, 20, None, [0, 20, 40, 41]),
        (20, 20, None, [0]),
        (7, 20, None, [0]),
        (60, 20, 1, [20]),
        (60, 20, 2, [0, 40]),
        (60, 20, 5, [0, 10, 20, 30, 40]),
        (22, 20, 5, [0, 1, 2]),
        (7, 20, 3, [0]),
    ],
)
def test_where_chunks_begin(length, chunk, count, expected):
    assert chunk_starts(length, chunk, count) == expected


def info(num_samples: int, rate: int = 44100, codec: str = 'PCM_16') -> AudioInfo:
    return AudioInfo('/a.wav', rate, 2, num_samples, 'wav', codec, 'soundfile', True)


@pytest.mark.parametrize(
    ('mixture', 'stem', 'kinds'),
    [
        (info(44100), info(44100), []),
        (info(44100), info(44099), ['length']),
        (info(44100, codec='VORBIS'), info(44100 + 4000), []),
        (info(44100, codec='VORBIS'), info(44100 + 5000), ['length']),
        (info(44100), info(48000, 48000), ['rate']),
        (info(44100), info(44100, 48000), ['rate', 'length']),
    ],
)
def test_rates_and_lengths(mixture, stem, kinds):
    assert [problem.kind for problem in check_headers({'mixture': mixture, 'vocals': stem})] == kinds


def checked(stems: dict[str, np.ndarray], limits: Limits | None = None) -> TrackChecks:
    """The checks after stems and mixture came in blocks of odd lengths."""
    stems = dict(stems)
    mixture = stems.pop('mixture', None)
    checks = TrackChecks('/a.wav', limits or Limits())
    for start in range(0, 44100, 1237):
        part = slice(start, start + 1237)
        checks.add({name: samples[part] for name, samples in stems.items()}, None if mixture is None else mixture[part])
    return checks


def test_a_sound_track_has_no_problems():
    stems = make_stems(1)
    assert checked(stems).problems() == []
    assert checked(stems).residual_db == pytest.approx(-200)
    stems.pop('mixture')
    assert checked(stems).problems() == []
    assert checked(stems).residual_db is None


def test_the_residual_is_what_the_mixture_has_more_than_the_stems():
    stems = make_stems(1)
    noise = np.random.default_rng(0).standard_normal(stems['mixture'].shape).astype(np.float32)
    noise *= np.sqrt(np.square(stems['mixture']).mean() / np.square(noise).mean()) * 0.1
    stems['mixture'] = stems['mixture'] + noise
    checks = checked(stems, Limits(residual_db=-19))
    assert checks.residual_db == pytest.approx(-20, abs=0.2)
    assert checks.problems() == []
    (problem,) = checked(stems, Limits(residual_db=-21)).problems()
    assert (problem.kind, '-2' in problem.reason) == ('sum', True)


def test_clipped_samples_are_counted_across_blocks():
    stems = make_stems(1)
    stems['drums'][1230:1245] = 1.0  # a border of blocks at 1237
    stems['mixture'] = sum_of(samples for name, samples in stems.items() if name != 'mixture')
    assert checked(stems, Limits(clipped_share=13 / 44100 + 1e-9)).problems() == []
    (problem,) = checked(stems, Limits(clipped_share=13 / 44100 - 1e-9)).problems()
    assert problem.kind == 'clipped'
    assert problem.reason.startswith('/a.wav: drums is clipped, 0.029% of its samples')


def test_silence_is_bad_in_a_mixture_and_no_more_than_a_note_in_a_stem():
    stems = make_stems(1)
    stems['other'] = np.full_like(stems['other'], 1e-5)
    stems['mixture'] = sum_of(samples for name, samples in stems.items() if name != 'mixture')
    assert checked(stems).problems() == []
    assert checked(stems).silent_stems() == ['other']
    nothing = {name: np.zeros_like(samples) for name, samples in stems.items()}
    assert [problem.kind for problem in checked(nothing).problems()] == ['silent']
    nothing.pop('mixture')
    assert 'the sum of the stems is silent' in checked(nothing).problems()[0].reason


def some_tracks() -> list[Extracted]:
    return [Extracted(f'song {n}', 'validation' if n % 10 == 0 else 'train', (100 + n,) * 12) for n in range(40)]


def test_the_plan_is_the_same_for_any_order_of_tracks_and_holds_every_chunk_once():
    job = PrepareJob(Storage.at('/nowhere'), ('vocals',), shard_bytes=1500, seed=3)
    tracks = some_tracks()
    plans = list(plan_shards(tracks, job))
    random.Random(0).shuffle(tracks)
    assert list(plan_shards(tracks, job)) == plans
    for subset, number in (('train', 36), ('validation', 4)):
        chosen = [plan for plan in plans if plan.subset == subset]
        sizes = [len(plan.places) for plan in chosen]
        total = sum(place.length for plan in chosen for place in plan.places)
        assert len(chosen) == -(-total // 1500)
        assert max(sizes) - min(sizes) <= 1
        assert chosen[0].file == f'{subset}-00000-of-{len(chosen):05d}.tfrecord'
        places = [place for plan in chosen for place in plan.places]
        assert len(set(places)) == len(places) == 12 * number
        for path in {place.path for place in places}:
            mine = sorted(place for place in places if place.path == path)
            assert [place.offset for place in mine] == [n * mine[0].length for n in range(12)]


def test_neighbours_come_from_different_tracks_and_the_seed_changes_the_order():
    orders = []
    for seed in (0, 1):
        job = PrepareJob(Storage.at('/nowhere'), ('vocals',), shard_bytes=1500, seed=seed)
        plans = plan_shards(some_tracks(), job)
        orders.append([place for plan in plans if plan.subset == 'train' for place in plan.places])
    for order in orders:
        same = sum(one.path == other.path for one, other in itertools.pairwise(order))
        assert same < 0.08 * len(order)  # one in 36 by chance
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_no_shard_is_empty():
    job = PrepareJob(Storage.at('/nowhere'), ('vocals',), shard_bytes=10)
    plans = list(plan_shards([Extracted('a', 'train', (100, 100)), Extracted('b', 'train', ())], job))
    assert [len(plan.places) for plan in plans] == [1, 1]
