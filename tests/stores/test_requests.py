"""How often a store is asked: what one request tells is not asked for again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stembeam.model.errors import TrackError
from stembeam.model.remote import READ_BYTES, RemoteFile
from stembeam.transforms import sources
from stembeam.transforms.decoding import decode_blocks
from stembeam.transforms.planning import plan_track, source_identity
from stembeam.transforms.records import PlannedTrack, Track

from ..conftest import noise
from ..transforms.jobs import make_job
from .conftest import Store


def flac(seconds: float, seed: int = 0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(seconds, seed=seed), 44100, format='FLAC')
    return file.getvalue()


def test_a_small_track_of_s3_takes_a_request_to_be_planned_and_one_to_be_decoded(
    s3: Store, tmp_path: Path, tiny_model: Path
):
    content = flac(0.5)
    uri = s3.put('in/a.flac', content)
    job = make_job(tmp_path / 'out', tiny_model, is_fresh=True)
    s3.proxy.seen.clear()
    (planned,) = plan_track(Track('a', uri, {}), job)
    assert isinstance(planned, PlannedTrack)
    assert not planned.is_known
    assert s3.proxy.seen == [f'GET /{s3.root[5:]}/in/a.flac']
    assert planned.source == source_identity(uri)  # as a HEAD tells it
    assert planned.source['bytes'] == len(content)
    s3.proxy.seen.clear()
    decoded = np.concatenate(list(decode_blocks(uri, planned.info, 44100)))
    assert s3.proxy.seen == [f'GET /{s3.root[5:]}/in/a.flac']
    np.testing.assert_array_equal(decoded, soundfile.read(io.BytesIO(content), dtype='float32')[0])
    list(decode_blocks(uri, planned.info, 44100))
    assert s3.proxy.seen[1:] == [f'HEAD /{s3.root[5:]}/in/a.flac']  # there is a copy, which is as it was
    s3.put('in/a.flac', flac(0.5, seed=1))
    changed = np.concatenate(list(decode_blocks(uri, planned.info, 44100)))
    assert not np.array_equal(changed, decoded)
    assert source_identity(uri) != planned.source


@pytest.mark.parametrize('size', [1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES])
def test_files_of_all_sizes_arrive(store: Store, size: int):
    content = np.random.default_rng(0).bytes(size)
    uri = store.put('a.bin', content)
    wanted, asked = RemoteFile(uri, is_wanted=True), RemoteFile(uri)
    assert wanted.version == asked.version
    assert wanted.size == asked.size == size
    assert b''.join(wanted.blocks(READ_BYTES)) == b''.join(asked.blocks()) == content
    assert wanted.read_range(size // 2, size) == content[size // 2 :]


def test_what_is_no_file_is_told_as_ever(store: Store):
    with pytest.raises(TrackError, match='there is no such file'):
        sources.look_at(store.put('in/a.wav', b'x') + '.not')
    with pytest.raises(TrackError, match='this is a folder'):
        sources.look_at(f'{store.root}/in')
    assert RemoteFile(store.put('in/empty.wav', b''), is_wanted=True).size == 0
