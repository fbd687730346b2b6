"""The frame features of a track in two steps: what one pass over the audio can know, then what needs the whole track.

`FrameAnalysis.add` turns groups of samples into intermediate rows; `finish` turns those into the 52 columns of
FRAME_FEATURES.  The one idea to know: librosa clips decibels at 80 dB under the maximum of the track, so mel bands and
contrast are kept unclipped until the maximum is known.
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


def _columns(*widths: int) -> list[slice]:
    ends = np.cumsum(widths)
    return [slice(int(end) - width, int(end)) for end, width in zip(ends, widths, strict=True)]


# Intermediate rows: six final scalars, contrast peaks and valleys (magnitudes), chroma (final), mel bands (dB).
_SCALARS, _PEAKS, _VALLEYS, _CHROMA, _MEL = _columns(6, NUM_CONTRAST, NUM_CONTRAST, NUM_CHROMA, NUM_MEL_BANDS)
# Final rows, as FRAME_FEATURES names them.
_OUT_SCALARS, _OUT_CONTRAST, _OUT_MFCC, _OUT_CHROMA, _OUT_TONNETZ, _OUT_ONSET = _columns(
    6, NUM_CONTRAST, NUM_MFCC, NUM_CHROMA, NUM_TONNETZ, 1
)


class FrameAnalysis:
    """Frame features of one mono signal, fed in groups of whole hops."""

    def __init__(self, sample_rate: int) -> None:
        """An analysis that has seen no samples."""
        self._sample_rate = sample_rate
        self._rows = RowSpool(_MEL.stop)
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
        magnitude = spectra.magnitudes(samples)
        power = magnitude * magnitude
        rows = np.empty((len(magnitude), self._rows.columns), np.float32)
        rows[:, 0] = self._rms(samples[HOP_LENGTH:])
        rows[:, 1] = self._zero_crossing_rate(samples[HOP_LENGTH:], num_samples)
        moments = spectra.block_moments(magnitude)
        rows[:, 2], rows[:, 3] = spectra.centroid_and_bandwidth(moments, self._sample_rate)
        rows[:, 4] = spectra.rolloff(magnitude, moments[0], self._sample_rate)
        rows[:, _PEAKS], rows[:, _VALLEYS] = spectra.contrast_extremes(magnitude, self._sample_rate)
        rows[:, _CHROMA] = spectra.chroma(power, self._sample_rate)
        rows[:, _MEL] = spectra.mel_decibels(power, self._sample_rate)
        rows[:, 5] = spectra.flatness(power)
        self._active += int(np.count_nonzero(rows[:, 0] > 10 ** (ACTIVE_RMS_DBFS / 20)))
        self._maximum_mel = max(self._maximum_mel, float(rows[:, _MEL].max()))
        self._maximum_peak = max(self._maximum_peak, float(np.nanmax(rows[:, _PEAKS])))
        self._maximum_valley = max(self._maximum_valley, float(np.nanmax(rows[:, _VALLEYS])))
        self._rows.append(rows)

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
            mel = np.maximum(rows[:, _MEL] - mel_floor, np.float32(0.0))  # above the floor: silence is exactly 0
            frames = np.empty((len(rows), table.columns), np.float32)
            frames[:, _OUT_SCALARS] = rows[:, _SCALARS]
            peaks = _clipped_decibels(rows[:, _PEAKS], self._maximum_peak)
            frames[:, _OUT_CONTRAST] = peaks - _clipped_decibels(rows[:, _VALLEYS], self._maximum_valley)
            matmul_rows(mel, mfcc_basis(), out=frames[:, _OUT_MFCC])
            frames[:, _OUT_MFCC.start] += mel_floor * np.float32(np.sqrt(NUM_MEL_BANDS))
            frames[:, _OUT_CHROMA] = rows[:, _CHROMA]
            frames[:, _OUT_TONNETZ] = spectra.tonnetz(rows[:, _CHROMA])
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
