"""BSSEval version 4: how far an estimate is from its reference, taken apart into filtering, interference and artifacts.

Stands on numpy and scipy. The same scores as museval 0.4.1 (`museval.metrics.bss_eval`), from which the definitions are
taken, in a fifteenth of its time and, beyond the samples, a tenth of its memory (four stems of four minutes: 11 s of
one core and 0.4 GB). The one idea: all that is needed of the whole track are correlations over 512 lags, summed up
block by block, and every window is transformed once for all filters.

Source: Vincent, Gribonval, Fevotte, "Performance measurement in blind audio source separation", IEEE TASLP 14(4), 2006;
version 4 in Stoeter, Liutkus, Ito, "The 2018 signal separation evaluation campaign", LVA/ICA 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.fft
import scipy.linalg

FILTER_TAPS = 512
METRICS = ('SDR', 'SIR', 'ISR', 'SAR')  # in the order of the result's first axis
_BLOCK_FFT = 8192  # samples in a transform of the correlations
_BLOCKS = 32  # transforms that are multiplied at once
_LEAST_SHARE = 1e-12  # of its energy, added to every delayed channel: it moves scores by less than 1e-5 dB


class BssEval:
    """The references of a track, ready to score estimates of them.

    Estimates are projected onto all that filters of 512 taps can make of the references; the filters are fitted to the
    whole track, the scores are taken window by window.
    """

    def __init__(self, references: Sequence[np.ndarray]) -> None:
        """Correlate the references with each other.

        Args:
          references: (samples, channels) each, of the same shape, none of them silent from start to end.
        """
        self._references = list(references)
        self.num_samples, self._channels = references[0].shape
        self._rows = [reference[:, c] for reference in references for c in range(self._channels)]
        lags = _correlations(self._rows, self._rows)
        size = len(self._rows) * FILTER_TAPS
        gram = np.empty((len(self._rows), FILTER_TAPS, len(self._rows), FILTER_TAPS))
        for i in range(len(self._rows)):
            for j in range(len(self._rows)):
                # Element (a, b): row i delayed by a times row j delayed by b, which is their correlation at b - a.
                centre = FILTER_TAPS - 1
                gram[i, :, j, :] = scipy.linalg.toeplitz(lags[i, j, centre::-1], lags[i, j, centre:])
        self._all = _Solver(gram.reshape(size, size))
        own = self._channels * FILTER_TAPS
        self._alone = [
            _Solver(self._all.matrix[i * own : (i + 1) * own, i * own : (i + 1) * own]) for i in range(len(references))
        ]

    def scores(self, estimates: Sequence[np.ndarray], window: int, hop: int) -> np.ndarray:
        """Score one estimate for each reference.

        Args:
          estimates: like the references and in their order; the same array may come more than once.
          window: samples that a score looks at; a track shorter than that is one window.
          hop: samples from window to window; what is left at the end of the track is in none.

        Returns:
          float64 (metrics, references, windows) in dB: SDR, SIR, ISR, SAR. NaN in windows in which a reference or an
          estimate is silent (all its samples add up to 0 over the channels), infinite where nothing is wrong.
        """
        estimates = list(estimates)  # rows of an array would have no identity of their own
        starts = window_starts(self.num_samples, window, hop)
        length = min(window, self.num_samples)
        size = scipy.fft.next_fast_len(length + FILTER_TAPS - 1, real=True)
        filters = self._filters(estimates, size)
        result = np.full((len(METRICS), len(estimates), len(starts)), np.nan)
        for number, start in enumerate(starts):
            part = slice(start, start + length)
            if any(is_silent(signal[part]) for signal in (*self._references, *estimates)):
                continue
            spectra = scipy.fft.rfft(np.stack([row[part] for row in self._rows]).astype(np.float64), size)
            for index, (reference, estimate) in enumerate(zip(self._references, estimates, strict=True)):
                all_of_it, alone = filters[index]
                own = slice(index * self._channels, (index + 1) * self._channels)
                padded = np.zeros((2, self._channels, length + FILTER_TAPS - 1))
                padded[0, :, :length], padded[1, :, :length] = reference[part].T, estimate[part].T
                filtered = scipy.fft.irfft(np.einsum('if,icf->cf', spectra[own], alone), size)
                projected = scipy.fft.irfft(np.einsum('if,icf->cf', spectra, all_of_it), size)
                result[:, index, number] = _ratios(
                    padded[0], padded[1], filtered[:, : padded.shape[2]], projected[:, : padded.shape[2]]
                )
        return result

    def _filters(self, estimates: Sequence[np.ndarray], size: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each estimate the spectra (rows, channels, bins) of its filters, from all references and from its own."""
        distinct = {id(estimate): estimate for estimate in estimates}
        columns = [estimate[:, c] for estimate in distinct.values() for c in range(self._channels)]
        # Row i delayed by a, times the estimate: the correlation at -a.
        lags = _correlations(self._rows, columns)[:, :, FILTER_TAPS - 1 :: -1]
        sides = np.swapaxes(lags, 1, 2).reshape(len(self._rows) * FILTER_TAPS, len(columns))
        shape = (len(self._rows), FILTER_TAPS, len(distinct), self._channels)
        solved = np.moveaxis(self._all.solve(sides).reshape(shape), 1, -1)  # (rows, estimates, channels, taps)
        spectra = {key: scipy.fft.rfft(solved[:, place], size) for place, key in enumerate(distinct)}
        places = {key: place for place, key in enumerate(distinct)}
        found = []
        for index, estimate in enumerate(estimates):
            place = places[id(estimate)] * self._channels
            own = slice(index * self._channels * FILTER_TAPS, (index + 1) * self._channels * FILTER_TAPS)
            alone = self._alone[index].solve(sides[own, place : place + self._channels])
            alone = np.moveaxis(alone.reshape(self._channels, FILTER_TAPS, self._channels), 1, -1)
            found.append((spectra[id(estimate)], scipy.fft.rfft(alone, size)))
        return found


def window_starts(num_samples: int, window: int, hop: int) -> range:
    """First samples of the windows of a track."""
    count = (num_samples - window + hop) // hop if window < num_samples else 1
    return range(0, count * hop, hop)


class _Solver:
    """A symmetric system of equations, factorised once."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix
        # Filters of channels that are copies of each other are not determined, but what they make of these is. museval
        # leaves the choice to rounding errors, which may end in nonsense; here it goes to the smallest filters.
        regular = matrix + np.diag(_LEAST_SHARE * np.diagonal(matrix))
        self._factors = scipy.linalg.lu_factor(regular, overwrite_a=True, check_finite=False)

    def solve(self, sides: np.ndarray) -> np.ndarray:
        """The solution for each column of `sides`."""
        return scipy.linalg.lu_solve(self._factors, sides, check_finite=False)


def _correlations(rows: Sequence[np.ndarray], columns: Sequence[np.ndarray]) -> np.ndarray:
    """sum over n of row[n + k] * column[n], for lags k from -511 to 511: float64 (rows, columns, 1023)."""
    margin = FILTER_TAPS - 1
    total = np.zeros((_BLOCK_FFT // 2 + 1, len(rows), len(columns)), np.complex128)
    for wide, narrow in _blocks(rows, columns, _BLOCK_FFT - 2 * margin, margin):
        left = scipy.fft.rfft(wide, _BLOCK_FFT).transpose(2, 0, 1)  # (bins, rows, blocks)
        right = scipy.fft.rfft(narrow, _BLOCK_FFT).transpose(2, 1, 0)  # (bins, blocks, columns)
        total += left @ right.conj()
    return scipy.fft.irfft(total.transpose(1, 2, 0), _BLOCK_FFT)[:, :, : 2 * margin + 1]


def _blocks(
    rows: Sequence[np.ndarray], columns: Sequence[np.ndarray], length: int, margin: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of the columns, and of the rows with a margin on both sides: float64 (signals, blocks, samples) each."""
    num_samples = len(rows[0])
    for first in range(0, num_samples, _BLOCKS * length):
        span = min(_BLOCKS, -(-(num_samples - first) // length)) * length
        narrow = np.zeros((len(columns), span))
        there = min(span, num_samples - first)
        narrow[:, :there] = [column[first : first + there] for column in columns]
        wide = np.zeros((len(rows), span + 2 * margin))
        begin, end = max(0, first - margin), min(num_samples, first + span + margin)
        offset = begin - (first - margin)
        wide[:, offset : offset + end - begin] = [row[begin:end] for row in rows]
        views = np.lib.stride_tricks.sliding_window_view(wide, length + 2 * margin, axis=1)[:, ::length]
        yield views, narrow.reshape(len(columns), -1, length)


def is_silent(signal: np.ndarray) -> bool:
    """Whether BSSEval takes a signal (samples, channels) for silent: its channels add up to zero everywhere."""
    return not signal.sum(axis=1).any()


def _ratios(reference: np.ndarray, estimate: np.ndarray, filtered: np.ndarray, projected: np.ndarray) -> list[float]:
    """SDR, SIR, ISR and SAR of a window; all arrays are (channels, samples).

    Args:
      filtered: what the filters make of the reference alone.
      projected: what they make of all references.
    """
    spatial = filtered - reference
    interference = projected - reference - spatial
    artifacts = estimate - reference - spatial - interference
    energy = _energy(reference)
    return [
        _decibels(energy, _energy(spatial + interference + artifacts)),
        _decibels(_energy(reference + spatial), _energy(interference)),
        _decibels(energy, _energy(spatial)),
        _decibels(_energy(reference + spatial + interference), _energy(artifacts)),
    ]


def _energy(signal: np.ndarray) -> float:
    return float(np.sum(signal**2))


def _decibels(wanted: float, unwanted: float) -> float:
    if unwanted == 0:
        return np.inf
    return 10 * float(np.log10(wanted / unwanted)) if wanted > 0 else -np.inf
