"""The frame features of a track in two steps: what one pass over the audio can know, then what needs the whole track.

`FrameAnalysis.add` turns groups of samples into intermediate rows; `finish` turns those into the 52 columns of
FRAME_FEATURES.  The one idea to know: librosa clips decibels at 80 dB under the maximum of the track, so mel bands and
contrast are kept unclipped until the maximum is known.  Most of the first step are functions of single frames, the
spectral rows; a device that has the samples anyway may have computed some of them before (graph.py).
"""

from __future__ import annotations

import numpy as np

from . import spectra
from .columns import (
    ACTIVE_RMS_DBFS,
    FRAME_FEATURES,
    FRAME_LENGTH,
    HOP_LENGTH,
    NUM_CHROMA,
    NUM_CONTRAST,
    NUM_MEL_BANDS,
    NUM_MFCC,
    NUM_TONNETZ,
)
from .filters import matmul_rows, mfcc_basis
from .spool import RowSpool

Array = np.ndarray

_READ_ROWS = 512
_MINIMUM_DB = float(spectra.decibels(np.zeros(1, np.float32))[0])
_ONSET_DELAY = 1  # frames: librosa moves onset strength by n_fft // (2 * hop_length)
_ZERO_THRESHOLD = np.float32(1e-10)  # librosa.zero_crossings: what is smaller counts as +0


def _columns(*widths: int, first: int = 0) -> list[slice]:
    ends = first + np.cumsum(widths)
    return [slice(int(end) - width, int(end)) for end, width in zip(ends, widths, strict=True)]


# Intermediate rows: rms and zero crossing rate, which look across frames; then the spectral rows, functions of single
# frames: four final scalars, contrast peaks and valleys (magnitudes), chroma (final), mel bands (dB).
_RMS, _CROSSINGS = 0, 1
_SPECTRAL = 2
_CENTROID, _BANDWIDTH, _ROLLOFF, _FLATNESS = range(4)
_PEAKS, _VALLEYS, _CHROMA, _MEL = _columns(NUM_CONTRAST, NUM_CONTRAST, NUM_CHROMA, NUM_MEL_BANDS, first=4)
NUM_SPECTRAL = _MEL.stop
# Final rows, as FRAME_FEATURES names them.
_OUT_SCALARS, _OUT_CONTRAST, _OUT_MFCC, _OUT_CHROMA, _OUT_TONNETZ, _OUT_ONSET = _columns(
    6, NUM_CONTRAST, NUM_MFCC, NUM_CHROMA, NUM_TONNETZ, 1
)


def spectral_rows(frames: Array, sample_rate: int, out: Array | None = None) -> Array:
    """What the spectrum of each frame by itself tells.

    Args:
      frames: (n, 2048), float32, mono, not windowed.
      sample_rate: Hz.
      out: where the rows go, (n, NUM_SPECTRAL) float32; None: into a new array.

    Returns:
      (n, NUM_SPECTRAL), float32: centroid, bandwidth, rolloff (Hz) and flatness; the mean magnitude of the strongest 2%
      of the bins of every contrast band, then of the weakest; chroma; mel bands in dB, not clipped yet.
    """
    magnitude = spectra.magnitudes(frames)
    power = magnitude * magnitude
    rows = np.empty((len(magnitude), NUM_SPECTRAL), np.float32) if out is None else out
    moments = spectra.block_moments(magnitude)
    rows[:, _CENTROID], rows[:, _BANDWIDTH] = spectra.centroid_and_bandwidth(moments, sample_rate)
    rows[:, _ROLLOFF] = spectra.rolloff(magnitude, moments[0], sample_rate)
    rows[:, _PEAKS], rows[:, _VALLEYS] = spectra.contrast_extremes(magnitude, sample_rate)
    rows[:, _CHROMA] = spectra.chroma(power, sample_rate)
    rows[:, _MEL] = spectra.mel_decibels(power, sample_rate)
    rows[:, _FLATNESS] = spectra.flatness(power)
    return rows


def is_unknown(rows: Array) -> Array:
    """Which spectral rows are to be computed still, (rows,) bool: those without a rolloff, which every frame has."""
    return np.isnan(rows[:, _ROLLOFF])


class FrameAnalysis:
    """Frame features of one mono signal, fed in groups of whole hops."""

    def __init__(self, sample_rate: int, known: Array | None = None) -> None:
        """An analysis that has seen no samples; `known` are spectral rows of the first frames, as far as known."""
        self._sample_rate = sample_rate
        self._known = known
        self._rows = RowSpool(_SPECTRAL + NUM_SPECTRAL)
        self._last_energy = 0.0  # of the hop before the group
        self._last_crossings = 0  # within that hop
        self._last_sign: np.bool_ | None = None  # whether the sample before the group is negative; None at the start
        self._active = 0
        self._maximum_mel = -np.inf
        self._maximum_peak = 0.0
        self._maximum_valley = 0.0

    def add(self, samples: Array, num_samples: int) -> None:
        """One group of frames.

        Args:
          samples: (1024 * (frames + 1),) float32: the 1024 samples before the group (zeros at the start of the track),
            then the group, with zeros after the end of the track.
          num_samples: how many samples of the group lie before the end of the track.
        """
        frames = spectra.frames_of(samples)
        rows = np.empty((len(frames), self._rows.columns), np.float32)
        rows[:, _RMS] = self._rms(samples[HOP_LENGTH:])
        rows[:, _CROSSINGS] = self._zero_crossing_rate(samples[HOP_LENGTH:], num_samples)
        spectral = self._fill_in(frames, rows[:, _SPECTRAL:])
        self._active += int(np.count_nonzero(rows[:, _RMS] > 10 ** (ACTIVE_RMS_DBFS / 20)))
        self._maximum_mel = max(self._maximum_mel, float(spectral[:, _MEL].max()))
        self._maximum_peak = max(self._maximum_peak, float(np.nanmax(spectral[:, _PEAKS])))
        self._maximum_valley = max(self._maximum_valley, float(np.nanmax(spectral[:, _VALLEYS])))
        self._rows.append(rows)

    def _fill_in(self, frames: Array, rows: Array) -> Array:
        """The spectral rows of the next frames: those that are known, and the others computed; into `rows`."""
        first = self._rows.num_rows
        known = None if self._known is None else self._known[first : first + len(frames)]
        if known is None or not len(known):
            return spectral_rows(frames, self._sample_rate, rows)
        rows[: len(known)] = known
        rows[len(known) :] = np.nan
        unknown = np.flatnonzero(is_unknown(rows))
        if unknown.size:
            rows[unknown] = spectral_rows(frames[unknown], self._sample_rate)
        return rows

    def _rms(self, group: Array) -> Array:
        """A frame is two hops: the one before its centre and the one after."""
        hops = group.reshape(-1, HOP_LENGTH)
        energies = np.einsum('ij,ij->i', hops, hops).astype(np.float64)
        before = np.concatenate([[self._last_energy], energies[:-1]])
        self._last_energy = energies[-1]
        return np.sqrt((before + energies) / FRAME_LENGTH)

    def _zero_crossing_rate(self, group: Array, num_samples: int) -> Array:
        """Changes of sign within the two hops of a frame; its first sample has none to compare with.

        librosa pads with the edge samples here, which adds no crossings.
        """
        negative = group < -_ZERO_THRESHOLD
        if self._last_sign is None:
            self._last_sign = negative[0]
        negative[num_samples:] = negative[num_samples - 1] if num_samples else self._last_sign
        crossed = np.empty_like(negative)
        crossed[0] = negative[0] != self._last_sign
        np.not_equal(negative[1:], negative[:-1], out=crossed[1:])
        self._last_sign = negative[-1]
        # Bytes of 0 and 1, added eight at a time as one integer: 128 such words per hop cannot overflow a byte.
        words = crossed.view(np.uint64).reshape(-1, HOP_LENGTH // 8).sum(axis=1, dtype=np.uint64)
        crossings = words.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
        before_first = np.concatenate([[self._last_crossings], crossings[:-1] - crossed[:-HOP_LENGTH:HOP_LENGTH]])
        self._last_crossings = int(crossings[-1]) - int(crossed[-HOP_LENGTH])
        return (before_first + crossings) / FRAME_LENGTH

    def finish(self) -> tuple[RowSpool, float]:
        """The table of all frames, (frames, 52), and the share of active frames.  Ends the analysis."""
        table = RowSpool(len(FRAME_FEATURES))
        mel_floor = np.float32(max(self._maximum_mel, _MINIMUM_DB + spectra.TOP_DB) - spectra.TOP_DB)
        earlier = np.zeros((0, NUM_MEL_BANDS), np.float32)  # the frames that onset strength still looks back at
        for rows in self._rows.blocks(_READ_ROWS):
            spectral = rows[:, _SPECTRAL:]
            mel = np.maximum(spectral[:, _MEL] - mel_floor, np.float32(0.0))  # above the floor: silence is exactly 0
            frames = np.empty((len(rows), table.columns), np.float32)
            frames[:, _OUT_SCALARS] = rows[:, : _SPECTRAL + _FLATNESS + 1]
            peaks = _clipped_decibels(spectral[:, _PEAKS], self._maximum_peak)
            frames[:, _OUT_CONTRAST] = peaks - _clipped_decibels(spectral[:, _VALLEYS], self._maximum_valley)
            matmul_rows(mel, mfcc_basis(), out=frames[:, _OUT_MFCC])
            frames[:, _OUT_MFCC.start] += mel_floor * np.float32(np.sqrt(NUM_MEL_BANDS))
            frames[:, _OUT_CHROMA] = spectral[:, _CHROMA]
            frames[:, _OUT_TONNETZ] = spectra.tonnetz(spectral[:, _CHROMA])
            mel = np.concatenate([earlier, mel])
            frames[:, _OUT_ONSET.start] = _onset_strength(mel)[-len(rows) :]
            earlier = mel[-1 - _ONSET_DELAY :]
            table.append(frames)
        return table, self._active / table.num_rows


def _clipped_decibels(values: Array, maximum: float) -> Array:
    """Decibels of magnitudes as librosa's contrast takes them (10 log10), at most 80 below the maximum, float64."""
    floor = max(spectra.AMIN, maximum * 10 ** (-spectra.TOP_DB / 10))
    return 10.0 * np.log10(np.maximum(values.astype(np.float64), floor))


def _onset_strength(mel: Array) -> Array:
    """Mean rise over the mel bands, in dB, one frame late, and zero in the two first frames; (frames,) float32."""
    rise = np.diff(mel, axis=0)
    strength = np.maximum(rise, 0.0, out=rise).mean(axis=1)
    return np.concatenate([np.zeros(1 + _ONSET_DELAY, np.float32), strength])[: len(mel)]
