"""Readers: one open audio file each, read from front to back at its own sample rate.

Stands on soundfile (libsndfile) and PyAV (FFmpeg). The one idea: a reader cuts its file into chunks at places that
depend on the file alone, never on what is asked for, so that the same samples come out however the reading is
divided. To add a decoder, subclass `BlockReader` and name it in `open_reader`.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import soundfile

from ..model.errors import TrackError, UsageError
from .addresses import shown
from .sources import SourceFile

CHUNK_SAMPLES = 65536
FLAC_CHUNK_SAMPLES = 4096  # where a FLAC file is cut off or damaged: what is lost at most before that place
# libsndfile's encodings in which every sample, or every frame (FLAC), can be found and decoded without the ones before.
_SEEKABLE_SUBTYPES = {'PCM_S8', 'PCM_U8', 'PCM_16', 'PCM_24', 'PCM_32', 'FLOAT', 'DOUBLE', 'ULAW', 'ALAW'}
_INTEGER_SCALE = {'u1': 1 / 2**7, 'i2': 1 / 2**15, 'i4': 1 / 2**31, 'i8': 1 / 2**63}


class UnreadableError(Exception):
    """This decoder does not know what kind of file this is; another one may."""


class BlockReader(abc.ABC):
    """One open audio file.

    Subclasses set these fields and give the samples in `_chunks`.
    """

    decoder: str  # its name in options and AudioInfo
    sample_rate: int  # Hz
    channels: int
    container: str
    codec: str
    exact_seek = False  # whether `seek` works, and gives the same samples as reading up to there
    cut_short = False  # set at the end of the file if its last piece of data is cut off

    def __init__(self, uri: str) -> None:
        """`uri` is what error messages call the track."""
        self.uri = uri
        self.position = 0  # in samples, of the next one to be read
        self._rest: np.ndarray | None = None
        self._stream: Iterator[np.ndarray] | None = None

    @abc.abstractmethod
    def _chunks(self) -> Iterator[np.ndarray]:
        """Consecutive float32 chunks (n > 0, channels) from `position`, as it is when this is called, to the end.

        Raises:
          TrackError: the data are damaged.  Data cut off at the end of the file set `cut_short` instead.
        """

    @property
    def header_samples(self) -> int | None:
        """Samples per channel that the header promises; None where it does not say."""
        return None

    @abc.abstractmethod
    def close(self) -> None:
        """Frees the file; may be called twice."""

    def read(self, count: int) -> np.ndarray:
        """The next samples, float32 (n, channels); n < count only at the end of the track."""
        parts = list(self._advance(count))
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)

    def skip(self, count: int) -> int:
        """Passes over the next samples; how many it did, fewer than `count` only at the end of the track."""
        return sum(len(part) for part in self._advance(count))

    def _advance(self, count: int) -> Iterator[np.ndarray]:
        if self._stream is None:
            self._stream = self._chunks()
        while count > 0:
            chunk = self._rest if self._rest is not None else next(self._stream, None)
            if chunk is None:
                return
            part, self._rest = (chunk, None) if len(chunk) <= count else (chunk[:count], chunk[count:])
            count -= len(part)
            self.position += len(part)
            yield part

    def seek(self, position: int) -> None:
        """Moves to a sample of the track; only where `exact_seek`."""
        raise NotImplementedError(f'{type(self).__name__} reads from front to back')

    def _restart(self, position: int) -> None:
        self.position = position
        self._rest = self._stream = None


class _PlainSoundFile(soundfile.SoundFile):
    """soundfile without the seek that it does after every read: slow in FLAC, and not exact in MP3."""

    def seekable(self) -> bool:
        return False


class SoundfileReader(BlockReader):
    """Reads what libsndfile knows, except Opus."""

    decoder = 'soundfile'

    def __init__(self, source: str | SourceFile, uri: str) -> None:
        """`source` is a local path or an open file.

        Raises:
          UnreadableError: libsndfile does not know this kind of file, or leaves it to FFmpeg here.
          OSError: there is no such file, or it may not be read.
        """
        super().__init__(uri)
        # Through its number, so that libsndfile goes by the content and not by the name.
        self._source: int | SourceFile = os.open(source, os.O_RDONLY) if isinstance(source, str) else source
        self._file: Any = None
        try:
            self._file = _PlainSoundFile(self._source, closefd=False)
            if self._file.subtype == 'OPUS':
                raise UnreadableError('Opus is read by FFmpeg')
        except (soundfile.LibsndfileError, UnreadableError) as error:
            self.close()
            raise UnreadableError(str(error)) from error
        self.sample_rate = self._file.samplerate
        self.channels = self._file.channels
        self.container = self._file.format.lower()
        self.codec = self._file.subtype
        self.exact_seek = self.container == 'flac' or self.codec in _SEEKABLE_SUBTYPES

    @property
    def header_samples(self) -> int:
        """See BlockReader; may be absurd where the header says nothing."""
        return self._file.frames

    def _chunks(self) -> Iterator[np.ndarray]:
        position, size = self.position, CHUNK_SAMPLES
        while True:
            count = size - position % size
            try:
                chunk = self._file.read(out=np.empty((count, self.channels), np.float32))
            except soundfile.LibsndfileError as error:
                if self.container == 'flac' and size > FLAC_CHUNK_SAMPLES:
                    size = FLAC_CHUNK_SAMPLES
                    if self._read_again(position, size):
                        continue
                if not _at_end(self._source):
                    raise damaged(self.uri, position / self.sample_rate, error) from error
                self.cut_short = True
                return
            if len(chunk):
                yield chunk
            if len(chunk) < count:
                return
            position += count

    def _read_again(self, position: int, size: int) -> bool:
        """Open the file anew and pass over all before a position, in pieces; False if even they cannot be read.

        What a failed read has decoded is lost, and a file that is cut off or damaged cannot be trusted to seek.
        """
        self._file.close()
        if isinstance(self._source, SourceFile):
            self._source.seek(0)
        else:
            os.lseek(self._source, 0, os.SEEK_SET)
        try:
            self._file = _PlainSoundFile(self._source, closefd=False)
            for first in range(0, position, size):
                self._file.read(out=np.empty((min(size, position - first), self.channels), np.float32))
        except soundfile.LibsndfileError:
            return False
        return True

    def seek(self, position: int) -> None:
        """See BlockReader.  Raises TrackError where the file holds nothing at `position`."""
        try:
            self._file.seek(position)
        except soundfile.LibsndfileError as error:
            raise damaged(self.uri, position / self.sample_rate, error) from error
        self._restart(position)

    def close(self) -> None:
        """See BlockReader."""
        if self._file is not None:
            self._file.close()
        if isinstance(self._source, int) and self._source >= 0:
            os.close(self._source)
            self._source = -1


class AvReader(BlockReader):
    """Reads one sound stream of whatever FFmpeg knows, as FFmpeg itself plays it: without the encoder's delay."""

    decoder = 'av'

    def __init__(self, source: str | SourceFile, uri: str, stream: int | None = None) -> None:
        """`source` is a local path or an open file; the first frame is decoded, to be certain of rate and channels.

        Args:
          source: see above.
          uri: what error messages call the track.
          stream: which sound stream, 0-based; None for the first that can be decoded.

        Raises:
          UnreadableError: FFmpeg does not know this kind of file.
          TrackError: it knows it, but there is no such sound stream in it.
          OSError: there is no such file, or it may not be read.
        """
        super().__init__(uri)
        self._wanted = stream
        self._source: int | SourceFile = os.open(source, os.O_RDONLY) if isinstance(source, str) else source
        self._file: Any = None
        try:
            self._file = self._open()
            self._sound = self._sound_stream()
            self._frames = self._decoded_frames()
            self._first = next(self._frames, None)
        except av.FFmpegError as error:
            self.close()
            raise UnreadableError(error.strerror or str(error)) from error
        except Exception:
            self.close()
            raise
        shape = self._first if self._first is not None else self._sound.codec_context
        self.sample_rate = shape.sample_rate
        self.channels = shape.layout.nb_channels
        self.container = self._file.format.name
        self.codec = self._sound.codec_context.name

    @property
    def header_samples(self) -> int | None:
        """See BlockReader; an estimate in most kinds of file."""
        duration = self._sound.duration
        return None if duration is None else round(duration * self._sound.time_base * self._sound.rate)

    def _open(self) -> Any:
        # By number and without a name, so that FFmpeg goes by the content; and a play list may not lead it elsewhere.
        options = {'protocol_whitelist': 'fd'}
        if isinstance(self._source, int):
            return av.open('fd:', options={**options, 'fd': str(self._source)}, metadata_errors='replace')
        return av.open(self._source, options=options, metadata_errors='replace')

    def _sound_stream(self) -> Any:
        found = self._file.streams.audio
        if self._wanted is not None and self._wanted >= len(found):
            raise TrackError(
                f'{shown(self.uri)}: has {len(found)} sound streams, none with the number {self._wanted} '
                '(counted from 0): replace it'
            )
        for stream in found if self._wanted is None else found[self._wanted : self._wanted + 1]:
            if stream.codec_context is not None:
                stream.codec_context.thread_count = 1
                return stream
        kinds = ' and '.join(sorted({stream.type for stream in self._file.streams})) or 'nothing'
        raise TrackError(
            f'{shown(self.uri)}: has no sound that FFmpeg can decode, only {kinds} ({self._file.format.name}): '
            'take it off the listing'
        )

    def _decoded_frames(self) -> Iterator[Any]:
        position = 0
        packets = self._file.demux(self._sound)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.FFmpegError as error:
                if position == 0:  # FFmpeg has taken something for sound that is none
                    raise
                unsupported = isinstance(error, av.PatchWelcomeError)
                if unsupported or _has_more(packets) or not _at_end(self._source):
                    raise damaged(self.uri, position / self._sound.rate, error) from error
                self.cut_short = True
                return
            for frame in frames:
                position += frame.samples
                if frame.samples:
                    yield frame

    def _chunks(self) -> Iterator[np.ndarray]:
        if self._first is None:
            return
        yield samples_of(self._first)
        position = self._first.samples
        self._first = None
        for frame in self._frames:
            if (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.channels):
                raise TrackError(
                    f'{shown(self.uri)}: changes at {position / self.sample_rate:.2f} s from {self.sample_rate} Hz '
                    f'and {self.channels} channel(s) to {frame.sample_rate} Hz and {frame.layout.nb_channels}: '
                    'split it there'
                )
            yield samples_of(frame)
            position += frame.samples

    def close(self) -> None:
        """See BlockReader."""
        if self._file is not None:
            self._file.close()
        if isinstance(self._source, int) and self._source >= 0:
            os.close(self._source)
            self._source = -1


def open_reader(decoder: str, source: str | SourceFile, uri: str, stream: int | None = None) -> BlockReader:
    """The one place that knows the decoders by name.

    Args:
      decoder: 'soundfile', 'av' or 'tfio'.
      source: a local path or an open file.
      uri: what error messages call the track.
      stream: which sound stream of the file, 0-based, for 'av' alone; None for the first.

    Raises:
      UnreadableError: this decoder does not know this kind of file.
      UsageError: there is no such decoder.
    """
    if decoder == 'av':
        return AvReader(source, uri, stream)
    if stream is not None:
        raise ValueError(f'decoder {decoder} cannot choose stream {stream}: only av can')
    if decoder == 'soundfile':
        return SoundfileReader(source, uri)
    if decoder == 'tfio':
        from .tfio_decoding import TfioReader  # optional, and it stands on this module

        return TfioReader(source, uri)
    raise UsageError(f"decoder {decoder!r} is unknown: choose 'soundfile', 'av' or 'tfio'")


def samples_of(frame: av.AudioFrame) -> np.ndarray:
    """The samples of an FFmpeg frame in any sample format, as float32 (n, channels) with full scale 1."""
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    with np.errstate(over='ignore'):  # a double beyond float32 becomes infinity, which is reported with its position
        samples = array.astype(np.float32)
    kind = array.dtype.str[1:]
    if kind == 'u1':
        samples -= 128
    if kind in _INTEGER_SCALE:
        samples *= np.float32(_INTEGER_SCALE[kind])
    return samples


def damaged(uri: str, seconds: float, error: Exception) -> TrackError:
    """The error for data that cannot be decoded."""
    if isinstance(error, av.PatchWelcomeError):
        reason = 'FFmpeg does not support what comes there, such as a change of sample rate or channels'
    else:
        reason = getattr(error, 'error_string', None) or getattr(error, 'strerror', None) or str(error)
    return TrackError(f'{shown(uri)}: damaged at about {seconds:.2f} s ({shown(reason)}): replace the file')


def _at_end(source: int | SourceFile) -> bool:
    """Whether the decoder has taken the last byte of the file."""
    if isinstance(source, SourceFile):
        return source.tell() >= source.size
    return os.lseek(source, 0, os.SEEK_CUR) >= os.fstat(source).st_size


def _has_more(packets: Iterator[Any]) -> bool:
    try:
        packet = next(packets, None)
    except av.FFmpegError:
        return False
    return packet is not None and packet.size > 0
