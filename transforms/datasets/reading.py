"""Samples of a stem at any rate, whole, in part, or block by block.

Stands on probing.py and decoding.py, so the promises made there hold: a part equals that part of the whole, bit for
bit, and what is damaged, cut off or not finite is a TrackError.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..decoding import decode_blocks
from ..probing import probe
from ..records import AudioInfo
from .tracks import StemSource


def source_info(source: StemSource) -> AudioInfo:
    """What a source is: rate, channels, exact length; a .stem.mp4, as all that FFmpeg reads, is decoded to count it.

    Raises:
      TrackError: missing, not audio, damaged, cut off, or without the stream.
      RunError: this machine is the trouble.
    """
    if source.stream is None:
        return probe(source.uri)
    return probe(source.uri, decoder='av', stream=source.stream)


def read_blocks(
    source: StemSource,
    sample_rate: int,
    channels: int = 2,
    start: int = 0,
    stop: int | None = None,
    info: AudioInfo | None = None,
) -> Iterator[np.ndarray]:
    """A part of a source, in consecutive blocks of at most ten seconds.

    Args:
      source: of what.
      sample_rate: Hz, of the result; no resampling where it is the file's own.
      channels: 1 or 2; mono is repeated, of more than two channels the first two stay.
      start: first sample wanted, counted at `sample_rate`.
      stop: first sample not wanted; None for the end of the track.
      info: what `source_info` said, if it was asked already.

    Yields:
      float32 (samples > 0, channels), full scale 1.

    Raises:
      TrackError: as source_info; also NaN or infinity in the samples.
      RunError: this machine is the trouble.
    """
    info = source_info(source) if info is None else info
    yield from decode_blocks(source.uri, info, sample_rate, start=start, stop=stop, channels=channels)


def read_source(
    source: StemSource,
    sample_rate: int,
    channels: int = 2,
    start: int = 0,
    stop: int | None = None,
    info: AudioInfo | None = None,
) -> np.ndarray:
    """A part of a source, by default all of it, as one array: float32 (samples, channels).

    Arguments and errors as `read_blocks`.
    """
    blocks = list(read_blocks(source, sample_rate, channels, start, stop, info))
    return np.concatenate(blocks) if blocks else np.zeros((0, channels), np.float32)
