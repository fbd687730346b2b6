"""`stembeam estimate`: sums by hand, the command's tables, and broken files of the user."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stembeam.model.configuration import ModelConfig
from stembeam.model.errors import UsageError
from stembeam.pipeline.cli import main
from stembeam.pipeline.cost_model import Work, estimate
from stembeam.pipeline.profiles import Gpu, Prices, Profile, StageCosts, load_profile, profile_names

COSTS = StageCosts(
    date='2026-01-01',
    machine='test',
    command='none',
    core_gflops=100.0,
    network_share=0.5,
    worker_efficiency=0.5,
    start_seconds=36.0,
    decode_ms=1.0,
    transforms_ms=4.0,
    features_ms=2.0,
    features_gpu_ms=1.0,
    encode_ms={'flac': 3.0},
    stem_bytes={'flac': 100_000},
    feature_bytes=1000,
    input_bytes=50_000,
)
PRICES = Prices('2026-01-01', 'test', 0.1, 0.01, 0.001, {'T4': 0.5}, 0.02)
MACHINE = Profile('test', 10, 2, 4, 20.0, 100.0, 100.0, None, 100.0, 0.0, True, 'none')
WORK = Work(1000, 360_000.0, ModelConfig(('vocals', 'drums', 'bass', 'other')), 'flac', True)


def test_cpu_machines_by_hand():
    found = estimate(WORK, MACHINE, COSTS, PRICES)
    networks = 4.104 / 50 * 1000  # ms of one core
    cpu = (1 + 4 + networks + 5 * 2 + 4 * 3) / (2 * 0.5)
    assert found.speed == pytest.approx(10 * 1000 / cpu, rel=1e-3)
    assert found.hours == pytest.approx(100 / (10 * 1000 / cpu) + 0.01, rel=1e-3)
    assert found.machine_hours == pytest.approx(10 * found.hours)
    assert found.gigabytes == pytest.approx((4 * 100_000 + 5 * 1000) * 360_000 / 1e9)
    assert found.dollars == pytest.approx(found.machine_hours * (0.4 + 0.2 + 0.1))
    assert found.dollars_per_month == pytest.approx(found.gigabytes * 0.02)
    assert found.binds == 'networks'


def test_a_gpu_leaves_the_rest_to_the_cores():
    gpu = dataclasses.replace(MACHINE, gpu=Gpu('T4', 8.0, 0.25, False))
    found = estimate(WORK, gpu, COSTS, PRICES)
    assert found.stage_ms['networks (GPU)'] == pytest.approx(4.104 / 2, rel=1e-3)
    assert found.speed == pytest.approx(10 * 1000 / (1 + 5 + 12), rel=1e-3)
    assert found.binds == 'encode'
    slow = dataclasses.replace(gpu, gpu=Gpu('T4', 0.1, 0.25, False))
    assert estimate(WORK, slow, COSTS, PRICES).binds == 'networks (GPU)'


def test_the_way_to_the_storage_can_bind():
    far = dataclasses.replace(MACHINE, megabytes_per_second=1.0)
    found = estimate(WORK, far, COSTS, PRICES)
    assert found.binds == 'storage'
    assert found.speed == pytest.approx(10 * 1e6 / 450_000)


def test_more_machines_than_tracks_are_of_no_use():
    one = dataclasses.replace(WORK, tracks=1, seconds=360.0)
    found = estimate(one, MACHINE, COSTS, PRICES)
    assert found.machine_hours == pytest.approx(found.hours)


def test_slower_cores_and_no_features():
    slow = dataclasses.replace(MACHINE, core_gflops=50.0)
    quiet = dataclasses.replace(WORK, features=False)
    with_features = estimate(WORK, slow, COSTS, PRICES)
    without = estimate(quiet, slow, COSTS, PRICES)
    assert with_features.stage_ms['encode'] == pytest.approx(24.0)
    assert 'features' not in without.stage_ms
    assert with_features.gigabytes - without.gigabytes == pytest.approx(5 * 1000 * 360_000 / 1e9)


def test_what_has_no_cost_or_price_is_named():
    with pytest.raises(UsageError, match=r"format 'mp3' was not measured: use one of flac"):
        estimate(dataclasses.replace(WORK, format='mp3'), MACHINE, COSTS, PRICES)
    with pytest.raises(UsageError, match=r'no price for a B200 GPU, only for T4'):
        estimate(WORK, dataclasses.replace(MACHINE, gpu=Gpu('B200', 1.0, 1.0, False)), COSTS, PRICES)


@pytest.mark.parametrize('name', profile_names())
def test_bundled_profiles_give_estimates(name, capsys):
    assert main(['estimate', '--tracks', '1000', '--profile', name, '--json']) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found['profile'] == name
    assert found['audio_hours'] == pytest.approx(1000 * 210 / 3600)
    assert found['hours'] > 0
    assert sum(found['stage_ms'].values()) > 0


def test_table_says_which_speeds_are_assumed(capsys):
    assert main(['estimate', '--tracks', '1000,100000', '--profile', 'laptop', '--profile', 'l4']) == 0
    said = capsys.readouterr().out
    rows = [line.split('|')[1:3] for line in said.splitlines() if line.startswith('|')][2:]
    assert [(tracks.strip(), name.strip()) for tracks, name in rows] == [
        ('1,000', 'laptop'),
        ('1,000', 'l4*'),
        ('100,000', 'laptop'),
        ('100,000', 'l4*'),
    ]
    assert '* speed of the GPU assumed, not measured.' in said


def test_a_listing_is_looked_at(tmp_path, capsys):
    for number in range(4):
        soundfile.write(tmp_path / f'{number}.wav', np.zeros(8000 * (number + 1)), 8000)
    (tmp_path / '4.wav').write_bytes(b'not audio at all, whatever the name says')
    assert main(['estimate', str(tmp_path), '--profile', 'laptop']) == 0
    said = capsys.readouterr().out
    assert said.startswith('5 tracks, 0.00 hours of audio; 1 of 5 looked at cannot be read')
    assert main(['estimate', str(tmp_path), '--profile', 'laptop', '--json']) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found['audio_hours'] == pytest.approx(10 / 3600)


def test_a_long_listing_is_sampled(tmp_path, capsys):
    for number in range(30):
        soundfile.write(tmp_path / f'{number}.wav', np.zeros(8000), 8000)
    assert main(['estimate', str(tmp_path), '--sample', '10', '--profile', 'laptop']) == 0
    assert capsys.readouterr().out.startswith('30 tracks, 0.01 hours of audio (by 10 of them, +-0.00 h)')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'cores': 0}, r'cores is 0: give a whole number of 1 or more'),
        ({'colour': 'red'}, r"the key 'colour' is unknown: remove it"),
        ({'gpu': {'name': 'T4'}}, r"gpu: the key '\w+' is missing: add it"),
        ({'paid': 'yes'}, r"paid is 'yes': give true or false"),
        ({'start_minutes': -1}, r'start_minutes is -1: give a number of 0 or more'),
    ],
)
def test_a_broken_profile_is_named(tmp_path, capsys, change, message):
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps({**dataclasses.asdict(load_profile('laptop')), **change}))
    assert main(['estimate', '--tracks', '5', '--profile', str(path)]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert str(path) in said
    assert said.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'give a listing, or --tracks N'),
        (['--tracks', '5', 'somewhere'], 'give a listing, or --tracks N'),
        (['--tracks', '5', '--profile', 'cray'], "profile 'cray' is unknown: use one of laptop"),
        (['--tracks', '5', '--prices', 'nowhere.json'], 'nowhere.json cannot be read'),
        (['--tracks', 'many'], "'many' is not 1 or more"),
    ],
)
def test_bad_usage(capsys, arguments, message):
    assert main(['estimate', *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_page_on_scaling_shows_what_the_command_says(capsys):
    page = Path(__file__).resolve().parents[2] / 'docs/scaling.md'
    if not page.exists():
        pytest.skip('the tests run away from the source tree')
    assert main(['estimate', '--tracks', '1000,100000,10000000']) == 0
    assert capsys.readouterr().out in page.read_text(encoding='utf-8')
