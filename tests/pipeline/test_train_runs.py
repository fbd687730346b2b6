"""Training runs as processes: the paper's network overfits, kills do no harm, fine-tuning and export agree."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stembeam.model.separator import Separator
from stembeam.pipeline.cli import main
from stembeam.pipeline.example import make_song
from stembeam.pipeline.exit_status import OK

from ..conftest import noise
from ..model.training.songs import write_config, write_songs

pytestmark = pytest.mark.slow

PARITY = Path(__file__).parents[1] / 'data' / 'parity'
CONFIGS = Path(__file__).parents[2] / 'configs'
PATIENCE = 570  # seconds that any run may take


def command(config: Path, data: Path, out: Path, *options: str) -> list[str]:
    kind = '--shards' if (data / 'index.json').exists() else '--data'
    words = ['train', '--config', str(config), kind, str(data), '-o', str(out), *options]
    return [sys.executable, '-m', 'stembeam.pipeline.cli', *words]


def train(*arguments: Any, **environment: str) -> list[dict[str, float]]:
    """Run to the end; the lines of its log."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return read_log(arguments[2])


def read_log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / 'log.jsonl').read_text().splitlines()]


def validations(log: list[dict[str, float]]) -> list[float]:
    return [record['validation'] for record in log if 'validation' in record]


def write_example(folder: Path, seconds: float, names: tuple[str, ...]) -> Path:
    """Parts of two of the songs of `stembeam example`, and their table."""
    rows = [','.join([*(f'{name}_path' for name in ('mix', *names)), 'duration'])]
    for number in range(2):
        stems = {n: audio[176400 : 176400 + round(seconds * 44100)] for n, audio in make_song(8, 44100, number).items()}
        song = folder / f'song{number}'
        song.mkdir(parents=True)
        for name, audio in {'mix': np.sum(list(stems.values()), axis=0), **stems}.items():
            soundfile.write(song / f'{name}.wav', audio, 44100, subtype='FLOAT')
        rows.append(','.join([*(f'song{number}/{name}.wav' for name in ('mix', *names)), str(seconds)]))
    (folder / 'songs.csv').write_text('\n'.join(rows) + '\n')
    return folder


STEMS = ('vocals', 'drums', 'bass', 'other')
BANDS = {'vocals': (400, 900), 'drums': (4000, 9000), 'bass': (60, 250), 'other': (1400, 2800)}  # Hz


def write_banded(folder: Path, seconds: float) -> None:
    """Two songs whose stems, chords that come and go, have bands of their own."""
    time = np.arange(round(seconds * 44100)) / 44100
    for number in range(2):
        rng = np.random.default_rng(number)
        song = folder / f'song{number}'
        song.mkdir(parents=True)
        for name, (low, high) in BANDS.items():
            tones = [
                np.sin(2 * np.pi * rng.uniform(low, high) * time) * (np.sin(2 * np.pi * rate * time) > 0)
                for rate in rng.uniform(1, 4, 6)
            ]
            audio = 0.05 * np.sum(tones, axis=0)[:, np.newaxis] * rng.uniform(0.5, 1, 2)
            soundfile.write(song / f'{name}.wav', audio, 44100)


def test_the_papers_network_overfits_two_prepared_songs(tmp_path: Path) -> None:
    songs, same, shards = (tmp_path / name for name in ('songs', 'the same songs', 'shards'))
    for folder in (songs, same):
        write_banded(folder, 1.556)
    words = ['prepare', str(songs), '--validation', str(same), '-o', str(shards), '--chunk-duration', '1.556']
    assert main([*words, '--no-progress']) == OK
    document = json.loads((CONFIGS / '4stems.json').read_text())
    document.pop('model_dir')
    document.update(
        learning_rate=1e-2, batch_size=2, train_max_steps=45, save_checkpoints_steps=45, random_seed=3,
        training={
            'train_frames': 64, 'dropout': 0, 'settled': 0.75, 'settle_batches': 3, 'input_scale': 0.05,
            'norm_gain': 4, 'schedule': 'cosine', 'warmup_steps': 5, 'final_rate': 0.2,
        },
    )  # fmt: skip
    (tmp_path / 'config.json').write_text(json.dumps(document))
    first, last = validations(train(tmp_path / 'config.json', shards, tmp_path / 'model'))
    assert last < 0.2 * first


def test_a_run_that_is_killed_ends_at_the_same_validation_loss(tmp_path: Path) -> None:
    write_songs(tmp_path / 'songs')
    config = write_config(
        tmp_path / 'songs' / 'config.json', train_csv='songs.csv', validation_csv='songs.csv', train_max_steps=24,
        save_checkpoints_steps=5, save_summary_steps=1, training={'remix': 0.5, 'schedule': 'cosine'},
    )  # fmt: skip
    whole = validations(train(config, tmp_path / 'songs', tmp_path / 'whole'))
    killed = tmp_path / 'killed'
    process = subprocess.Popen(
        command(config, tmp_path / 'songs', killed),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (killed / 'log.jsonl').exists() or '"step": 13,' not in (killed / 'log.jsonl').read_text():
            assert process.poll() is None, 'the run was over before it could be killed'
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() != 0
    found = validations(train(config, tmp_path / 'songs', killed))
    assert len(found) == len(whole)
    assert found[-1] == pytest.approx(whole[-1], rel=1e-4)


def test_fine_tuning_a_spleeter_checkpoint_lowers_its_loss_and_its_export_agrees(tmp_path: Path) -> None:
    songs = write_example(tmp_path / 'songs', 3.2, STEMS)
    document = json.loads((PARITY / 'tiny_4stems.json').read_text())
    document.pop('model_dir')
    document.update(
        train_csv='songs.csv', validation_csv='songs.csv', learning_rate=1e-3, batch_size=2, train_max_steps=12,
        save_checkpoints_steps=4, chunk_duration=3.2, training={'train_frames': 128},
    )  # fmt: skip
    (songs / 'config.json').write_text(json.dumps(document))
    model = tmp_path / 'model'
    log = train(songs / 'config.json', songs, model, '--init-from', str(PARITY / 'tiny_4stems.json'))
    losses = validations(log)
    assert losses[1] < losses[0]
    assert losses == sorted(losses, reverse=True)
    done = subprocess.run(
        [sys.executable, '-m', 'stembeam.pipeline.cli', 'export', str(model), '-o', str(tmp_path / 'spleeter')],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    song = noise(3.0)
    expected = Separator.load(model).separate(song, 44100)
    for stem, samples in Separator.load(tmp_path / 'spleeter').separate(song, 44100).items():
        np.testing.assert_array_equal(samples, expected[stem])


TWO_DEVICES = """
import os, sys
if os.environ['KERAS_BACKEND'] == 'tensorflow':
    import tensorflow as tf
    cpu, = tf.config.list_physical_devices('CPU')
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from stembeam.pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize('backend', ['tensorflow', 'jax'])
def test_a_batch_may_be_spread_over_two_devices(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    # Settling traces once more, which takes JAX long.
    ours = {'settled': 0.5, 'settle_batches': 2} if backend == 'tensorflow' else {}
    write_songs(tmp_path / 'songs')
    config = write_config(
        tmp_path / 'songs' / 'config.json', train_csv='songs.csv', validation_csv='songs.csv', train_max_steps=6,
        save_checkpoints_steps=3, training=ours,
    )  # fmt: skip
    words = command(config, tmp_path / 'songs', tmp_path / 'model', '--distribution', 'data-parallel')[3:]
    flags = {'KERAS_BACKEND': backend, 'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}
    done = subprocess.run(
        [sys.executable, '-c', TWO_DEVICES, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **flags},
    )
    assert done.returncode == 0, done.stderr
    origin = json.loads((tmp_path / 'model' / 'training.json').read_text())
    assert (origin['backend'], origin['devices']) == (backend, 2)
    losses = validations(read_log(tmp_path / 'model'))
    assert len(losses) == 3
    assert losses[-1] < losses[0]
