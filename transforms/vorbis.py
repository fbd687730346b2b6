"""Ogg Vorbis through libsndfile: what libsndfile leaves to chance, or to find out.

Stands on soundfile and the layout of an Ogg page (RFC 3533).  The one idea to know: libvorbis is steered by a quality
between 0 and 1 and draws a random serial number for each file; here a bitrate becomes the quality whose nominal
bitrate it is, and every file gets the same serial number, so that equal samples give equal bytes.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib

import soundfile

MAX_RATE = 200_000  # Hz; libsndfile 1.2.2 crashes the process beyond it
_MAX_NOMINAL_RATE = 50_000  # Hz; libvorbis has a nominal bitrate up to here
_SERIAL = 1
_PAGE_HEADER = 27  # bytes, before the table of segment lengths
_REVERSED_BITS = bytes(int(f'{byte:08b}'[::-1], 2) for byte in range(256))


def quality_for(bitrate: int, sample_rate: int, channels: int) -> float:
    """The lowest quality, 0 to 1, that has at least this nominal bitrate (bits per second).

    The bitrate of a file varies with its sound, often below the nominal one.  Above 50 kHz libvorbis names no bitrates;
    the quality is then the one that has this bitrate at 48 kHz.
    """
    below, enough = 0.0, 1.0
    if _nominal_bitrate(below, sample_rate, channels) >= bitrate:
        return below
    while enough - below > 1e-4:
        middle = (below + enough) / 2
        if _nominal_bitrate(middle, sample_rate, channels) >= bitrate:
            enough = middle
        else:
            below = middle
    return enough


def nominal_bitrates(sample_rate: int, channels: int) -> tuple[int, int]:
    """Nominal bits per second of the lowest and the highest quality."""
    return _nominal_bitrate(0.0, sample_rate, channels), _nominal_bitrate(1.0, sample_rate, channels)


@functools.lru_cache(maxsize=256)
def _nominal_bitrate(quality: float, sample_rate: int, channels: int) -> int:
    rate = 48000 if sample_rate > _MAX_NOMINAL_RATE else sample_rate
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, 'w', rate, channels, format='OGG', subtype='VORBIS', compression_level=1 - quality
    ):
        pass
    header = buffer.getvalue()
    fields = header.index(b'\x01vorbis') + 7  # version, channels, rate, maximum, nominal and minimum bitrate follow
    return int(struct.unpack_from('<i', header, fields + 13)[0])


class FixedSerial:
    """Cuts a stream of bytes, as it comes, into Ogg pages and gives each the same serial number.

    >>> FixedSerial().pages(b'Ogg')  # the rest of the page has not come yet
    b''
    """

    def __init__(self) -> None:
        """Waits for the first page."""
        self._pending = b''

    def pages(self, data: bytes) -> bytes:
        """The pages that `data` completes; what is left over waits for the next call."""
        self._pending += data
        done = []
        while (length := _page_length(self._pending)) is not None:
            done.append(_with_serial(self._pending[:length]))
            self._pending = self._pending[length:]
        return b''.join(done)


def _page_length(data: bytes) -> int | None:
    """Bytes of the page at the start of `data`; None while it is not all there."""
    if len(data) < _PAGE_HEADER:
        return None
    table_end = _PAGE_HEADER + data[26]
    length = table_end + sum(data[_PAGE_HEADER:table_end])
    return length if len(data) >= length else None


def _with_serial(page: bytes) -> bytes:
    blank = page[:14] + struct.pack('<I', _SERIAL) + page[18:22] + bytes(4) + page[26:]
    return blank[:22] + struct.pack('<I', _checksum(blank)) + blank[26:]


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32: zlib's polynomial, most significant bit first, no inversions; so zlib's with all bits reversed."""
    crc = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f'{crc:032b}'[::-1], 2)
