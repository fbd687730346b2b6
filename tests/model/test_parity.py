"""Spleeter's own outputs, sample by sample."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

DATA = Path(__file__).parents[1] / 'data' / 'parity'
CASES = [
    'tiny_2stems',
    'tiny_2stems_16khz_average',
    'tiny_4stems',
    'tiny_4stems_mono',
    'tiny_4stems_mwf',
    'tiny_5stems',
]
REQUIRED_DB = 80


def worst_window_db(case: str) -> float:
    from stembeam.model.separator import Separator

    waveform, rate = soundfile.read(DATA / f'{case}.input.flac', dtype='float32')
    expected = np.load(DATA / f'{case}.expected.npz')
    stems = Separator.load(DATA / f'{case}.json', mwf=case.endswith('mwf')).separate(waveform, rate)
    assert {len(stem) for stem in stems.values()} == {int(expected['length'])}
    ratios = []
    for name, stem in stems.items():
        for start, window in zip(expected['starts'], expected[name], strict=True):
            error = stem[start : start + len(window)] - window
            ratios.append(10 * np.log10(np.sum(window**2) / np.sum(error**2)))
    return min(ratios)


@pytest.mark.parametrize('case', CASES)
def test_same_weights_give_spleeters_samples(case: str) -> None:
    assert worst_window_db(case) >= REQUIRED_DB


@pytest.mark.slow
def test_jax_gives_spleeters_samples_too() -> None:
    pytest.importorskip('jax')
    code = f'from test_parity import *; print(min(worst_window_db(case) for case in {CASES!r}))'
    environment = {
        **os.environ,
        'KERAS_BACKEND': 'jax',
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(Path(__file__).parent),
    }
    run = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.split()[-1]) >= REQUIRED_DB
