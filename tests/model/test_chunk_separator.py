"""Runs of chunks by every method: what comes out, that segments make the whole, and that memory does not grow."""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stembeam.model.backend import compile_function
from stembeam.model.chunk_separator import ChunkSeparator
from stembeam.model.configuration import ModelConfig
from stembeam.model.errors import RunError, UsageError
from stembeam.model.method import Method
from stembeam.model.separator import Separator
from stembeam.model.signal_path import separate_chunks
from stembeam.model.unet import build_unet
from stembeam.model.wiener_records import WienerFilter

from ..conftest import TINY, noise, random_weights, write_model
from .reference import shares, spectrum_of, wave_of

ZEROS = dataclasses.replace(TINY, mask_extension='zeros')


@functools.cache
def _separator(config: ModelConfig, batch_size: int, method: Method) -> ChunkSeparator:
    """Every one costs seconds to compile, so tests share them."""
    return ChunkSeparator(config, random_weights(config), batch_size, method)


def separator_of(config: ModelConfig = TINY, batch_size: int = 1, **method: Any) -> ChunkSeparator:
    return _separator(config, batch_size, Method(**method))


def run_of(separator: ChunkSeparator, mixture: np.ndarray) -> np.ndarray:
    grid = separator.grid
    run = np.zeros((grid.samples_of(grid.num_chunks(len(mixture))), mixture.shape[1]), np.float32)
    run[grid.lead : grid.lead + len(mixture)] = mixture
    return run


def stems_of(mixture: np.ndarray, config: ModelConfig = TINY, **method: Any) -> dict[str, np.ndarray]:
    """The outputs of a whole track, cut to its samples."""
    separator = separator_of(config, **method)
    (stems,) = separator.separate_runs([run_of(separator, mixture)])
    lead = separator.grid.lead
    return {name: stem[lead : lead + len(mixture)] for name, stem in zip(separator.outputs, stems, strict=True)}


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def segments_of(run: np.ndarray, separator: ChunkSeparator, cuts: list[int]) -> list[tuple[slice, np.ndarray]]:
    grid = separator.grid
    chunks = (len(run) - grid.tail) // grid.hop
    spans = [
        slice(first * grid.hop, last * grid.hop + grid.tail)
        for first, last in zip([0, *cuts], [*cuts, chunks], strict=True)
    ]
    return [(span, run[span]) for span in spans]


def filter_of(separator: ChunkSeparator, segments: list[np.ndarray]) -> WienerFilter:
    """A track's filter from its segments, as a pipeline makes it."""
    so_far: WienerFilter | None = None
    for _ in range(separator.method.mwf_iterations):
        sums = [separator.wiener_sums(segment, so_far) for segment in segments]
        total = sums[0]
        for other in sums[1:]:
            total = total.plus(other)
        so_far = WienerFilter.from_sums(total, so_far)
    assert so_far is not None
    return so_far


# Chosen stems, residual


@pytest.mark.parametrize('mwf_iterations', [0, 1])
def test_chosen_stems_are_the_same_as_among_all_and_come_in_the_models_order(mwf_iterations: int) -> None:
    mixture = noise(4)
    everything = stems_of(mixture, mwf_iterations=mwf_iterations)
    some = stems_of(mixture, mwf_iterations=mwf_iterations, stems=('other', 'vocals'))
    assert list(some) == ['vocals', 'other']
    for name, stem in some.items():
        np.testing.assert_allclose(stem, everything[name], atol=1e-6)


@pytest.mark.parametrize(
    'method',
    [
        {'stems': ('drums', 'other'), 'masks': 'direct'},
        {'stems': ('vocals',), 'mwf_iterations': 1},
        {'stems': ('vocals', 'drums'), 'overlap': 0.25, 'mwf_iterations': 1, 'high_band': 'octave'},
    ],
)
def test_the_residual_is_the_mixture_minus_the_chosen_stems(method: dict[str, Any]) -> None:
    mixture = noise(4)
    plain = stems_of(mixture, ZEROS, **method)
    stems = stems_of(mixture, ZEROS, **method, residual=True)
    assert list(stems) == [*plain, 'residual']
    np.testing.assert_allclose(stems['residual'], mixture - sum(plain.values()), atol=2e-6)
    assert level(stems['residual']) > 0.01


# Masks


def test_direct_masks_compute_the_asked_network_alone() -> None:
    """Networks of other stems with NaN for weights, or none at all, would show."""
    weights = random_weights(TINY)
    drums = build_unet(TINY, ('drums',))
    assert drums.count_params() * 3 == build_unet(TINY).count_params()
    own = {f'{layer.name}/{variable.name}' for layer in drums.layers for variable in layer.weights}
    assert 'conv2d_7/kernel' in own
    assert 'conv2d/kernel' not in own
    broken = {name: value if name in own else np.full_like(value, np.nan) for name, value in weights.items()}
    method = Method(stems=('drums',), masks='direct')
    separator = ChunkSeparator(TINY, broken, method=method)
    run = run_of(separator, noise(3))
    (found,) = separator.separate_runs([run])
    (expected,) = ChunkSeparator(TINY, weights, method=method).separate_runs([run])
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, expected)


def test_a_direct_mask_is_the_networks_own_share_of_the_mixture() -> None:
    separator = separator_of(ZEROS, stems=('other',), masks='direct')
    wave = noise(2)[: separator.grid.span]
    (found,) = separator.separate_runs([wave])
    spectrum = spectrum_of(ZEROS, wave)
    share = shares(ZEROS, random_weights(ZEROS), np.abs(spectrum[:, : ZEROS.bins]))[2]
    spectrum[:, : ZEROS.bins] *= share
    spectrum[:, ZEROS.bins :] = 0
    np.testing.assert_allclose(found[0], wave_of(ZEROS, spectrum), atol=2e-6)


@pytest.mark.parametrize('method', [{'high_band': 'average', 'overlap': 0.1}, {'high_band': 'octave'}])
def test_stems_with_a_high_band_add_up_to_the_mixture(method: dict[str, Any]) -> None:
    mixture = noise(4)
    stems = stems_of(mixture, ZEROS, **method)
    np.testing.assert_allclose(sum(stems.values()), mixture, atol=2e-6)
    without = stems_of(mixture, ZEROS)
    # Half of white noise lies above the bins that the networks see.
    assert level(np.sum(list(without.values()), axis=0)) == pytest.approx(level(mixture) / np.sqrt(2), rel=0.01)


def test_the_wiener_filter_has_a_high_band_by_option() -> None:
    mixture, high_band = noise(4), 'octave'
    seen = stems_of(mixture, ZEROS, mwf_iterations=1)
    full = stems_of(mixture, ZEROS, mwf_iterations=1, high_band=high_band)
    bands = stems_of(mixture, ZEROS, high_band=high_band)
    masked = stems_of(mixture, ZEROS)
    for name in seen:
        np.testing.assert_allclose(full[name] - seen[name], bands[name] - masked[name], atol=1e-5)


# Overlap


@pytest.mark.parametrize('overlap', [0.1, 0.4])
def test_overlapping_chunks_change_the_stems_little_and_leave_none_of_the_mixture_out(overlap: float) -> None:
    mixture = noise(6)
    plain, faded = stems_of(mixture), stems_of(mixture, overlap=overlap)
    np.testing.assert_allclose(sum(faded.values()), mixture, atol=2e-6)
    for name, stem in plain.items():
        assert level(faded[name] - stem) < 0.5 * level(stem)


def _jumping_stem(overlap: float, chunks: int = 4) -> tuple[np.ndarray, int]:
    """A stem that networks give all of the mixture in every second chunk and nothing in the others.

    Returns:
      Its level relative to the mixture's in blocks of frame_step samples, and the blocks from chunk to chunk.
    """
    config = dataclasses.replace(TINY, instruments=('stem', 'rest'))
    method = Method(overlap=overlap)
    separator = ChunkSeparator(config, random_weights(config), method=method)
    grid = separator.grid
    mixture = noise(20)[: grid.samples_of(chunks)]
    total = np.zeros_like(mixture)
    unused = build_unet(config)
    for chunk in range(chunks):
        gains = (1.0, 0.0) if chunk % 2 else (0.0, 1.0)
        function = compile_function(
            unused, lambda _, waves, g=gains: separate_chunks(lambda x: [x * g[0], x * g[1]], waves, config, method)
        )
        span = slice(chunk * grid.hop, chunk * grid.hop + grid.span)
        total[span] += function(mixture[np.newaxis, span])[0, 0]
    blocks = len(mixture) // grid.frame_step

    def levels(samples: np.ndarray) -> np.ndarray:
        return np.sqrt(np.mean(samples[: blocks * grid.frame_step].reshape(blocks, -1) ** 2, axis=1))

    return levels(total) / levels(mixture), grid.hop // grid.frame_step


def test_where_masks_jump_at_a_chunks_border_overlap_makes_no_seam() -> None:
    hard, hop = _jumping_stem(0.0)
    assert np.abs(np.diff(hard[hop - 8 : hop + 8])).max() > 0.3  # all or nothing within three frames
    faded, hop = _jumping_stem(0.25)
    inside = faded[hop - 8 : 3 * hop + 8]  # two borders up, one down
    assert np.abs(np.diff(inside)).max() < 0.09  # 1/17 per frame, and what noise adds
    overlap = 16
    middle = faded[hop + 2 : hop + overlap + 2]
    np.testing.assert_allclose(middle, np.arange(1, overlap + 1) / (overlap + 1), atol=0.08)


# Segments, batches and the Wiener filter


@pytest.mark.parametrize('method', [{'overlap': 0.1}, {'masks': 'direct', 'residual': True, 'high_band': 'octave'}])
def test_segments_add_up_to_the_whole_bit_for_bit(method: dict[str, Any]) -> None:
    separator = separator_of(**method)
    run = run_of(separator, noise(7))
    (whole,) = separator.separate_runs([run])
    summed = np.zeros_like(whole)
    for span, segment in segments_of(run, separator, [1, 3]):
        summed[:, span] += separator.separate_runs([segment])[0]
    np.testing.assert_array_equal(summed, whole)


@pytest.mark.parametrize(('iterations', 'overlap'), [(1, 0.0), (3, 0.0), (2, 0.25)])
def test_segments_under_the_filter_of_their_track_add_up_to_the_whole(iterations: int, overlap: float) -> None:
    separator = separator_of(mwf_iterations=iterations, overlap=overlap)
    run = run_of(separator, noise(7, level=0.3))
    (whole,) = separator.separate_runs([run])
    segments = segments_of(run, separator, [1, 3])
    found = filter_of(separator, [segment for _, segment in segments])
    assert found.iterations == iterations
    assert found.scale > 1
    summed = np.zeros_like(whole)
    parts = separator.separate_runs([segment for _, segment in segments], filters=[found] * len(segments))
    for (span, _), part in zip(segments, parts, strict=True):
        summed[:, span] += part
    np.testing.assert_allclose(summed, whole, atol=1e-6)
    assert level(whole) > 0.01


def test_runs_of_several_tracks_are_filtered_each_by_itself() -> None:
    alone = separator_of(mwf_iterations=2)
    runs = [run_of(alone, noise(seconds, seed=seed)) for seed, seconds in enumerate((5, 1, 3))]
    batched = separator_of(mwf_iterations=2, batch_size=4).separate_runs(runs)
    for run, stems in zip(runs, batched, strict=True):
        np.testing.assert_allclose(stems, alone.separate_runs([run])[0], atol=1e-6)


@pytest.mark.parametrize('change', [{'channels': 1}, {'model_type': 'unet.softmax_unet', 'bins': 1536}])
def test_every_kind_of_model_can_be_filtered(change: dict[str, Any]) -> None:
    config = dataclasses.replace(TINY, **change)
    mixture = noise(3, channels=config.channels)
    stems = stems_of(mixture, config, mwf_iterations=2)
    masked = stems_of(mixture, config, high_band='zeros')
    # The filter shares out what the networks see as masks do, but for its regularisation.
    assert level(np.sum([*stems.values(), *(-stem for stem in masked.values())], axis=0)) < 0.05 * level(mixture)


def test_silence_stays_silence_under_the_filter() -> None:
    for stem in stems_of(np.zeros((100_000, 2), np.float32), mwf_iterations=2).values():
        np.testing.assert_array_equal(stem, 0)


def test_filters_that_do_not_fit_are_refused() -> None:
    separator = separator_of(mwf_iterations=2)
    run = run_of(separator, noise(1))
    first = WienerFilter.from_sums(separator.wiener_sums(run))
    with pytest.raises(ValueError, match=r'filters of \[1\] iterations for 1 runs: one of 2 iterations'):
        separator.separate_runs([run], filters=[first])
    with pytest.raises(ValueError, match=r'filters of \[\] iterations for 1 runs'):
        separator.separate_runs([run], filters=[])


def test_a_method_that_the_model_cannot_do_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'model', TINY)
    with pytest.raises(UsageError, match="stems names 'piano'"):
        Separator.load(folder, stems=['piano'])
    with pytest.raises(UsageError, match='give a list of names'):
        Separator.load(folder, stems='vocals')
    loaded = Separator.load(folder, mwf=True, stems=['vocals'], residual=True, overlap=0.1)
    assert loaded.outputs == ('vocals', 'residual')
    assert loaded.chunks.method == Method(stems=('vocals',), mwf_iterations=1, residual=True, overlap=0.1)
    assert list(loaded.separate(noise(1), 44100)) == ['vocals', 'residual']


# Memory


def test_memory_under_the_filter_does_not_grow_with_the_track() -> None:
    """Beyond what goes in and comes out; the estimates of one chunk of this model have 1.6 MB."""
    separator = separator_of(mwf_iterations=1)
    peaks = []
    for chunks in (2, 3, 24):
        run = noise(40)[: separator.grid.samples_of(chunks)]
        tracemalloc.start()
        separator.separate_runs([run])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        peaks.append(peak - 3 * run.nbytes)
    assert abs(peaks[2] - peaks[1]) < 1e6  # the first run compiled


def test_a_full_disk_is_named_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def flush(self) -> None:
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    file = tempfile.TemporaryFile()  # noqa: SIM115
    monkeypatch.setattr(tempfile, 'TemporaryFile', Full)
    separator = separator_of(mwf_iterations=1)
    with pytest.raises(RunError, match=f'no space in {tmp_path} for the estimates .*: free some, or set TMPDIR'):
        separator.separate_runs([run_of(separator, noise(1))])
    assert file.closed
    assert os.listdir(tmp_path) == []
