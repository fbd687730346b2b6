"""Writing the samples of one stem to one local file, block by block.

Stands on soundfile (flac, mp3, ogg), PyAV (opus, m4a, wma) and riff.py (wav).  The one idea to know: every encoder
writes through a `_Sink`, which keeps the OSError of the disk (the libraries lose it) until StemWriter can raise it
(libsndfile by way of memory_file.py), and every encoder is fed blocks of one size, so that the bytes of a file depend
on its samples alone and not on how they arrived.

What a reader of the file gets back:
  wav, flac    the samples, exactly.
  mp3          as many samples as were written, in place: the LAME tag tells decoders what to cut off.
  ogg          the same with libsndfile.  FFmpeg miscounts by up to 1024 samples where all of a file is one Ogg page:
               a second or less of sound, six of silence.
  opus         the same; libsndfile reads it at the rate that was written, FFmpeg always at 48 kHz.
  m4a          the samples in place.  The edit list holds the exact length, which players and `stream.duration` in
               PyAV obey; FFmpeg's decoder itself does not cut the last frame and gives up to 1023 more samples.
  wma          the samples in place with FFmpeg (other decoders may put a frame of silence in front), clipped to full
               scale, and up to 4095 more at the end: the container holds whole frames.
The other lossy codecs get the floats as they are, peaks beyond full scale included.  WAV files beyond 4 GiB are RF64,
which libsndfile, FFmpeg and audio editors read.  Equal samples give equal bytes, with the same versions of the
libraries.  Memory is constant; m4a alone keeps the index of its frames, 14 MB for an hour.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from .formats import FORMATS, StemFormat, check_format, find_format, output_rate, parse_bitrate
from .memory_file import MemoryFile
from .quantising import clipped, dequantise, quantise
from .riff import bytes_per_sample, wav_header
from .vorbis import FixedSerial, quality_for

__all__ = [
    'FORMATS',
    'StemFormat',
    'StemWriter',
    'check_format',
    'clipped',
    'dequantise',
    'find_format',
    'output_rate',
    'parse_bitrate',
    'quantise',
]

_BLOCK_SAMPLES = 16384  # libsndfile 1.2.2 crashes when it is handed minutes of ogg at once
_FLAC_BLOCK_SAMPLES = 65536  # the longer, the less threads that encode wait for each other between two
_FLAC_LEVEL = 4 / 8  # of 8; level 3 is 10% faster and 2-5% larger, level 5 10-40% slower and 0.1-1% smaller


class StemWriter:
    """Writes one stem to one file.

    Use it as a context manager: the file is complete when the block ends without an exception.  After an exception, or
    an error of the disk, the file is left with no bytes at all, so that nobody can take it for a stem; removing it is
    the caller's.

        with StemWriter('drums.tmp', FORMATS['flac'], 44100, 2) as writer:
            writer.write(quantise(samples, FORMATS['flac']))

    Args:
      path: local file, created or overwritten.  Its name does not matter, the format alone says what is written.
      format: one of FORMATS.
      sample_rate: Hz, of the samples.
      channels: 1 or 2.
      bitrate: bits per second, for lossy formats; None for the default.

    Raises:
      UsageError: what `check_format` refuses.
      OSError: the disk's own, with its errno, from the constructor, `write` or `close`.
    """

    def __init__(
        self, path: str, format: StemFormat, sample_rate: int, channels: int, bitrate: int | None = None
    ) -> None:
        """Creates the file."""
        bitrate = check_format(format.name, bitrate, sample_rate, channels)
        self._format = format
        self._channels = channels
        self._sink = _OggSink(path) if format.codec == 'ogg' else _Sink(path)
        self._open = True
        self._encoder: _Encoder | None = None
        with self._abandoned_on_error():
            self._encoder = _open_encoder(self._sink, format, sample_rate, channels, bitrate)
            self._buffer = np.empty((self._encoder.block_samples, channels), format.dtype)
            self._filled = 0
        self._num_samples = 0

    def write(self, block: NDArray[Any]) -> None:
        """Appends samples.

        Args:
          block: (samples, channels) of the format's dtype, as `quantise` makes it; any number of samples.

        Raises:
          ValueError: the block does not fit the file, or the file is closed.
          OSError: the disk's own.
        """
        if not self._open:
            raise ValueError(f'{self._sink.path} is closed: open a new StemWriter')
        expected = (self._channels, np.dtype(self._format.dtype))
        if block.ndim != 2 or (block.shape[1], block.dtype) != expected:
            raise ValueError(f'a block of {self._format.name} must be (samples, {expected[0]}) of {expected[1]}: '
                             f'this one is {block.shape} of {block.dtype}')  # fmt: skip
        with self._abandoned_on_error():
            assert self._encoder is not None
            self._num_samples += len(block)
            while len(block):
                taken = min(len(block), len(self._buffer) - self._filled)
                piece, block = block[:taken], block[taken:]
                if taken == len(self._buffer):
                    self._encode(np.ascontiguousarray(piece))  # only what does not fill a block waits in the buffer
                else:
                    self._buffer[self._filled : self._filled + taken] = piece
                    self._filled += taken
                if self._filled == len(self._buffer):
                    self._encode_buffer()

    def close(self) -> None:
        """Completes the file; a second call does nothing.

        Raises:
          ValueError: nothing was written; not every format can hold a track without samples.
          OSError: the disk's own.
        """
        if not self._open:
            return
        with self._abandoned_on_error():
            assert self._encoder is not None
            if not self._num_samples:
                raise ValueError(f'{self._sink.path}: no samples were written: a stem needs at least one')
            if self._filled:
                self._encode_buffer()
            self._encoder.finish()
            self._sink.raise_error()
            self._sink.close()
        self._open = False

    def _encode_buffer(self) -> None:
        self._encode(self._buffer[: self._filled])
        self._filled = 0

    def _encode(self, samples: NDArray[Any]) -> None:
        assert self._encoder is not None
        self._encoder.encode(samples)
        self._sink.raise_error()

    @contextlib.contextmanager
    def _abandoned_on_error(self) -> Iterator[None]:
        try:
            yield
            self._sink.raise_error()
        except BaseException:
            self._abandon()
            self._sink.raise_error()  # what the disk said is the cause of what the library says
            raise

    def _abandon(self) -> None:
        """Frees everything; the error that led here is the one to report, so those of closing are not."""
        self._open = False
        self._sink.discard()
        if self._encoder is not None:
            with contextlib.suppress(Exception):
                self._encoder.finish()
        with contextlib.suppress(OSError):
            self._sink.close()

    def __enter__(self) -> StemWriter:
        """The writer itself."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Completes the file, or empties it if the block failed."""
        if error_type is None:
            self.close()
        elif self._open:
            self._abandon()


class _Sink:
    """A file for libraries that lose errors: `write` never fails, the first OSError waits for `raise_error`.

    Whatever comes after that error is dropped; the file is lost anyway.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = io.FileIO(path, 'w')
        self._error: OSError | None = None
        self._dropping = False

    def write(self, data: bytes | memoryview) -> int:
        if not self._dropping:
            try:
                rest = memoryview(data)
                while len(rest):
                    rest = rest[self._file.write(rest) :]
            except OSError as error:
                self._fail(error)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self._dropping:
            return 0
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._fail(error)
            return 0

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def discard(self) -> None:
        """Empties the file and drops what is written from now on."""
        self._dropping = True
        with contextlib.suppress(OSError):  # a device file cannot be cut; there is nothing in it either
            os.truncate(self.path, 0)

    def close(self) -> None:
        self._file.close()

    def _fail(self, error: OSError) -> None:
        if self._error is None:
            error.filename = self.path
            self._error = error
        self._dropping = True


class _OggSink(_Sink):
    """A sink for libsndfile's Ogg files, whose serial number it would otherwise draw at random."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._serial = FixedSerial()

    def write(self, data: bytes | memoryview) -> int:
        super().write(self._serial.pages(bytes(data)))
        return len(data)


class _Encoder(Protocol):
    """What StemWriter needs: `encode` gets blocks of `block_samples`, only the last one may be shorter."""

    block_samples: int

    def encode(self, block: NDArray[Any]) -> None: ...

    def finish(self) -> None: ...


def _open_encoder(sink: _Sink, format: StemFormat, sample_rate: int, channels: int, bitrate: int | None) -> _Encoder:
    if format.codec == 'wav':
        return _WavEncoder(sink, format, sample_rate, channels)
    if bitrate is None:
        return _SoundFileEncoder(sink, sample_rate, channels, 'FLAC', f'PCM_{format.bits}', _FLAC_LEVEL)
    if format.codec == 'mp3':
        level = _mp3_level(bitrate, sample_rate)
        return _SoundFileEncoder(sink, sample_rate, channels, 'MP3', 'MPEG_LAYER_III', level, 'CONSTANT')
    if format.codec == 'ogg':
        level = 1 - quality_for(bitrate, sample_rate, channels)
        return _SoundFileEncoder(sink, sample_rate, channels, 'OGG', 'VORBIS', level)
    if format.codec == 'opus':
        return _AvEncoder(sink, sample_rate, channels, bitrate, 'libopus', 'flt', 'opus', {})
    if format.codec == 'wma':
        return _WmaEncoder(sink, sample_rate, channels, bitrate, 'wmav2', 'fltp', 'asf', {})
    # The edit list counts in this unit; the default of milliseconds would cut or add samples at the end.
    options = {'movie_timescale': str(sample_rate)}
    return _AvEncoder(sink, sample_rate, channels, bitrate, 'aac', 'fltp', 'ipod', options)


def _mp3_level(bitrate: int, sample_rate: int) -> float:
    """libsndfile's compression level, 0 to 1, for a constant bitrate: a share of the span, rounded down."""
    lowest, highest = (32, 320) if sample_rate >= 32000 else (8, 160) if sample_rate >= 16000 else (8, 64)
    return max(0.0, 1 - (bitrate / 1000 - lowest + 0.5) / (highest - lowest))


class _WavEncoder:
    block_samples = _BLOCK_SAMPLES

    def __init__(self, sink: _Sink, format: StemFormat, sample_rate: int, channels: int) -> None:
        self._sink = sink
        self._header = (format, sample_rate, channels)
        self._num_samples = 0
        sink.write(wav_header(*self._header, 0))

    def encode(self, block: NDArray[Any]) -> None:
        self._num_samples += len(block)
        little_endian = np.ascontiguousarray(block, block.dtype.newbyteorder('<'))
        if self._header[0].bits == 24:
            little_endian = little_endian.view(np.uint8).reshape(-1, 4)[:, 1:]
        self._sink.write(np.ascontiguousarray(little_endian).reshape(-1).view(np.uint8).data)

    def finish(self) -> None:
        format, _, channels = self._header
        if self._num_samples * channels * bytes_per_sample(format) % 2:
            self._sink.write(b'\0')
        self._sink.seek(0)
        self._sink.write(wav_header(*self._header, self._num_samples))


class _SoundFileEncoder:
    block_samples = _BLOCK_SAMPLES

    def __init__(
        self,
        sink: _Sink,
        sample_rate: int,
        channels: int,
        container: str,
        subtype: str,
        level: float,
        bitrate_mode: str | None = None,
    ) -> None:
        self._memory = MemoryFile(sink)
        try:
            self._file = soundfile.SoundFile(
                self._memory.descriptor,
                'w',
                sample_rate,
                channels,
                format=container,
                subtype=subtype,
                compression_level=level,
                bitrate_mode=bitrate_mode,
                closefd=False,
            )
        except BaseException:
            self._memory.close()
            raise

    def encode(self, block: NDArray[Any]) -> None:
        self._file.write(block)
        self._memory.pass_on()

    def finish(self) -> None:
        try:
            self._file.close()
            self._memory.finish()
        finally:
            self._memory.close()


class _AvEncoder:
    def __init__(
        self,
        sink: _Sink,
        sample_rate: int,
        channels: int,
        bitrate: int,
        codec: str,
        sample_format: str,
        container: str,
        options: dict[str, str],
    ) -> None:
        self._layout = 'mono' if channels == 1 else 'stereo'
        self._sample_format = sample_format
        # bitexact: no random serial numbers, no version of the muxer.
        self._container = av.open(sink, 'w', format=container, container_options={'fflags': '+bitexact', **options})
        # The fast coder takes a third of the time of the other one at the same signal-to-noise ratio.
        coder = {'aac_coder': 'fast'} if codec == 'aac' else {}
        stream = self._container.add_stream(codec, rate=sample_rate, layout=self._layout, options=coder)
        assert isinstance(stream, AudioStream)
        self._stream = stream
        self._stream.bit_rate = bitrate
        self._stream.codec_context.format = av.AudioFormat(sample_format)
        self._stream.codec_context.open()
        self.block_samples = self._stream.codec_context.frame_size
        self._position = 0

    def encode(self, block: NDArray[Any]) -> None:
        planar = self._sample_format.endswith('p')
        values = np.ascontiguousarray(block.T) if planar else block.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(values, format=self._sample_format, layout=self._layout)
        frame.sample_rate = self._stream.codec_context.sample_rate
        frame.pts = self._position
        self._position += len(block)
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _WmaEncoder(_AvEncoder):
    """Whole frames between two of silence, without which decoders could make neither the first nor the last one.

    What is beyond full scale is clipped: FFmpeg's encoder refuses to go on at some level above it.
    """

    def encode(self, block: NDArray[Any]) -> None:
        if self._position == 0:
            self._encode_silence()
        missing = self.block_samples - len(block)
        super().encode(np.pad(np.clip(block, -1.0, 1.0), ((0, missing), (0, 0))))

    def finish(self) -> None:
        self._encode_silence()
        super().finish()

    def _encode_silence(self) -> None:
        super().encode(np.zeros((self.block_samples, 1 if self._layout == 'mono' else 2), np.float32))
