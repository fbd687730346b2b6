"""Parts of long tracks: what is stored of a segment, and that it is found again; joining them is test_assembling's."""

from __future__ import annotations

import os

import numpy as np
import pytest

from stembeam.model.errors import TrackError
from stembeam.model.method import Method
from stembeam.transforms.records import Completed, Part
from stembeam.transforms.writing import find_part, part_folder, read_body, read_seams, write_part, write_segment

from ..conftest import noise
from .jobs import make_job, plan, separate_by_chance, write_track

HOP, TAIL, LEAD = 65536, 3072, 4096  # of the tiny model, in samples
SOUND = noise(5)  # four chunks


@pytest.fixture
def track(tmp_path):
    return write_track(tmp_path / 'a.wav', SOUND)


@pytest.fixture(params=['disk', 'memory'])
def out(request, tmp_path):
    return tmp_path / 'out' if request.param == 'disk' else f'memory://{tmp_path.name}/out'


def test_a_part_keeps_body_and_seams(out, tiny_model, track):
    job = make_job(out, tiny_model, format='wav-float', chunks_per_segment=2)
    planned = plan(track, job)
    whole, (first, second) = separate_by_chance(planned, job)
    parts = [write_part(separated, job) for separated in (first, second)]
    # Body and seam of the first segment; the seam, and the rest, of the second.
    cut = 2 * HOP - LEAD
    assert [part.body_samples for part in parts] == [cut, len(SOUND) - cut - TAIL]
    assert [part.end for part in parts] == [None, len(SOUND)]
    for number, name in enumerate(job.instruments):
        for part, expected in zip(parts, (whole[number][:cut], whole[number][cut + TAIL :]), strict=True):
            np.testing.assert_array_equal(np.concatenate(list(read_body(part, name, job))), expected)
        seam = read_seams(parts[0], job)[number, 1] + read_seams(parts[1], job)[number, 0]
        np.testing.assert_array_equal(seam, whole[number][cut : cut + TAIL])


@pytest.mark.parametrize(('format', 'dtype'), [('wav', np.int16), ('flac24', np.int32), ('ogg', np.float32)])
def test_bodies_are_stored_as_the_format_will_hold_them(tmp_path, tiny_model, track, format, dtype):
    job = make_job(tmp_path / 'out', tiny_model, format=format, chunks_per_segment=2)
    _, separated = separate_by_chance(plan(track, job), job)
    separated[0].stems[1] *= 0.1
    part = write_part(separated[0], job)
    body = np.load(tmp_path / 'out' / part.folder / 'drums.npy')
    # The first stem goes beyond full scale and stays as it is, so that its clipped samples can be counted.
    assert (body.dtype, body.shape) == (dtype, (2 * HOP - LEAD, 2))
    assert np.load(tmp_path / 'out' / part.folder / 'vocals.npy').dtype == np.float32
    blocks = list(read_body(part, 'drums', job, block_samples=10_000))
    assert {len(block) for block in blocks[:-1]} == {10_000}
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    step = {np.int16: 2**-15, np.int32: 2**-23, np.float32: 0}[dtype]
    np.testing.assert_allclose(np.concatenate(blocks), separated[0].stems[1][LEAD : 2 * HOP], atol=step)


def test_only_wanted_stems_are_stored(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=2, method=Method(stems=('other',)))
    _, separated = separate_by_chance(plan(track, job), job)
    part = write_part(separated[0], job)
    assert sorted(os.listdir(tmp_path / 'out' / part.folder)) == ['other.npy', 'part.json', 'seams.npy']
    np.testing.assert_array_equal(read_seams(part, job)[0, 1], separated[0].stems[0][2 * HOP :])


def test_a_part_is_found_again(out, tiny_model, track):
    job = make_job(out, tiny_model, chunks_per_segment=2)
    planned = plan(track, job)
    _, (separated, _) = separate_by_chance(planned, job)
    segment = separated.decoded.segment
    assert find_part(segment, job) is None
    part = write_part(separated, job)
    assert find_part(segment, job) == part
    assert part.seconds['decode'] == 0.5
    assert part.seconds['write'] > 0


def test_only_the_very_same_part_is_found(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=2)
    planned = plan(track, job)
    _, (separated, _) = separate_by_chance(planned, job)
    segment = separated.decoded.segment
    part = write_part(separated, job)
    other_input = segment._replace(planned=planned._replace(fingerprint='0' * 64))
    other_split = segment._replace(num_segments=3)
    assert [find_part(s, job) for s in (other_input, other_split, segment._replace(index=1, first_chunk=2))] == [
        None
    ] * 3
    assert find_part(segment._replace(num_segments=1), job) is None
    assert find_part(segment, make_job(tmp_path / 'out', tiny_model, overwrite=True)) is None
    marker = tmp_path / 'out' / part.folder / 'part.json'
    marker.write_bytes(b'')  # after a power cut
    assert find_part(segment, job) is None
    marker.unlink()  # killed before it was whole
    assert find_part(segment, job) is None


def test_a_part_of_an_empty_segment(tmp_path, tiny_model, track):
    """A header that promised too much leaves segments beyond the end without chunks."""
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=2)
    _, (_, last) = separate_by_chance(plan(track, job), job)
    segment = last.decoded.segment._replace(num_chunks=0)
    empty = last._replace(
        decoded=last.decoded._replace(segment=segment, samples=np.zeros((0, 2), np.float32), end=2 * HOP - LEAD),
        stems=np.zeros((3, 0, 2), np.float32),
    )
    part = write_part(empty, job)
    assert part.body_samples == 0
    assert list(read_body(part, 'vocals', job)) == []
    assert not read_seams(part, job).any()
    found = find_part(last.decoded.segment, job)
    assert found == part
    assert found.segment.num_chunks == 0


def test_a_short_track_is_finished_at_once(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model)
    planned = plan(track, job)
    _, (separated,) = separate_by_chance(planned, job)
    (done,) = write_segment(separated, job)
    assert isinstance(done, Completed)
    assert (tmp_path / 'out' / 'stems' / 'a' / 'vocals.wav').exists()
    assert not (tmp_path / 'out' / '.stembeam' / 'parts').exists()


def test_a_segment_of_several_is_a_part(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=2)
    _, separated = separate_by_chance(plan(track, job), job)
    (part,) = write_segment(separated[1], job)
    assert isinstance(part, Part)
    assert part.folder == part_folder(separated[1].decoded.segment)
    assert not (tmp_path / 'out' / 'stems').exists()


@pytest.mark.parametrize('chunks_per_segment', [2, 4])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_stems_that_are_no_numbers_are_the_track_s_failure(tmp_path, tiny_model, track, chunks_per_segment, value):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=chunks_per_segment)
    _, separated = separate_by_chance(plan(track, job), job)
    separated[0].stems[1, 5000, 0] = value
    with pytest.raises(TrackError, match=r'a\.wav: stem drums comes out with NaN or infinity'):
        list(write_segment(separated[0], job))
    assert not (tmp_path / 'out' / 'stems').exists()
    assert find_part(separated[0].decoded.segment, job) is None
