"""STFT, masks and inverse STFT of chunks on the CPU: NumPy and SciPy, in blocks of frames that stay in the cache.

The same functions as in signal_path.py, where one graph holds everything (measured on a core: 52 ms a chunk of four
stems here, 91 ms there). The one idea to know: channels lie innermost everywhere, as in the samples and in what the
networks see, so nothing is ever transposed, and frames add up right where the stems are wanted.

SciPy's transforms compute in single precision, several rows per instruction, and let other threads run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.fft

from .chunks import frame_weights
from .configuration import ModelConfig
from .method import MASK_EPSILON, Method
from .windows import hann, overlap_gain

# Samples far beyond full scale overflow here, as they do in the networks without a word. Whoever takes the stems looks
# for NaN and infinity and says of which track (transforms/writing.py, measuring.py): a warning could not.
LET_OVERFLOW: Mapping[str, Any] = {'over': 'ignore', 'invalid': 'ignore'}
# Of the frames that are transformed at a time: in the second-level cache, or nearly, and threads seldom meet.
BLOCK_BYTES = 2**21


class HostSignal:
    """The signal path of a model and a method; may be called from several threads at once."""

    def __init__(self, config: ModelConfig, method: Method) -> None:
        """A method without a Wiener filter, or of a filter the analysis alone."""
        self.config = config
        self.spectrum_bins = config.frame_length // 2 + 1
        window = np.repeat(hann(config.frame_length)[:, np.newaxis], config.channels, axis=1)
        self._analysis = window
        self._synthesis = window / np.float32(overlap_gain(config.frame_length, config.frame_step))
        networks = method.networks(config)
        self._chosen = [networks.index(name) for name in method.chosen(config)]  # among the estimates
        self._is_direct = method.masks == 'direct'
        self._has_residual = method.residual
        self._extension = method.mask_extension(config)
        overlap = method.overlap_frames(config)
        self._weights = frame_weights(config.frames, overlap)[:, np.newaxis, np.newaxis] if overlap else None

    def _blocks(self) -> Iterator[slice]:
        size = max(1, BLOCK_BYTES // self._analysis.nbytes)
        for first in range(0, self.config.frames, size):
            yield slice(first, min(first + size, self.config.frames))

    def analyse(self, wave: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
        """The spectra of a chunk.

        Args:
          wave: float32 (span, channels).
          magnitude: float32 (T, F, channels): filled with what the networks see.

        Returns:
          complex64 (T, all bins, channels).
        """
        config = self.config
        windows = np.lib.stride_tricks.sliding_window_view(wave, config.frame_length, axis=0)
        frames = windows[:: config.frame_step].transpose(0, 2, 1)  # a view: (T, frame_length, channels)
        spectra = np.empty((config.frames, self.spectrum_bins, config.channels), np.complex64)
        with np.errstate(**LET_OVERFLOW):
            for rows in self._blocks():
                spectra[rows] = scipy.fft.rfft(frames[rows] * self._analysis, axis=1, overwrite_x=True)
                np.absolute(spectra[rows, : config.bins], out=magnitude[rows])
        return spectra

    def add_stems(self, spectra: np.ndarray, estimates: Sequence[np.ndarray], stems: np.ndarray) -> None:
        """Add what a chunk contributes to the method's outputs.

        Args:
          spectra: of the mixture, from `analyse`.
          estimates: float32 (T, F, channels) per network of the method: magnitudes; under direct masks shares.
          stems: float32 (outputs, span, channels), every output contiguous: added to.
        """
        scratch = np.zeros_like(spectra[next(self._blocks())])
        with np.errstate(**LET_OVERFLOW):
            for rows in self._blocks():
                mixture = spectra[rows] if self._weights is None else spectra[rows] * self._weights[rows]
                stem = scratch[: len(mixture)]
                rest = mixture.copy() if self._has_residual else None
                for output, mask in enumerate(self._masks([estimate[rows] for estimate in estimates])):
                    self._masked(mixture, mask, stem)
                    if rest is not None:
                        rest -= stem
                    self._add_frames(stem, stems[output], rows)
                if rest is not None:
                    self._add_frames(rest, stems[-1], rows)

    def _masks(self, estimates: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """The masks of the chosen stems for the bins that the networks see, one after the other: see `masks.py`."""
        if self._is_direct:
            yield from estimates
            return
        exponent = self.config.separation_exponent
        powers = [np.square(e) if exponent == 2 else np.power(e, np.float32(exponent)) for e in estimates]
        total = powers[0] + np.float32(MASK_EPSILON)
        for power in powers[1:]:
            total += power
        inverse = np.divide(np.float32(1), total, out=total)
        for number in self._chosen:
            mask = powers[number]
            mask += np.float32(MASK_EPSILON / len(powers))
            mask *= inverse
            yield mask

    def _masked(self, mixture: np.ndarray, mask: np.ndarray, stem: np.ndarray) -> None:
        """Fill `stem`, whose bins above those of the mask are zeros at first."""
        seen = self.config.bins
        np.multiply(mixture[:, :seen], mask, out=stem[:, :seen])
        if self._extension != 'zeros':
            source = mask[:, seen // 2 :] if self._extension == 'octave' else mask
            mean = np.full(source.shape[1], 1 / source.shape[1], np.float32) @ source  # (rows, channels)
            np.multiply(mixture[:, seen:], mean[:, np.newaxis], out=stem[:, seen:])

    def _add_frames(self, spectra: np.ndarray, wave: np.ndarray, rows: slice) -> None:
        """Windowed overlap-add of some frames to the samples of the chunk, (span, channels)."""
        length, step = self.config.frame_length, self.config.frame_step
        frames = scipy.fft.irfft(spectra, length, axis=1)
        frames *= self._synthesis
        count, overlap = len(frames), length // step
        pieces = frames.reshape(count, overlap, step, -1)
        hops = wave[rows.start * step : (rows.stop - 1 + overlap) * step].reshape(count + overlap - 1, step, -1)
        for shift in range(overlap):
            hops[shift : shift + count] += pieces[:, shift]
