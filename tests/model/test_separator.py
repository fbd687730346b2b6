from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stembeam.model.chunks import ChunkGrid
from stembeam.model.separator import Separator, load_chunk_separator
from stembeam.model.store import resolve_model

from ..conftest import TINY, noise, write_model


@pytest.mark.parametrize('samples', [1, 100, 44100, 64 * 1024 - 4096, 64 * 1024 - 4095, 200_000])
def test_stems_have_the_inputs_length_and_add_up_to_it(tiny_model: Path, samples: int) -> None:
    mixture = noise(5)[:samples]
    stems = Separator.load(tiny_model).separate(mixture, 44100)
    assert list(stems) == ['vocals', 'drums', 'other']
    assert {stem.shape for stem in stems.values()} == {(samples, 2)}
    assert {stem.dtype for stem in stems.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(sum(stems.values()), mixture, atol=1e-5)


def test_stems_differ(tiny_model: Path) -> None:
    stems = Separator.load(tiny_model).separate(noise(3), 44100)
    assert np.abs(stems['vocals'] - stems['drums']).max() > 0.01


@pytest.mark.parametrize('cuts', [[3], [1, 2, 4], [1, 2, 3, 4, 5]])
def test_runs_of_chunks_add_up_to_the_whole_track_bit_for_bit(tiny_model: Path, cuts: list[int]) -> None:
    separator = load_chunk_separator(resolve_model(tiny_model))
    grid = separator.grid
    mixture = noise(7)
    chunks = grid.num_chunks(len(mixture))
    padded = np.zeros((grid.samples_of(chunks), 2), np.float32)
    padded[grid.lead : grid.lead + len(mixture)] = mixture
    (whole,) = separator.separate_runs([padded])
    summed = np.zeros_like(whole)
    for first, last in zip([0, *cuts], [*cuts, chunks], strict=True):
        span = slice(first * grid.hop, last * grid.hop + grid.tail)
        (part,) = separator.separate_runs([padded[span]])
        summed[:, span] += part
    np.testing.assert_array_equal(summed, whole)


@pytest.mark.parametrize('batch_size', [2, 8])
def test_batches_do_not_change_the_stems(tiny_model: Path, batch_size: int) -> None:
    mixture = noise(8)
    one = Separator.load(tiny_model).separate(mixture, 44100)
    many = Separator.load(tiny_model, batch_size=batch_size).separate(mixture, 44100)
    for name, stem in one.items():
        np.testing.assert_allclose(many[name], stem, atol=1e-6)


def test_mono_is_repeated_and_further_channels_are_left_out(tiny_model: Path) -> None:
    separator = Separator.load(tiny_model)
    wave = noise(2, channels=1)
    mono = separator.separate(wave[:, 0], 44100)['vocals']
    np.testing.assert_array_equal(mono, separator.separate(np.repeat(wave, 2, axis=1), 44100)['vocals'])
    six = noise(2, channels=6)
    np.testing.assert_array_equal(
        separator.separate(six, 44100)['vocals'], separator.separate(six[:, :2].copy(), 44100)['vocals']
    )


def test_other_rates_are_resampled_to_the_models(tiny_model: Path) -> None:
    stems = Separator.load(tiny_model).separate(noise(2, sample_rate=8000), 8000)
    assert stems['vocals'].shape == (88200, 2)


@pytest.mark.parametrize(
    ('waveform', 'named'),
    [
        (np.zeros((0, 2), np.float32), 'with samples'),
        (np.zeros((2, 2, 2), np.float32), 'samples, channels'),
        (np.zeros((100, 2), np.int16), 'int16'),
        (np.full((100, 2), np.nan, np.float32), 'NaN'),
    ],
)
def test_what_is_no_audio_is_refused(tiny_model: Path, waveform: np.ndarray, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Separator.load(tiny_model).separate(waveform, 44100)


@pytest.mark.parametrize(
    'change',
    [
        {'model_type': 'unet.softmax_unet'},
        {'channels': 1},
        {'bins': 64},
        {'bins': 2048, 'mask_extension': 'zeros'},
        {'conv_activation': 'ReLU', 'deconv_activation': 'LeakyReLU'},
        {'instruments': ('a', 'b', 'c', 'd', 'e', 'f')},
        {'separation_exponent': 1.0},
        {'frame_length': 2048, 'frame_step': 512},
    ],
)
def test_every_member_of_the_family_separates(tmp_path: Path, change: dict[str, object]) -> None:
    config = dataclasses.replace(TINY, **change)  # type: ignore[arg-type]
    mixture = noise(2, channels=config.channels)
    stems = Separator.load(write_model(tmp_path / 'model', config)).separate(mixture, 44100)
    assert list(stems) == list(config.instruments)
    if config.mask_extension == 'average':
        np.testing.assert_allclose(sum(stems.values()), mixture, atol=1e-5)
    assert all(np.isfinite(stem).all() and np.abs(stem).max() > 1e-4 for stem in stems.values())


def test_chunks_cover_the_track_and_no_more() -> None:
    grid = ChunkGrid.of(TINY)
    assert grid.num_chunks(1) == 1
    assert grid.num_chunks(grid.hop - grid.lead) == 1
    assert grid.num_chunks(grid.hop - grid.lead + 1) == 2
    assert grid.start(0) == -4096
    assert grid.start(grid.num_chunks(123_456)) >= 123_456
