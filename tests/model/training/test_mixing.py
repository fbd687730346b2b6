"""Laws of the random mixtures: what adds up, what is absent, how loud it is, and that a seed decides."""

import numpy as np
import pytest
import soundfile

from stembeam.model import spectral
from stembeam.model.errors import UsageError
from stembeam.model.training.evaluate import signal_to_distortion
from stembeam.model.training.mixing import Bank, MixingRules, chunk_samples, draw_batch, draw_stems, spectra
from stembeam.model.training.train import STEMS, mini_config

RATE = 44100
CONFIG = mini_config((2, 4, 8, 16, 32, 64), frames=64)


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bank')
    rng = np.random.default_rng(0)
    for stem, pitch in zip(STEMS, (440, 3000, 60, 900), strict=True):
        (folder / 'train' / stem).mkdir(parents=True)
        for number in range(3):
            time = np.arange(3 * RATE) / RATE
            tone = 0.1 * np.sin(2 * np.pi * pitch * (1 + number / 10) * time)
            noise = 0.01 * rng.standard_normal((len(time), 2))
            soundfile.write(folder / 'train' / stem / f'{number:05d}.wav', tone[:, np.newaxis] + noise, RATE)
    return Bank(folder, 'train', STEMS, RATE)


def test_magnitudes_are_those_of_the_separator(bank):
    waves = draw_stems(bank, chunk_samples(CONFIG), MixingRules(), np.random.default_rng(1))
    real, imaginary = spectral.stft(np.swapaxes(waves, -1, -2), CONFIG.frame_length, CONFIG.frame_step)
    expected = np.hypot(np.asarray(real), np.asarray(imaginary))[..., : CONFIG.bins]
    ours = np.abs(spectra(waves, CONFIG))
    assert ours.shape == (4, CONFIG.frames, CONFIG.bins, 2)
    np.testing.assert_allclose(ours, np.moveaxis(expected, 1, -1), atol=1e-3)


def test_the_mixture_is_the_sum_of_its_stems(bank):
    rules = MixingRules()
    batch = draw_batch(bank, CONFIG, 2, rules, [7])
    waves = draw_stems(bank, chunk_samples(CONFIG), rules, np.random.default_rng([7, 1]))
    np.testing.assert_allclose(batch.mixture[1], np.abs(spectra(waves.sum(axis=0), CONFIG)), atol=1e-3)
    for stem in range(4):
        np.testing.assert_allclose(batch.stems[stem][1], np.abs(spectra(waves[stem], CONFIG)), atol=1e-3)


def test_a_model_of_some_stems_trains_on_the_mixture_of_all(bank):
    some = mini_config(CONFIG.conv_filters, CONFIG.frames, ('bass', 'vocals'))
    batch, everything = (draw_batch(bank, config, 1, MixingRules(), [4]) for config in (some, CONFIG))
    np.testing.assert_array_equal(batch.mixture, everything.mixture)
    np.testing.assert_array_equal(batch.stems, [everything.stems[2], everything.stems[0]])


def test_a_seed_decides_the_batch(bank):
    first, again, other = (draw_batch(bank, CONFIG, 1, MixingRules(), [seed]).mixture for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_stems_are_absent_as_often_as_the_rules_say(bank):
    rules = MixingRules(absent={'vocals': 0.5, 'drums': 0.0, 'bass': 1.0, 'other': 0.2}, respeed=0.0)
    draws = [draw_stems(bank, 3000, rules, np.random.default_rng(seed)) for seed in range(120)]
    silent = np.mean([[not stem.any() for stem in draw] for draw in draws], axis=0)
    assert silent[1] == 0.0
    assert silent[2] == 1.0
    assert 0.36 < silent[0] < 0.64
    assert 0.08 < silent[3] < 0.32


def test_levels_follow_the_rules(bank):
    rules = MixingRules(
        absent={}, gain_db=0.0, level_db={'vocals': -6.0}, respeed=0.0, second_take=0.0, mixture_db=(-20.0, 0.0)
    )
    stems = draw_stems(bank, 40960, rules, np.random.default_rng(0))
    vocals, drums = (np.sqrt(np.mean(stem.astype(np.float64) ** 2)) for stem in stems[:2])
    assert 20 * np.log10(vocals / drums) == pytest.approx(-6.0, abs=0.3)
    assert 20 * np.log10(np.sqrt(np.mean(stems.sum(axis=0).astype(np.float64) ** 2))) == pytest.approx(-20.0, abs=0.3)


def test_signal_to_distortion_in_decibels():
    target = np.ones((1000, 2), np.float32)
    assert signal_to_distortion(target, target * 0.9) == pytest.approx(20.0, abs=1e-3)
    assert signal_to_distortion(target, 0 * target) == pytest.approx(0.0, abs=1e-6)


def test_an_empty_bank_or_another_sample_rate_is_refused(bank, tmp_path):
    with pytest.raises(UsageError, match=r'held-out/vocals: no takes.*render_bank'):
        Bank(bank.folder.parent, 'held-out', STEMS, RATE)
    with pytest.raises(UsageError, match='takes have 44100 Hz, the model 16000 Hz'):
        Bank(bank.folder.parent, 'train', STEMS, 16000)
