"""The optional decoder `tfio`: WAV, FLAC, MP3 and OGG (Vorbis) through TensorFlow I/O.

Stands on tensorflow-io 0.37.1, its last release, which loads under TensorFlow 2.16 and 2.17 only, and on soundfile for
the names of formats.  The one idea: `AudioIOTensor` cannot be used, because all of its instances in a process share one
open file and read each other's audio; the operations below it take a name for the open file, and here every open reader
has its own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile

from ..model.errors import UsageError
from .readers import BlockReader, UnreadableError
from .sources import SourceFile

CHUNK_SAMPLES = 16384  # what is lost at most before the place where a file cannot be read any further
# Sample types of tensorflow-io: the value that means silence, and full scale.
_SCALES = {'uint8': (128, 2**7), 'int16': (0, 2**15), 'int32': (0, 2**31), 'float32': (0, 1)}
_CURE = "pip install 'stembeam[tfio]' in an environment of its own (TensorFlow 2.17; it loads under 2.16 and 2.17 only)"


def check_tfio() -> None:
    """Raises UsageError, with the cure, if tensorflow-io is not installed or does not load here."""
    if importlib.util.find_spec('tensorflow_io') is None:
        raise UsageError(f'--decoder tfio: tensorflow-io is not installed: {_CURE}')
    try:
        _operations()
    except (ImportError, NotImplementedError) as error:
        version = importlib.metadata.version('tensorflow')
        raise UsageError(f'--decoder tfio: tensorflow-io does not load under TensorFlow {version}: {_CURE}') from error


class TfioReader(BlockReader):
    """Reads what TensorFlow I/O knows.  Exact seeking in WAV and FLAC; the others are read from front to back."""

    decoder = 'tfio'

    def __init__(self, source: str | SourceFile, uri: str) -> None:
        """`source` is a local path or an open file, which is copied: TensorFlow I/O opens files by name alone.

        Raises:
          UnreadableError: TensorFlow I/O does not know this kind of file, or is known to read it wrongly.
          OSError: there is no such file, or it may not be read.
          UsageError: TensorFlow I/O is not installed.
        """
        super().__init__(uri)
        check_tfio()
        with _path_of(source) as path:
            self.container, self.codec = _format_of(path)
            self._audio = _OpenAudio(path)
        self.exact_seek = self.container in ('wav', 'flac')
        self.sample_rate = self._audio.sample_rate
        self.channels = self._audio.channels

    @property
    def header_samples(self) -> int:
        """See BlockReader."""
        return self._audio.num_samples

    def _chunks(self) -> Iterator[np.ndarray]:
        tf, _ = _operations()
        position = self.position
        while position < self.header_samples:
            count = min(CHUNK_SAMPLES - position % CHUNK_SAMPLES, self.header_samples - position)
            try:
                chunk = self._audio.read(position, position + count)
            except tf.errors.OpError:  # TensorFlow I/O does not tell damage from the end of a file that was cut off
                chunk = np.zeros((0, self.channels), np.float32)
            if len(chunk):
                yield chunk
            if len(chunk) < count:
                self.cut_short = True
                return
            position += count

    def seek(self, position: int) -> None:
        """See BlockReader."""
        if not self.exact_seek:
            super().seek(position)
        self._restart(position)

    def close(self) -> None:
        """See BlockReader."""
        self._audio.close()


class _OpenAudio:
    """An open file in TensorFlow I/O, under a name that no other open file of the process has."""

    def __init__(self, path: str) -> None:
        """Raises UnreadableError or OSError, as `TfioReader`."""
        self._name: int | None = _names.take()
        try:
            self._open(path)
        except BaseException:
            _names.give_back(self._name)
            self._name = None
            raise

    def _open(self, path: str) -> None:
        tf, operations = _operations()
        try:
            with tf.device('CPU:0'):
                self._resource = operations.io_audio_readable_init(
                    os.fsencode(path), shared_name=f'stembeam-{self._name}'
                )
                shape, dtype, rate = operations.io_audio_readable_spec(self._resource)
        except tf.errors.OpError as error:
            raise UnreadableError(_reason(error).replace(path, 'this file')) from error
        self.num_samples, self.channels = (int(size) for size in shape.numpy())
        self.sample_rate = int(rate)
        self._dtype = tf.as_dtype(int(dtype))
        if self._dtype.name not in _SCALES:
            self._destroy()
            raise UnreadableError(f'samples of type {self._dtype.name}')

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop), float32 (n, channels), n < stop - start only at the end.  Raises tf.errors.OpError."""
        tf, operations = _operations()
        with tf.device('CPU:0'):
            samples = operations.io_audio_readable_read(self._resource, start, stop, dtype=self._dtype).numpy()
        silence, full_scale = _SCALES[self._dtype.name]
        return (samples.astype(np.float32) - np.float32(silence)) * np.float32(1 / full_scale)

    def close(self) -> None:
        """Frees the file and its name; may be called twice."""
        if self._name is not None:
            self._destroy()
            _names.give_back(self._name)
            self._name = None

    def _destroy(self) -> None:
        tf, _ = _operations()
        with tf.device('CPU:0'):
            tf.raw_ops.DestroyResourceOp(resource=self._resource)


class _Names:
    """Numbers that name open files.  They are used again: TensorFlow keeps something for every name for ever."""

    def __init__(self) -> None:
        """All are free."""
        self._free: list[int] = []
        self._count = 0
        self._lock = threading.Lock()

    def take(self) -> int:
        """A number that nobody else holds."""
        with self._lock:
            if not self._free:
                self._count += 1
                return self._count
            return self._free.pop()

    def give_back(self, name: int) -> None:
        """Makes it free."""
        with self._lock:
            self._free.append(name)


_names = _Names()


@functools.cache
def _operations() -> tuple[Any, Any]:
    """TensorFlow and the operations of TensorFlow I/O.

    Raises:
      ImportError: it is not installed.
      NotImplementedError: it does not load under this TensorFlow.
    """
    import tensorflow as tf
    from tensorflow_io.python.ops import core_ops

    core_ops.io_audio_readable_init  # noqa: B018  (the library is loaded when the first name in it is looked up)
    return tf, core_ops


@contextlib.contextmanager
def _path_of(source: str | SourceFile) -> Iterator[str]:
    """A path under which the content of `source` can be opened; what was opened stays readable afterwards."""
    if isinstance(source, str):
        yield source
        return
    with tempfile.NamedTemporaryFile(prefix='stembeam-') as copy:
        source.seek(0)
        while data := source.read(1 << 20):
            copy.write(data)
        copy.flush()
        yield copy.name


def _format_of(path: str) -> tuple[str, str]:
    """Container and codec as libsndfile calls them.

    Raises:
      UnreadableError: libsndfile does not know the file (it knows all that TensorFlow I/O does), or these are samples
        of 32 bit integers, which TensorFlow I/O takes for floating point.
      OSError: there is no such file, or it may not be read.
    """
    with open(path, 'rb') as file:
        try:
            about = soundfile.info(file)
        except soundfile.LibsndfileError as error:
            raise UnreadableError(str(error)) from error
    if about.subtype == 'PCM_32':
        raise UnreadableError('TensorFlow I/O takes 32 bit integers for floating point')
    return about.format.lower(), about.subtype


def _reason(error: Any) -> str:
    """The message of a TensorFlow error without the names of its insides."""
    return re.sub(r'^\{\{.*?\}\} *| *\[Op:[^\]]*\]$', '', error.message)
