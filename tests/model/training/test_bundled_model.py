"""The bundled model separates: on songs that it was not trained on it beats the mixture taken as the estimate."""

import os

import numpy as np
import pytest

from stembeam.model.separator import Separator
from stembeam.model.store import BUNDLED
from stembeam.pipeline.example import make_song

# dB that the signal-to-distortion ratio must gain over the mixture. Measured: 2.8, 8.1, 7.1 and 5.0 or more.
LEAST_GAIN = {'vocals': 2.6, 'drums': 7.8, 'bass': 6.8, 'other': 4.7}


def signal_to_distortion(target, estimate):
    """In dB, plain: 10 log10(sum s^2 / sum (s - estimate)^2)."""
    target = target.astype(np.float64)
    return float(10 * np.log10(np.sum(target**2) / np.sum((target - estimate) ** 2)))


@pytest.fixture(scope='module')
def mini():
    return Separator.load('mini')


@pytest.mark.parametrize('seed', [0, 1])
def test_the_bundled_model_beats_the_mixture_on_a_generated_song(mini, seed):
    stems = make_song(15.0, 44100, seed)
    mixture = np.stack(list(stems.values())).sum(axis=0)
    estimates = mini.separate(mixture, 44100)
    gains = {
        name: signal_to_distortion(stem, estimates[name]) - signal_to_distortion(stem, mixture)
        for name, stem in stems.items()
    }
    assert {name: gain for name, gain in gains.items() if gain < LEAST_GAIN[name]} == {}


def test_stems_of_silence_are_silent_and_the_package_stays_small(mini):
    stems = mini.separate(np.zeros((44100, 2), np.float32), 44100)
    assert max(float(np.abs(stem).max()) for stem in stems.values()) == 0.0
    folder = os.path.join(BUNDLED, 'mini')
    assert sum(entry.stat().st_size for entry in os.scandir(folder)) < 10e6
