from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from stembeam.model.errors import TrackError
from stembeam.model.remote import RemoteFile
from stembeam.model.resampling import BLOCK_SECONDS, match_channels, resample, resampled_length
from stembeam.transforms import decoding, native_streams, sources
from stembeam.transforms.decoding import decode_blocks
from stembeam.transforms.probing import probe
from stembeam.transforms.readers import BlockReader, SoundfileReader
from stembeam.transforms.records import AudioInfo

from .audio_files import AV_KINDS, SOUNDFILE_KINDS, corrupt, cut, decode_with, noise, read_segment, write, write_video

RATE = 8000  # a low rate makes long tracks small
SECONDS = 2 * BLOCK_SECONDS + 7.3
RATES = {'opus': 48000, 'webm': 48000, 'ac3': 32000, 'wma': 22050}
EXACT = ['wav16', 'wav24', 'wav-float', 'rf64', 'w64', 'aiff', 'au', 'caf', 'flac', 'flac24']


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """Every test begins with nothing open."""
    pool = native_streams.StreamPool()
    monkeypatch.setattr(decoding, '_POOL', pool)
    return pool


@pytest.fixture(scope='module')
def tracks(tmp_path_factory):
    """kind -> path of a track of several blocks."""
    folder = tmp_path_factory.mktemp('tracks')
    made = {}

    def track(kind):
        if kind not in made:
            rate = RATES.get(kind, RATE)
            made[kind] = write(folder / kind, kind, noise(int(SECONDS * rate)), rate)
        return made[kind]

    return track


def whole(path, info, sample_rate, channels=2):
    """What decoding should give, by way of the libraries in one go."""
    samples = decode_with(info.decoder, path)
    return resample(match_channels(samples, channels), info.sample_rate, sample_rate)


@pytest.mark.parametrize('kind', [*SOUNDFILE_KINDS, *AV_KINDS])
def test_blocks_join_to_the_whole_track(tracks, kind):
    path = tracks(kind)
    info = probe(path)
    for sample_rate in (info.sample_rate, 6000):
        blocks = list(decode_blocks(path, info, sample_rate))
        assert all(0 < len(block) <= BLOCK_SECONDS * sample_rate for block in blocks)
        assert all(block.dtype == np.float32 for block in blocks)
        joined = np.concatenate(blocks)
        assert len(joined) == resampled_length(info.num_samples, info.sample_rate, sample_rate)
        np.testing.assert_allclose(joined, whole(path, info, sample_rate), atol=1e-6)
        if info.exact_seek:
            np.testing.assert_array_equal(joined, whole(path, info, sample_rate))


@pytest.mark.parametrize('sample_rate', [RATE, 6000, 11025])
@pytest.mark.parametrize('kind', ['wav16', 'flac', 'mp3', 'vorbis', 'm4a', 'adts'])
def test_windows_are_bit_identical(tracks, kind, sample_rate):
    path = tracks(kind)
    info = probe(path)
    reference = read_segment(path, info, sample_rate)
    block = BLOCK_SECONDS * sample_rate
    end = len(reference)
    windows = [
        (0, 1),
        (0, block),
        (1, block + 1),
        (block - 1, block + 1),
        (block, 2 * block),
        (end - 1, end),
        (end - 1, end + 9),
    ]
    windows += [tuple(sorted(pair)) for pair in np.random.default_rng(0).integers(0, end, (8, 2)).tolist()]
    for start, stop in windows:
        np.testing.assert_array_equal(
            read_segment(path, info, sample_rate, start=start, stop=stop), reference[start:stop], f'{start}:{stop}'
        )
    np.testing.assert_array_equal(read_segment(path, info, sample_rate, start=end - 5), reference[-5:])
    assert read_segment(path, info, sample_rate, start=end).shape == (0, 2)
    assert read_segment(path, info, sample_rate, start=end + block, stop=end + 2 * block).shape == (0, 2)
    assert read_segment(path, info, sample_rate, start=5, stop=5).shape == (0, 2)


@pytest.mark.parametrize('kind', EXACT)
def test_a_seek_is_exact(tracks, kind):
    path = tracks(kind)
    info = probe(path)
    assert info.exact_seek
    reference = decode_with('soundfile', path)
    for position in np.random.default_rng(0).integers(0, len(reference), 20):
        reader = SoundfileReader(path, path)
        reader.seek(int(position))
        np.testing.assert_array_equal(reader.read(3000), reference[position : position + 3000])
        assert reader.position == min(position + 3000, len(reference))
        reader.close()


class CountingReader(SoundfileReader):
    opened = 0
    decoded = 0

    def __init__(self, *args):
        type(self).opened += 1
        super().__init__(*args)

    def _advance(self, count):
        for part in super()._advance(count):
            type(self).decoded += len(part)
            yield part


@pytest.mark.parametrize('sample_rate', [RATE, 6000])
def test_segments_of_a_long_mp3_decode_it_once(tracks, pool, monkeypatch, sample_rate):
    path = tracks('mp3')
    info = probe(path)
    reference = read_segment(path, info, sample_rate)
    monkeypatch.setattr(decoding, 'open_reader', lambda decoder, source, uri, stream: CountingReader(source, uri))
    monkeypatch.setattr(CountingReader, 'opened', 0)
    monkeypatch.setattr(CountingReader, 'decoded', 0)
    step, overlap = 3 * sample_rate + 17, sample_rate // 2
    for start in range(0, len(reference), step):
        first = max(0, start - overlap)
        segment = read_segment(path, info, sample_rate, start=first, stop=start + step)
        np.testing.assert_array_equal(segment, reference[first : start + step])
    assert CountingReader.opened == 1
    assert CountingReader.decoded == info.num_samples
    assert len(pool) == 0


def test_threads_share_the_pool(tracks, pool):
    jobs = []
    for kind in ('mp3', 'vorbis', 'm4a', 'flac'):
        path = tracks(kind)
        info = probe(path)
        reference = read_segment(path, info, 6000)
        jobs += [(path, info, reference, start) for start in range(0, len(reference), 20011)]

    def check(job):
        path, info, reference, start = job
        segment = read_segment(path, info, 6000, start=start, stop=start + 20011)
        return np.array_equal(segment, reference[start : start + 20011])

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(check, 3 * jobs))
    assert len(pool) <= native_streams.POOL_SIZE


def test_the_pool_closes_what_waits_longest(tmp_path, pool):
    paths = [write(tmp_path / str(i), 'mp3', noise(int(RATE * 2.5 * BLOCK_SECONDS), 1), RATE) for i in range(3)]
    small = native_streams.StreamPool(size=2)
    decoding._POOL = small
    before = len(os.listdir('/proc/self/fd'))
    for path in paths:
        read_segment(path, probe(path), RATE, stop=10)
    assert len(small) == 2
    assert len(os.listdir('/proc/self/fd')) == before + 2


def test_a_generator_that_is_left_early_gives_its_stream_back(tracks, pool):
    path = tracks('mp3')
    info = probe(path)
    blocks = decode_blocks(path, info, RATE)
    first = next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert len(pool) == 1
    np.testing.assert_array_equal(read_segment(path, info, RATE, stop=len(first)), first)


def test_a_file_that_was_replaced_is_opened_anew(tmp_path):
    path = write(tmp_path / 'a', 'mp3', noise(RATE * 25, seed=1), RATE)
    before = read_segment(path, probe(path), RATE, stop=1000)
    write(tmp_path / 'a', 'mp3', noise(RATE * 26, seed=2), RATE)
    after = read_segment(path, probe(path), RATE, stop=1000)
    assert not np.array_equal(before, after)


def test_channel_rules(tmp_path):
    six = noise(5000, 6)
    path = write(tmp_path / 'six', 'wav-float', six, RATE)
    info = probe(path)
    np.testing.assert_array_equal(read_segment(path, info, RATE), six[:, :2])
    np.testing.assert_allclose(read_segment(path, info, RATE, channels=1)[:, 0], six.mean(axis=1), atol=1e-7)
    mono = write(tmp_path / 'mono', 'wav-float', six[:, 2:3], RATE)
    np.testing.assert_array_equal(read_segment(mono, probe(mono), RATE), six[:, [2, 2]])
    np.testing.assert_array_equal(read_segment(mono, probe(mono), RATE, channels=1), six[:, 2:3])
    with pytest.raises(ValueError, match='must be 1 or 2'):
        read_segment(mono, info, RATE, channels=3)
    with pytest.raises(ValueError, match='0 <= start <= stop'):
        read_segment(mono, info, RATE, start=5, stop=4)


@pytest.mark.parametrize(
    ('rate', 'channels', 'length'), [(8000, 1, 4000), (192000, 2, 99999), (44100, 6, 1000), (48000, 1, 1)]
)
@pytest.mark.parametrize('kind', ['wav16', 'flac'])
def test_unusual_rates_channels_and_lengths(tmp_path, kind, rate, channels, length):
    path = write(tmp_path / 'a', kind, noise(length, channels), rate)
    info = probe(path)
    result = read_segment(path, info, 44100)
    assert result.shape == (resampled_length(length, rate, 44100), 2)
    np.testing.assert_array_equal(result, whole(path, info, 44100))


@pytest.mark.parametrize('kind', ['m4a', 'mkv', 'opus', 'webm', 'alac', 'tta', 'wavpack', 'mp3', 'vorbis', 'flac'])
def test_a_round_trip_keeps_the_place_of_every_sample(tmp_path, kind):
    """The encoder's delay is not part of the track."""
    tone = np.sin(2 * np.pi * 500 * np.arange(48000) / 48000)[:, None].astype(np.float32) * [0.5, 0.25]
    tone *= np.hanning(48000)[:, None]
    path = write(tmp_path / 'a', kind, tone.astype(np.float32), 48000)
    result = read_segment(path, probe(path), 48000)
    assert 48000 <= len(result) <= 48000 + 2048
    np.testing.assert_allclose(result[:48000], tone, atol=0.02)


def test_sound_of_a_video(tmp_path):
    path = write_video(tmp_path / 'a.mp4', noise(48000))
    info = probe(path)
    np.testing.assert_allclose(read_segment(path, info, 48000), whole(path, info, 48000), atol=1e-6)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_named_with_their_position(tmp_path, value):
    samples = noise(RATE * 25)
    samples[RATE * 15 + 2000, 1] = value
    path = write(tmp_path / 'a', 'wav-float', samples, RATE)
    info = probe(path)
    np.testing.assert_array_equal(read_segment(path, info, RATE, stop=RATE * 5), samples[: RATE * 5])
    with pytest.raises(TrackError, match=r'NaN or infinity at 15\.250 s'):
        read_segment(path, info, 6000)


@pytest.mark.parametrize('kind', ['mp3', 'flac', 'vorbis', 'wav16'])
def test_fewer_samples_than_promised(tmp_path, kind):
    path = write(tmp_path / 'a', kind, noise(RATE * 25), RATE)
    info = probe(path)
    cut(path)
    if kind == 'vorbis':  # a shorter file in every respect: only what was promised tells
        assert probe(path).num_samples < info.num_samples
    with pytest.raises(
        TrackError, match=r'shorter than its header promises: 1\d\.\d\d s of 25\.00 s.*--allow-truncated'
    ):
        read_segment(path, info, RATE)
    there = read_segment(path, info._replace(exact_seek=False), RATE, allow_truncated=True)
    assert 10 * RATE < len(there) < 17 * RATE
    counted = probe(path, allow_truncated=True)
    assert counted.num_samples == len(there)
    start = len(there) - 3 * RATE
    np.testing.assert_array_equal(read_segment(path, counted, RATE, start=start, allow_truncated=True), there[start:])


def test_of_a_flac_file_that_was_cut_off_all_but_the_last_frame_is_delivered(tmp_path):
    whole = noise(200_000)
    path = cut(write(tmp_path / 'a', 'flac', whole, RATE), 0.45)
    info = probe(path, allow_truncated=True)
    there = read_segment(path, info, RATE, allow_truncated=True)
    whole_frames = 0
    with av.open(path) as file, contextlib.suppress(av.FFmpegError):
        for frame in file.decode(audio=0):
            whole_frames += frame.samples
    assert whole_frames > 65536
    assert 0 <= whole_frames - len(there) <= 4096
    np.testing.assert_array_equal(
        there, read_segment(write(tmp_path / 'b', 'flac', whole, RATE), info, RATE)[: len(there)]
    )


def test_more_samples_than_promised_are_delivered(tracks):
    for kind in ('wav16', 'mp3', 'm4a'):
        path = tracks(kind)
        info = probe(path)
        reference = read_segment(path, info, RATE)
        less = info._replace(num_samples=info.num_samples - 5000)
        np.testing.assert_array_equal(read_segment(path, less, RATE), reference)
        assert len(read_segment(path, less, RATE, stop=len(reference) - 100)) == len(reference) - 100


@pytest.mark.parametrize('kind', ['flac', 'mp3', 'vorbis'])
def test_damage_in_the_middle(tmp_path, kind):
    path = corrupt(write(tmp_path / 'a', kind, noise(RATE * 25), RATE), num_bytes=3000)
    info = probe(path)
    with pytest.raises(TrackError, match=r'damaged at about \d+\.\d\d s|shorter than its header promises'):
        read_segment(path, info, RATE)
    if kind == 'flac':
        with pytest.raises(TrackError, match=r'damaged at about 1\d\.\d\d s'):
            read_segment(path, info, RATE, allow_truncated=True)


def test_a_change_of_rate_in_the_middle(tmp_path):
    first = Path(write(tmp_path / 'a', 'mp3-no-tag', noise(48000), 48000)).read_bytes()
    second = Path(write(tmp_path / 'b', 'mp3-no-tag', noise(44100), 44100)).read_bytes()
    (tmp_path / 'c').write_bytes(first + second)
    with pytest.raises(TrackError, match=r'changes at \d\.\d\d s from \d+ Hz and 2 channel'):
        probe(str(tmp_path / 'c'), decoder='av')


def test_a_file_that_changed_since_it_was_probed(tmp_path):
    path = write(tmp_path / 'a', 'flac', noise(1000), 44100)
    info = probe(path)
    write(tmp_path / 'a', 'flac', noise(1000), 48000)
    with pytest.raises(TrackError, match=r'48000 Hz and 2 channel\(s\), not 44100 Hz'):
        read_segment(path, info, 44100)
    os.remove(path)
    with pytest.raises(TrackError, match='there is no such file'):
        read_segment(path, info, 44100)


def test_both_decoders_agree(tracks):
    for kind in ('wav16', 'flac', 'vorbis', 'mp3'):
        path = tracks(kind)
        info = probe(path)
        ours, other = (read_segment(path, info, RATE, decoder=decoder) for decoder in ('soundfile', 'av'))
        np.testing.assert_allclose(ours, other, atol=3e-4 if kind == 'mp3' else 1e-5)


@pytest.fixture
def memory(tmp_path, monkeypatch):
    fs = fsspec.filesystem('memory')
    copies = sources.LocalCopies(budget_bytes=300_000)
    monkeypatch.setattr(sources, '_process_copies', lambda: copies)
    yield fs
    fs.store.clear()
    copies._folder.cleanup()


@pytest.mark.parametrize('kind', ['wav16', 'mp3', 'm4a'])
def test_remote_tracks(tracks, memory, kind):
    path = tracks(kind)
    memory.pipe_file('/music/ä #1', Path(path).read_bytes())
    info = probe('memory://music/ä #1')
    reference = read_segment(path, probe(path), 6000)
    for start in range(0, len(reference), 30000):
        segment = read_segment('memory://music/ä #1', info, 6000, start=start, stop=start + 30000)
        np.testing.assert_array_equal(segment, reference[start : start + 30000])


def test_of_many_small_remote_tracks_few_copies_stay(memory, monkeypatch):
    monkeypatch.setattr(sources, 'MOST_COPIES', 2)
    paths = []
    for name in 'abcd':
        memory.pipe_file(f'/{name}', name.encode())
        with sources.local_copy(f'memory://{name}') as path:
            assert Path(path).read_bytes() == name.encode()
            paths.append(Path(path))
    assert [path.exists() for path in paths] == [False, False, True, True]


def test_a_remote_track_is_downloaded_once_and_removed_when_others_need_the_room(tmp_path, memory, monkeypatch):
    content = Path(write(tmp_path / 'a', 'wav16', noise(50000), RATE)).read_bytes()  # 200 kB
    memory.pipe_file('/a', content)
    memory.pipe_file('/b', content)
    downloads = []
    download = RemoteFile.download

    def download_and_count(file, local):
        downloads.append(file.uri.removeprefix('memory:/'))
        download(file, local)

    monkeypatch.setattr(RemoteFile, 'download', download_and_count)
    infos = {name: probe(f'memory://{name}') for name in 'ab'}

    def read(name):
        return read_segment(f'memory://{name}', infos[name], RATE, stop=100)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(read, 'aaaaaaaa'))
    assert downloads == ['/a']
    read('b')
    assert downloads == ['/a', '/b']
    folder = sources._process_copies()._folder.name
    assert len(os.listdir(folder)) == 1
    read('a')
    assert downloads == ['/a', '/b', '/a']


def test_a_failed_download_leaves_nothing(memory):
    memory.pipe_file('/a', b'abc')
    info = probe_of_nothing('memory://a')
    with pytest.raises(TrackError, match='decoder soundfile cannot read it'):
        read_segment('memory://a', info, RATE)
    memory.rm('/a')
    with pytest.raises(TrackError, match='there is no such file'):
        read_segment('memory://a', info, RATE)


def probe_of_nothing(uri):
    return AudioInfo(uri, RATE, 2, 100, 'wav', 'PCM_16', 'soundfile', True)


def test_a_reader_can_be_added_with_two_methods():
    """What another decoder has to bring."""

    class Counting(BlockReader):
        sample_rate, channels, container, codec, decoder = 10, 1, 'none', 'none', 'counting'

        def _chunks(self):
            for first in range(0, 100, 7):
                yield np.arange(first, min(first + 7, 100), dtype=np.float32)[:, None]

        def close(self):
            pass

    reader = Counting('x')
    assert reader.skip(10) == 10
    assert reader.read(5)[:, 0].tolist() == [10, 11, 12, 13, 14]
    assert (reader.position, len(reader.read(1000)), reader.position, reader.skip(1)) == (15, 85, 100, 0)
