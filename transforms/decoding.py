"""Any part of any track, at the model's rate and with its channels.

Stands on readers.py, native_streams.py and resampling.py. The one idea: samples are a function of the file and the
sample rate alone. A window [start, stop) of a track equals, bit for bit, the same window of the whole, because
everything is decoded from the start of the file (or from an exact seek) and resampled in blocks whose borders no
window moves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np

from ..model.errors import StembeamError, TrackError
from ..model.remote import RemoteFile
from ..model.resampling import (
    BLOCK_SECONDS,
    block_input,
    block_length,
    match_channels,
    resample_block,
)
from .addresses import shown
from .native_streams import NativeStream, StreamPool
from .readers import UnreadableError, open_reader
from .records import AudioInfo
from .sources import fingerprint, local_copy, look_at, storage_error
from .watchdog import watched

_POOL = StreamPool()
SLOWEST = 10  # times real time, at which a decoder may pass over what comes before the wanted samples


def shortfall_allowed(info: AudioInfo) -> int:
    """How many samples fewer than promised are no sign of a file that was cut off.

    Zero, but for MP3: its tag counts whole frames of 1152 samples, encoders disagree on whether the tag's own frame
    counts, and the last frame cannot always be decoded. What FFmpeg reads was counted by decoding it.
    """
    return 2 * 1152 if info.codec == 'MPEG_LAYER_III' else 0


def decode_blocks(
    uri: str,
    info: AudioInfo,
    sample_rate: int,
    *,
    start: int = 0,
    stop: int | None = None,
    channels: int = 2,
    allow_truncated: bool = False,
    decoder: str = 'auto',
) -> Iterator[np.ndarray]:
    """Decodes a part of a track, at most ten seconds at a time.

    Args:
      uri: absolute local path or fsspec URL; what is remote is copied to a temporary file first (see sources.py).
      info: what `probe` said about it.
      sample_rate: Hz, of the result; no resampling where it is the file's own.
      start: first sample wanted, counted at `sample_rate` from the start of the track.
      stop: first sample not wanted; None for the end of the track, wherever that proves to be.
      channels: 1 or 2; see `match_channels`.
      allow_truncated: take what is there of a file that holds less than its header promises.
      decoder: 'auto' for the one that `info` names, 'soundfile', or 'av'.

    Yields:
      Consecutive float32 arrays (n > 0, channels), n at most ten seconds. They end early where the track does, and go
      on beyond what `info` promises where the track does and `stop` allows it.

    Raises:
      TrackError: missing, damaged or changed file, less in it than promised, NaN or infinity.
      RunError: this machine is the trouble (disk full, too many open files).
    """
    if channels not in (1, 2):
        raise ValueError(f'channels is {channels}: it must be 1 or 2')
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f'[{start}, {stop}) is no part of a track: it must be 0 <= start <= stop')
    if stop == start:
        return
    decoder = info.decoder if decoder == 'auto' else decoder
    first_block = start // (BLOCK_SECONDS * sample_rate)
    # With the process: a forked one shares file positions with its parent.
    remote = look_at(uri)
    key = (os.getpid(), fingerprint(uri, remote), decoder, channels, info.stream)
    stream = _POOL.take(key, block_input(first_block, info.sample_rate, sample_rate)[0])
    stream = stream or _open_stream(uri, remote, info, decoder, channels)
    try:
        for index, block in _blocks(stream, info, sample_rate, first_block, allow_truncated):
            position = index * BLOCK_SECONDS * sample_rate
            wanted = block[max(0, start - position) : None if stop is None else max(0, stop - position)]
            if len(wanted):
                yield match_channels(wanted, channels)
            end = position + len(block)
            if stop is not None and (stop < end or (stop == end and len(block) == BLOCK_SECONDS * sample_rate)):
                return
        stream.close()  # nothing comes after the last block
    except Exception:
        stream.close()
        raise
    finally:
        _POOL.give_back(key, stream)


def _open_stream(uri: str, remote: RemoteFile | None, info: AudioInfo, decoder: str, channels: int) -> NativeStream:
    """An open reader outlives the local copy of a remote file: the operating system keeps what is open."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(local_copy(uri, remote))
        try:
            with watched():
                reader = open_reader(decoder, path, uri, info.stream)
        except StembeamError:
            raise
        except UnreadableError as error:
            raise TrackError(
                f'{shown(uri)}: decoder {decoder} cannot read it ({error}): choose another decoder'
            ) from error
        except OSError as error:
            raise storage_error(uri, error) from error
    if (reader.sample_rate, reader.channels) != (info.sample_rate, info.channels):
        reader.close()
        raise TrackError(
            f'{shown(uri)}: has {reader.sample_rate} Hz and {reader.channels} channel(s), not {info.sample_rate} Hz '
            f'and {info.channels} as before: it has changed, or decoder {decoder} reads it differently: run again'
        )
    return NativeStream(reader, channels, exact_seek=info.exact_seek and reader.exact_seek)


def _blocks(
    stream: NativeStream, info: AudioInfo, sample_rate: int, index: int, allow_truncated: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of the track from `index` to the last, resampled, with their numbers."""
    while True:
        first, last = block_input(index, stream.sample_rate, sample_rate)
        with watched(max(0, last - stream.position) / stream.sample_rate / SLOWEST):
            samples = stream.read(first, last - first)
        if stream.num_samples is not None and not allow_truncated:
            _check_length(stream, info)
        length = block_length(index, stream.sample_rate, sample_rate, stream.num_samples)
        if length:
            yield index, resample_block(samples, index, stream.sample_rate, sample_rate, length)
        if length < BLOCK_SECONDS * sample_rate:
            return
        index += 1


def _check_length(stream: NativeStream, info: AudioInfo) -> None:
    """Raises TrackError if the track, of which the end was read, is shorter than promised."""
    there = stream.num_samples or 0
    if stream.cut_short or there < info.num_samples - shortfall_allowed(info):
        promised = info.num_samples / info.sample_rate if there < info.num_samples else None
        raise too_short(info.uri, there / info.sample_rate, promised)


def too_short(uri: str, seconds: float, promised: float | None) -> TrackError:
    """The error for a file that was cut off; both lengths in seconds, None where the header promises nothing."""
    if promised is None:
        what = f'cut off in the middle of its data after {seconds:.2f} s'
    else:
        what = f'shorter than its header promises: {seconds:.2f} s of {promised:.2f} s'
    return TrackError(f'{shown(uri)}: {what}: replace it, or take what is there with --allow-truncated')
