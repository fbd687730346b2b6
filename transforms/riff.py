"""The header of a WAV file of any length.

Stands on struct only.  The one idea to know: RIFF counts bytes in 32 bits, so a file beyond 4 GiB (three and a half
hours of 32-bit float stereo) must be RF64 (EBU Tech 3306).  Both headers have the same size here: what is ds64 in RF64
is a JUNK chunk in RIFF, so a header can be written first and put right when the length is known.
"""

from __future__ import annotations

import struct

from .formats import StemFormat

_UNKNOWN = 0xFFFFFFFF  # in RF64: see ds64
_PCM, _FLOAT = 1, 3
_DS64_BYTES = 28


def bytes_per_sample(stem_format: StemFormat) -> int:
    """Of one channel in the file: 2, 3 or 4."""
    return 4 if stem_format.bits is None else stem_format.bits // 8


def wav_header(stem_format: StemFormat, sample_rate: int, channels: int, num_samples: int) -> bytes:
    """Everything before the samples; its size depends on the format alone.

    Args:
      stem_format: one of the wav formats.
      sample_rate: Hz.
      channels: interleaved in the file.
      num_samples: per channel.  An odd number of bytes of them must be followed by a zero byte.
    """
    frame_bytes = bytes_per_sample(stem_format) * channels
    data_bytes = frame_bytes * num_samples
    bits = 8 * bytes_per_sample(stem_format)
    kind = _PCM if stem_format.bits else _FLOAT
    fields = struct.pack('<HHIIHH', kind, channels, sample_rate, sample_rate * frame_bytes, frame_bytes, bits)
    between = _chunk(b'fmt ', fields if kind == _PCM else fields + bytes(2))
    if kind == _FLOAT:
        between += _chunk(b'fact', struct.pack('<I', min(num_samples, _UNKNOWN)))
    riff_bytes = 4 + 8 + _DS64_BYTES + len(between) + 8 + data_bytes + data_bytes % 2
    if riff_bytes <= _UNKNOWN:
        start = struct.pack('<4sI4s', b'RIFF', riff_bytes, b'WAVE') + _chunk(b'JUNK', bytes(_DS64_BYTES))
        return start + between + struct.pack('<4sI', b'data', data_bytes)
    lengths = struct.pack('<QQQI', riff_bytes, data_bytes, num_samples, 0)
    start = struct.pack('<4sI4s', b'RF64', _UNKNOWN, b'WAVE') + _chunk(b'ds64', lengths)
    return start + between + struct.pack('<4sI', b'data', _UNKNOWN)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack('<4sI', name, len(content)) + content
