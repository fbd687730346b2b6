"""Small data sets for training: songs whose stems live in bands of their own, and a network that learns them fast."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from stembeam.model.configuration import ModelConfig

RATE = 8000
CONFIG = ModelConfig(
    instruments=('low', 'high'),
    sample_rate=RATE,
    frame_length=256,
    frame_step=64,
    frames=64,
    bins=128,
    conv_activation='ELU',
    deconv_activation='ELU',
    conv_filters=(4, 4, 8, 8, 8, 8),
)
BANDS = {'low': (150, 900), 'high': (1500, 3500)}
KEYS = {'learning_rate': 5e-3, 'batch_size': 2, 'train_max_steps': 8, 'random_seed': 5, 'chunk_duration': 1.0}


def make_stems(seconds: float, seed: int) -> dict[str, np.ndarray]:
    """Tones that come and go in two bands, float32 (samples, 2)."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    stems = {}
    for name, band in BANDS.items():
        tones = [
            np.sin(2 * np.pi * rng.uniform(*band) * time + rng.uniform(0, 6)) * (np.sin(2 * np.pi * rate * time) > 0)
            for rate in (1.5, 2.5, 4)
        ]
        audio = 0.1 * np.sum(tones, axis=0)[:, np.newaxis] * rng.uniform(0.4, 1, 2)
        stems[name] = audio.astype(np.float32)
    return stems


def write_songs(folder: Path, count: int = 2, seconds: float = 3.0) -> Path:
    """Songs as WAV files, and their table `songs.csv`."""
    rows = ['mix_path,low_path,high_path,duration']
    for number in range(count):
        song = folder / f'song{number}'
        song.mkdir(parents=True)
        stems = make_stems(seconds, number)
        for name, audio in {'mix': stems['low'] + stems['high'], **stems}.items():
            soundfile.write(song / f'{name}.wav', audio, RATE, subtype='FLOAT')
        rows.append(','.join([*(f'song{number}/{name}.wav' for name in ('mix', 'low', 'high')), str(seconds)]))
    (folder / 'songs.csv').write_text('\n'.join(rows) + '\n')
    return folder / 'songs.csv'


def write_config(path: Path, config: ModelConfig = CONFIG, ours: dict[str, Any] | None = None, **keys: Any) -> Path:
    """A configuration file; None as a value leaves a key out."""
    training = {**KEYS, **keys, **({} if ours is None else {'training': ours})}
    document = dataclasses.replace(config, training={}).to_json()
    document.update({key: value for key, value in training.items() if value is not None})
    path.write_text(json.dumps(document))
    return path
