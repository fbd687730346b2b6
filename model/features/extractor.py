"""All features of one stem (or of the mixture) from a stream of samples.

`FeatureExtractor` cuts the stream into groups of its own, always the same whatever the length of the blocks that come
in, and hands every group to the analyses: frames, loudness, true peak.  The one idea to know: because the groups are
the same, so is every bit of the result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..errors import TrackError
from .columns import HOP_LENGTH, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, TRACK_FEATURES
from .frames import FrameAnalysis
from .loudness import LoudnessMeter
from .spool import RowSpool
from .statistics import table_statistics
from .true_peak import TAPS, true_peak

# Many enough that threads that extract at the same time seldom wait for the interpreter: with 256, four of them were no
# faster than one. What that costs the processor's cache is little.
GROUP_FRAMES = 1024
_GROUP = GROUP_FRAMES * HOP_LENGTH  # samples


@dataclasses.dataclass(frozen=True, eq=False)
class StemFeatures:
    """Features of one stem of one track.  It may hold an open temporary file, so it cannot be pickled."""

    num_frames: int
    statistics: np.ndarray  # (52, 7) float64: rows as FRAME_FEATURES, columns as STATISTICS
    loudness_lufs: float  # NaN where there is none
    true_peak_dbtp: float  # NaN for digital silence
    energy: float  # sum of squares over samples and channels, over channels
    active_frames: float  # share, 0 to 1
    _table: RowSpool = dataclasses.field(repr=False)

    def frame_blocks(self, rows: int = 16_384) -> Iterator[np.ndarray]:
        """The frame table in order, in arrays of (at most `rows`, 52) float32, read-only; as often as wanted."""
        return self._table.blocks(rows)

    @property
    def frames(self) -> np.ndarray:
        """The whole frame table, (num_frames, 52) float32; 97 MB for three hours at 44.1 kHz."""
        return next(self.frame_blocks(self.num_frames))

    def track_row(self) -> dict[str, float | None]:
        """Values of the track table by name, in the order of TRACK_FEATURES; None where there is no value."""
        scalars = (self.loudness_lufs, self.true_peak_dbtp, self.energy, self.active_frames)
        values = (*scalars, *self.statistics.ravel().tolist())
        return {
            feature.name: None if np.isnan(value) else value
            for feature, value in zip(TRACK_FEATURES, values, strict=True)
        }


class FeatureExtractor:
    """Features of a stream of samples: `add` blocks of any length, then `finish`.

    One extractor serves one signal and one thread; extractors of several threads share nothing that changes.
    """

    def __init__(self, sample_rate: int, channels: int, known: np.ndarray | None = None) -> None:
        """An extractor that has seen no samples.

        Args:
          sample_rate: Hz.
          channels: of the signal.
          known: spectral rows (see frames.py) of the first frames of the stream, with NaN for those that are not known
            and will be computed; None: all will be.

        Raises:
          ValueError: the sample rate is outside 4000 to 384000 Hz, or there is no channel.
        """
        if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
            raise ValueError(
                f'sample_rate is {sample_rate}; features are defined from 4000 to 384000 Hz: resample first'
            )
        if channels < 1:
            raise ValueError(f'channels is {channels}; a signal has at least one')
        self._channels = channels
        # The last hop of the group before, the group, and room for the zeros that flush the true peak.
        self._samples = np.zeros((channels, HOP_LENGTH + _GROUP + HOP_LENGTH), np.float32)
        self._filled = 0  # samples of the group that are there
        self._frames: FrameAnalysis | None = FrameAnalysis(sample_rate, known)
        self._loudness = LoudnessMeter(sample_rate, channels)
        self._peak = 0.0
        self._energy = 0.0
        self._num_samples = 0

    def add(self, block: np.ndarray) -> None:
        """The next samples of the stream.

        Args:
          block: (samples, channels), float32, any number of samples.

        Raises:
          ValueError: the block has another shape or dtype, or the stream is finished.
          TrackError: samples are NaN or infinite (noticed here or by `finish`).
        """
        if self._frames is None:
            raise ValueError('the stream is finished; make a new FeatureExtractor')
        if block.ndim != 2 or block.shape[1] != self._channels or block.dtype != np.float32:
            raise ValueError(f'block is {block.dtype} {block.shape}; give float32 of shape (samples, {self._channels})')
        start = 0
        while start < len(block):
            count = min(len(block) - start, _GROUP - self._filled)
            first = HOP_LENGTH + self._filled
            self._samples[:, first : first + count] = block[start : start + count].T
            self._filled += count
            start += count
            if self._filled == _GROUP:
                self._end_group(self._frames, GROUP_FRAMES)
        self._num_samples += len(block)

    def finish(self) -> StemFeatures:
        """Ends the stream.

        Raises:
          TrackError: there were no samples, or some were NaN or infinite.
          ValueError: the stream was finished before.
        """
        if self._frames is None:
            raise ValueError('the stream is finished; make a new FeatureExtractor')
        if self._num_samples == 0:
            raise TrackError('features: the signal has no samples; give at least one')
        frames, self._frames = self._frames, None
        self._samples[:, HOP_LENGTH + self._filled :] = 0.0
        self._end_group(frames, 1 + self._filled // HOP_LENGTH)
        table, active = frames.finish()
        return StemFeatures(
            num_frames=table.num_rows,
            statistics=table_statistics(table),
            loudness_lufs=self._loudness.finish(),
            true_peak_dbtp=float(20 * np.log10(self._peak)) if self._peak > 0 else float('nan'),
            energy=self._energy / self._channels,
            active_frames=active,
            _table=table,
        )

    def _end_group(self, frames: FrameAnalysis, num_frames: int) -> None:
        """Analyses a group of frames, full or the last one, and makes room for the next."""
        stop = HOP_LENGTH + num_frames * HOP_LENGTH
        group = self._samples[:, HOP_LENGTH:stop]
        self._energy += sum(_energy(channel) for channel in group)
        if not np.isfinite(self._energy):
            raise TrackError('features: the signal has samples that are NaN or infinite; repair the file')
        frames.add(_mono(self._samples[:, :stop]), self._filled)
        self._loudness.add(group, self._filled)
        # The last group is never full; zeros after the end bring out the values between its last samples.
        flush = HOP_LENGTH if self._filled < _GROUP else 0
        self._peak = true_peak(self._samples[:, HOP_LENGTH - TAPS + 1 : stop + flush], self._peak)
        self._samples[:, :HOP_LENGTH] = self._samples[:, _GROUP : _GROUP + HOP_LENGTH]
        self._filled = 0


def _energy(channel: np.ndarray) -> float:
    """Sum of squares of whole hops of samples: float32 within a hop, float64 over the hops."""
    hops = channel.reshape(-1, HOP_LENGTH)
    return float(np.einsum('ij,ij->i', hops, hops).sum(dtype=np.float64))


def _mono(samples: np.ndarray) -> np.ndarray:
    """Mean of the channels, (channels, n) to (n,) float32, as librosa.to_mono."""
    if len(samples) == 1:
        return samples[0]
    mono = samples[0] + samples[1]
    for channel in samples[2:]:
        mono += channel
    mono /= np.float32(len(samples))
    return mono
