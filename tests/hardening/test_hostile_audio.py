"""Audio files with bytes that are not what they should be: nothing but a TrackError, in bounded time and memory.

What libsndfile and FFmpeg do in their own code no test of ours can promise: for that there are attempts and trials.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stembeam.model.errors import TrackError
from stembeam.transforms.decoding import decode_blocks
from stembeam.transforms.headers import read_facts
from stembeam.transforms.probing import probe
from stembeam.transforms.vorbis import FixedSerial

from ..transforms.audio_files import noise, write
from .hostile import HOSTILE, damaged, only

KINDS = {'wav16': 'wav', 'rf64': 'wav', 'w64': 'w64', 'aiff': 'aiff', 'flac': 'flac', 'vorbis': 'ogg', 'mp3': 'mp3'}
AV_KINDS = {'m4a': 'm4a', 'mkv': 'mkv', 'opus': 'opus', 'wavpack': 'wv'}
MOST_READS = 5000  # of a header of some kilobytes


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp('audio')
    return [
        Path(write(folder / f'{kind}.{extension}', kind, noise(3000), 48_000)).read_bytes()
        for kind, extension in {**KINDS, **AV_KINDS}.items()
    ]


class Counted(io.BytesIO):
    """A file that counts how often it is read."""

    reads = 0

    @property
    def size(self) -> int:
        return len(self.getbuffer())

    def read(self, count: int | None = -1) -> bytes:
        self.reads += 1
        assert self.reads < MOST_READS, 'it reads for ever'
        return super().read(count)


@settings(HOSTILE, max_examples=300)
@given(data=st.data())
def test_headers(files, data):
    content = data.draw(st.one_of(damaged(*files), st.binary(max_size=64)))
    with only():
        read_facts(Counted(content))  # type: ignore[arg-type]


@settings(HOSTILE, max_examples=150)
@given(data=st.data(), allow_truncated=st.booleans())
def test_whole_files(tmp_path_factory, files, data, allow_truncated):
    path = tmp_path_factory.mktemp('a') / 'a'
    path.write_bytes(data.draw(damaged(*files)))
    open_files = len(os.listdir('/proc/self/fd')) if os.path.exists('/proc/self/fd') else 0
    with only(TrackError):
        info = probe(str(path), allow_truncated=allow_truncated)
        assert info.num_samples > 0
        assert info.channels > 0
        samples = 0
        for block in decode_blocks(str(path), info, info.sample_rate, allow_truncated=allow_truncated):
            assert block.dtype == np.float32
            assert block.shape[1] == 2
            assert np.isfinite(block).all()
            samples += len(block)
            if samples > 100 * 48_000:  # a header may promise anything; what is decoded comes block by block
                break
    if open_files:
        assert len(os.listdir('/proc/self/fd')) <= open_files + 1


@HOSTILE
@given(data=st.data())
def test_pages_of_ogg(files, data):
    """Our own encoder's output is what comes here; anything else passes without harm."""
    serial = FixedSerial()
    content = data.draw(st.one_of(damaged(*[f for f in files if f[:4] == b'OggS']), st.binary(max_size=64)))
    with only(ValueError):
        assert len(serial.pages(content)) <= len(content)
