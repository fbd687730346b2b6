"""What an audio file's own bytes say about its length, where the decoding libraries keep silent about it.

Stands on struct only. The one idea: libsndfile and FFmpeg quietly take a file that ends too early for a shorter one,
but containers that are made of sized boxes name the size of the box that should be there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol

_W64_DATA = bytes.fromhex('64617461f3acd3118cd100c04f8edb8a')
_W64_RIFF = bytes.fromhex('726966662e91cf11a5d628db04c10000')
_MATROSKA = bytes.fromhex('1a45dfa3')
_MATROSKA_SEGMENT = bytes.fromhex('18538067')
SLACK_BYTES = 64  # some programs count the header among the data
# What programs write that cannot go back to fill in the size: 0xffffffff, 0x80000000, 0x7fffffff, or a little less.
_UNKNOWN_SIZES = ((0x7FFFF000, 0x80000000), (0xFFFFF000, 0xFFFFFFFF))


class Shortage(NamedTuple):
    """A box of the file that ends beyond the end of the file."""

    there: int  # bytes of it
    promised: int  # bytes


class _File(Protocol):
    size: int

    def read(self, count: int = -1) -> bytes: ...

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int: ...


class HeaderFacts(NamedTuple):
    """What the bytes of a file say that the libraries do not."""

    shortage: Shortage | None
    counts_frames: bool  # an MP3 file that knows its length; meaningless in other files
    is_chained: bool  # an Ogg file with more than one stream: side by side, or one after another


def read_facts(file: _File) -> HeaderFacts:
    """Everything in here about one file, which is left at its start."""
    facts = HeaderFacts(find_shortage(file), has_mp3_length(file), is_chained_ogg(file))
    file.seek(0)
    return facts


def find_shortage(file: _File) -> Shortage | None:
    """The shortage of a WAV, RF64, W64, AIFF, AU, CAF, AVI, MP4/MOV or Matroska file; None where none can be seen."""
    file.seek(0)
    magic = file.read(16)
    if magic[:4] in (b'RIFF', b'RIFX', b'RF64') and magic[8:12] == b'WAVE':
        boxes = _riff_data(file, '>' if magic[:4] == b'RIFX' else '<')
    elif magic[:4] == b'RIFF' and magic[8:12] == b'AVI ':
        boxes = iter([(8, _known(struct.unpack('<I', magic[4:8])[0]))])
    elif magic[:4] == b'FORM' and magic[8:12] in (b'AIFF', b'AIFC'):
        boxes = _chunks(file, 12, '>4sI', (b'SSND',))
    elif magic[:4] == b'caff':
        boxes = _chunks(file, 8, '>4sq', (b'data',), even=False)
    elif magic == _W64_RIFF:
        boxes = _w64_data(file)
    elif magic[:4] == b'.snd' and len(magic) >= 12:
        start, size = struct.unpack('>II', magic[4:12])
        boxes = iter([(start, _known(size))])
    elif magic[4:8] in (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip'):
        boxes = _mp4_boxes(file)
    elif magic[:4] == _MATROSKA:
        boxes = _matroska_segment(file)
    else:
        return None
    for start, size in boxes:
        if size is not None and start + size > file.size + SLACK_BYTES:
            return Shortage(max(0, file.size - start), size)
    return None


def _known(size: int) -> int | None:
    return None if any(low <= size <= high for low, high in _UNKNOWN_SIZES) else size


def _at(file: _File, offset: int, count: int) -> bytes:
    """Bytes at an offset, which comes from the file itself and may be anything."""
    if offset >= file.size:
        return b''
    file.seek(offset)
    return file.read(count)


def _chunks(
    file: _File, offset: int, form: str, wanted: tuple[bytes, ...], even: bool = True
) -> Iterator[tuple[int, int | None]]:
    """(start, size) of the first chunk of a wanted kind; the size is None where it is not known."""
    length = struct.calcsize(form)
    while True:
        head = _at(file, offset, length)
        if len(head) < length:
            return
        kind, size = struct.unpack(form, head)
        start = offset + length
        if kind in wanted:
            yield start, _known(size) if size >= 0 else None
            return
        if size < 0:
            return
        offset = start + size + (size % 2 if even else 0)


def _riff_data(file: _File, order: str) -> Iterator[tuple[int, int | None]]:
    file.seek(12)
    head = file.read(24)
    large = struct.unpack('<Q', head[16:24])[0] if head[:4] == b'ds64' and len(head) == 24 else None
    for start, size in _chunks(file, 12, f'{order}4sI', (b'data',)):
        yield start, size if size is not None else large


def _w64_data(file: _File) -> Iterator[tuple[int, int | None]]:
    offset = 40
    while True:
        head = _at(file, offset, 24)
        if len(head) < 24:
            return
        size = struct.unpack('<Q', head[16:])[0]  # counts its own head
        if head[:16] == _W64_DATA:
            yield offset, size
            return
        if size < 24:
            return
        offset += -(-size // 8) * 8


def _mp4_boxes(file: _File) -> Iterator[tuple[int, int | None]]:
    offset = 0
    while True:
        head = _at(file, offset, 16)
        if len(head) < 8:
            return
        size = struct.unpack('>I', head[:4])[0]
        if size == 1 and len(head) == 16:
            size = struct.unpack('>Q', head[8:])[0]
        if size < 8:  # 0: to the end of the file; otherwise no box
            return
        if head[4:8] in (b'moov', b'mdat', b'moof'):
            yield offset, size
        offset += size


def _matroska_segment(file: _File) -> Iterator[tuple[int, int | None]]:
    file.seek(4)
    size, length = _matroska_size(file.read(8))
    if size is None:
        return
    offset = 4 + length + size
    head = _at(file, offset, 12)
    if head[:4] == _MATROSKA_SEGMENT:
        size, length = _matroska_size(head[4:])
        yield offset + 4 + length, size


def _matroska_size(data: bytes) -> tuple[int | None, int]:
    """The value of a variable-length size (None: not known) and the number of bytes that it takes."""
    if not data or data[0] == 0:
        return None, 1
    length = 9 - data[0].bit_length()
    value = int.from_bytes(data[:length], 'big') - (1 << 7 * length)
    return (None if value == (1 << 7 * length) - 1 else value), length


def has_mp3_length(file: _File) -> bool:
    """Whether an MP3 file begins with a Xing or Info tag that counts its frames; without it lengths are estimates."""
    file.seek(0)
    head = file.read(10)
    offset = 0
    if head[:3] == b'ID3' and len(head) == 10:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset = 10 + size + (10 if head[5] & 0x10 else 0)
    file.seek(offset)
    data = file.read(8192)
    sync = next((i for i in range(len(data) - 1) if data[i] == 0xFF and data[i + 1] & 0xE0 == 0xE0), None)
    if sync is None:
        return False
    frame = data[sync : sync + 64]
    tag = max(frame.find(b'Xing'), frame.find(b'Info'))
    return tag > 0 and len(frame) >= tag + 8 and bool(frame[tag + 7] & 1)


def is_chained_ogg(file: _File) -> bool:
    """Whether an Ogg file holds a second stream, beside the first or after it; libsndfile reads the first alone."""
    offset, begun = 0, 0
    while begun <= 1:
        file.seek(offset)
        head = file.read(27 + 255)  # of one page
        if len(head) < 27 or head[:4] != b'OggS':
            return False
        begun += bool(head[5] & 2)
        segments = head[26]
        offset += 27 + segments + sum(head[27 : 27 + segments])
    return True
