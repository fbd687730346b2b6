"""One chunk of a track as bytes: 16-bit samples with a gain, in a tf.train.Example, framed as a TFRecord.

Stands on numpy alone: TensorFlow, which takes seconds to load and hundreds of megabytes, is for those who train. The
one idea to know: every chunk of a stem is scaled to its own peak before it is rounded, so that quiet ones keep 16 bits.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping

import numpy as np

FULL_SCALE = 32767  # of the 16-bit samples
SILENCE = np.float32(1e-30)  # peaks below count as nothing: single precision could not divide by them
_CRC32C = 0x82F63B78  # Castagnoli's polynomial, bits reversed
_LANES = (32768, 512, 8)  # pieces of the data that are summed at the same time; first of most of them, then the rest
_STEP = 8  # bytes of a piece at a time
_STEPS_COPIED = 8  # at a time: what stays in the processor's cache
_BYTES = 2  # wire type of protocol buffers: a length and so many bytes


def quantise(samples: np.ndarray) -> tuple[np.ndarray, float]:
    """Samples as 16-bit numbers and a gain.

    Args:
      samples: float32, any shape.

    Returns:
      int16 of the same shape, little-endian, and the gain, the peak of the samples as a float32 (0 for silence):
      `samples` is int16 / 32767 * gain, to within half a step.

    >>> quantise(np.array([0.0, 0.25, -0.5], np.float32))
    (array([     0,  16384, -32767], dtype=int16), 0.5)
    """
    gain = np.float32(np.abs(samples).max(initial=0))
    if gain < SILENCE:
        return np.zeros(samples.shape, '<i2'), 0.0
    scaled = samples * (np.float32(FULL_SCALE) / gain)
    return np.rint(scaled, out=scaled).astype('<i2'), float(gain)


def chunk_example(track: str, start: int, stems: Mapping[str, np.ndarray]) -> bytes:
    """A chunk as a serialised tf.train.Example, the same bytes for the same chunk.

    Args:
      track: name of the track.
      start: first sample of the chunk in the track.
      stems: stem -> float32 (samples, channels), all of one shape.

    Returns:
      Features `track` (bytes), `start`, `samples`, `channels` (int64), and for each stem `audio/<stem>` (bytes: int16,
      little-endian, (samples, channels)) and `gain/<stem>` (float), see `quantise`.
    """
    shape = next(iter(stems.values())).shape
    features = {
        'track': _bytes_feature(track.encode('utf-8', 'surrogateescape')),
        'start': _int_feature(start),
        'samples': _int_feature(shape[0]),
        'channels': _int_feature(shape[1]),
    }
    for stem, samples in stems.items():
        numbers, gain = quantise(samples)
        features[f'audio/{stem}'] = _bytes_feature(numbers.tobytes())
        features[f'gain/{stem}'] = _float_feature(gain)
    entries = [_field(1, [*_field(1, [name.encode()]), *_field(2, features[name])]) for name in sorted(features)]
    return b''.join(_field(1, [part for entry in entries for part in entry]))


def framed(record: bytes) -> tuple[bytes, bytes, bytes]:
    """A record as it stands in a TFRecord file: its length with a checksum, the record, and its checksum."""
    length = struct.pack('<Q', len(record))
    return length + _masked(crc32c(length)), record, _masked(crc32c(record))


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of `data`, as TFRecord files and many storage formats use it.

    The data are cut into pieces whose checksums are made side by side, eight bytes at a time by four tables (slicing by
    eight: Kounavis and Berry, 2008), and joined two by two: a checksum is linear over GF(2).
    """
    crc, start = 0xFFFFFFFF, 0
    for lanes in _LANES:
        steps = (len(data) - start) // (lanes * _STEP)
        if steps:
            words = np.frombuffer(data, '<u2', lanes * steps * _STEP // 2, start)
            crc = _crc_of_pieces(words.reshape(lanes, steps, _STEP // 2), crc)
            start += lanes * steps * _STEP
    table = _byte_list()
    for byte in data[start:]:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> bytes:
    """As TFRecord wants checksums, so that a checksum of data that hold checksums is no special case."""
    return struct.pack('<I', ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@functools.cache
def _byte_tables() -> np.ndarray:
    """(8, 256) uint32: what a byte becomes after 0 to 7 further bytes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_CRC32C), table >> 1).astype(np.uint32)
    tables = [table]
    for _ in range(_STEP - 1):
        tables.append(table[tables[-1] & 0xFF] ^ tables[-1] >> 8)
    return np.array(tables)


@functools.cache
def _word_tables() -> np.ndarray:
    """(4, 65536) uint32: what the four 16-bit words of eight bytes become."""
    tables, word = _byte_tables(), np.arange(65536)
    return np.array([tables[high][word & 0xFF] ^ tables[high - 1][word >> 8] for high in (7, 5, 3, 1)])


@functools.cache
def _byte_list() -> list[int]:
    return _byte_tables()[0].tolist()


def _crc_of_pieces(pieces: np.ndarray, first: int) -> int:
    """The checksum of pieces uint16 (pieces, steps, 4) one after another, going on from `first`, not inverted."""
    tables = _word_tables()
    crcs = np.zeros(len(pieces), np.uint32)
    crcs[0] = first
    for at in range(0, pieces.shape[1], _STEPS_COPIED):
        for words in np.ascontiguousarray(pieces[:, at : at + _STEPS_COPIED].transpose(1, 2, 0)):
            low, high = (crcs & 0xFFFF) ^ words[0], (crcs >> 16) ^ words[1]
            crcs = tables[0].take(low) ^ tables[1].take(high) ^ tables[2].take(words[2]) ^ tables[3].take(words[3])
    zeros = pieces.shape[1] * _STEP
    while len(crcs) > 1:
        crcs = _apply(_zeros_matrix(zeros), crcs[0::2]) ^ crcs[1::2]
        zeros *= 2
    return int(crcs[0])


@functools.lru_cache(maxsize=256)
def _zeros_matrix(zeros: int) -> np.ndarray:
    """uint32 (4, 256): what each byte of a checksum becomes when `zeros` > 0 zero bytes follow."""
    if zeros == 1:
        rows = _byte_tables()
        word = np.arange(256, dtype=np.uint32)
        return np.array([rows[0], word, word << 8, word << 16], np.uint32)
    half = _zeros_matrix(zeros // 2)
    whole = _apply(half, half)
    return _apply(_zeros_matrix(1), whole) if zeros % 2 else whole


def _apply(matrix: np.ndarray, crcs: np.ndarray) -> np.ndarray:
    return matrix[0][crcs & 0xFF] ^ matrix[1][crcs >> 8 & 0xFF] ^ matrix[2][crcs >> 16 & 0xFF] ^ matrix[3][crcs >> 24]


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _field(number: int, content: list[bytes]) -> list[bytes]:
    """A field that holds bytes, text or a message, in pieces that are joined once at the end."""
    return [bytes([number << 3 | _BYTES]), _varint(sum(map(len, content))), *content]


def _bytes_feature(value: bytes) -> list[bytes]:
    return _field(1, _field(1, [value]))


def _float_feature(value: float) -> list[bytes]:
    return _field(2, _field(1, [struct.pack('<f', value)]))


def _int_feature(value: int) -> list[bytes]:
    return _field(3, _field(1, [_varint(value)]))
