"""Data sets of isolated stems: every form gives the same tracks and samples, and says what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from stembeam.model.errors import TrackError, UsageError
from stembeam.transforms.datasets import (
    DatasetTrack,
    StemSource,
    derived_stems,
    list_dataset,
    read_blocks,
    read_source,
    source_info,
    summands,
)

from .dataset_files import MUSDB_ORDER, RATE, STEMS, make_stems, write_manifest, write_song, write_stem_mp4


def names_of(tracks: list[DatasetTrack]) -> list[tuple[str, str]]:
    return [(track.subset, track.name) for track in tracks]


def test_musdb18_hq_folders(tmp_path):
    stems = make_stems(0.5)
    for song in ('train/B - Two', 'train/A - One', 'test/C - Three'):
        write_song(tmp_path / song, stems)
    (tmp_path / 'train/B - Two/cover.jpg').write_bytes(b'no sound')
    (tmp_path / 'train/B - Two/._vocals.wav').write_bytes(b'what macOS leaves')
    tracks = list_dataset(str(tmp_path))
    assert names_of(tracks) == [('test', 'C - Three'), ('train', 'A - One'), ('train', 'B - Two')]
    assert sorted(tracks[2].stems) == sorted(STEMS)
    assert tracks[2].mixture == StemSource(str(tmp_path / 'train/B - Two/mixture.wav'))
    for name, source in tracks[2].stems.items():
        np.testing.assert_array_equal(read_source(source, RATE), stems[name])
    assert names_of(list_dataset(str(tmp_path), 'test')) == [('test', 'C - Three')]


def test_folders_without_subsets_in_any_format(tmp_path):
    stems = make_stems(0.5, names=('vocals', 'accompaniment'))
    write_song(tmp_path / 'song', stems, extension='flac')
    write_song(tmp_path / 'album/song', {'Vocals': stems['vocals'], 'MIX': stems['mixture']})
    first, second = list_dataset(str(tmp_path))
    assert (first.subset, first.name, sorted(first.stems)) == ('', 'album/song', ['vocals'])
    assert (second.subset, second.name, sorted(second.stems)) == ('', 'song', ['accompaniment', 'vocals'])
    assert first.mixture is not None
    np.testing.assert_array_equal(read_source(first.mixture, RATE), stems['mixture'])
    assert names_of(list_dataset(str(tmp_path), 'album')) == [('album', 'song')]


def test_a_stem_mp4_reads_as_those_of_musdb18(tmp_path):
    stems = make_stems(3.3)
    write_stem_mp4(tmp_path / 'train/A - One.stem.mp4', [stems[name] for name in MUSDB_ORDER])
    (track,) = list_dataset(str(tmp_path))
    assert (track.subset, track.name) == ('train', 'A - One')
    assert {name: source.stream for name, source in track.stems.items()} == {
        'drums': 1, 'bass': 2, 'other': 3, 'vocals': 4
    }  # fmt: skip
    assert track.mixture is not None
    sources = {**track.stems, 'mixture': track.mixture}
    read = {name: read_source(source, RATE) for name, source in sources.items()}
    assert len({len(samples) for samples in read.values()}) == 1
    for name, samples in read.items():
        assert 0 <= len(samples) - len(stems[name]) < 1024  # what the encoder fills its last frame with
        error = samples[: len(stems[name])] - stems[name]
        # A stream that kept the encoder's delay of 1024 samples would come out near 0 dB.
        assert 10 * np.log10(np.square(stems[name]).sum() / np.square(error).sum()) > 30, name
        assert source_info(sources[name]).num_samples == len(samples)
    for start, stop in ((0, 100), (50_000, 120_001)):
        part = read_source(track.stems['bass'], RATE, start=start, stop=stop)
        np.testing.assert_array_equal(part, read['bass'][start:stop])


def test_one_stem_mp4_is_a_data_set_and_lacking_streams_are_named(tmp_path):
    stems = make_stems(0.5)
    path = write_stem_mp4(tmp_path / 'x.stem.mp4', [stems['mixture'], stems['drums']])
    (track,) = list_dataset(str(path))
    assert source_info(track.stems['drums']).stream == 1
    with pytest.raises(TrackError, match='has 2 sound streams, none with the number 4'):
        source_info(track.stems['vocals'])


def test_spleeters_manifest(tmp_path):
    stems = make_stems(0.5)
    write_song(tmp_path / 'data/train/A, One', stems)
    write_song(tmp_path / 'data/test/B', stems)
    rows = [
        {'mix_path': '"train/A, One/mixture.wav"', 'vocals_path': '"train/A, One/vocals.wav"', 'duration': 0.5},
        {'mix_path': 'test/B/mixture.wav', 'vocals_path': '', 'duration': 0.5},
    ]
    beside = write_manifest(tmp_path / 'data/songs.csv', rows)
    elsewhere = write_manifest(tmp_path / 'lists/songs.csv', rows)
    tracks = list_dataset(str(beside))
    assert names_of(tracks) == [('test', 'B'), ('train', 'A, One')]
    assert [sorted(track.stems) for track in tracks] == [[], ['vocals']]
    assert tracks[1].metadata == {'duration': '0.5'}
    np.testing.assert_array_equal(read_source(tracks[1].stems['vocals'], RATE), stems['vocals'])
    assert list_dataset(str(elsewhere), data=str(tmp_path / 'data')) == tracks


def test_a_manifest_with_absolute_paths_names_tracks_by_what_tells_them_apart(tmp_path):
    rows = [{'mix_path': f'/music/set/{song}/mix.wav', 'vocals_path': f'/v/{song}.wav'} for song in ('a/x', 'b/x')]
    tracks = list_dataset(str(write_manifest(tmp_path / 'songs.csv', rows)))
    assert names_of(tracks) == [('', 'a/x'), ('', 'b/x')]
    assert tracks[0].stems == {'vocals': StemSource('/v/a/x.wav')}


def test_a_data_set_behind_a_url(tmp_path, memory):
    stems = make_stems(0.5)
    song = write_song(tmp_path / 'train/song', stems)
    memory.put(str(song), '/set/train/song', recursive=True)
    for address in ('memory://set', 'memory://set/'):
        (track,) = list_dataset(address)
        assert (track.subset, track.name) == ('train', 'song')
        np.testing.assert_array_equal(read_source(track.stems['drums'], RATE), stems['drums'])
    rows = [{'mix_path': 'train/song/mixture.wav', 'bass_path': 'train/song/bass.wav'}]
    memory.put(str(write_manifest(tmp_path / 'songs.csv', rows)), '/set/songs.csv')
    (track,) = list_dataset('memory://set/songs.csv')
    assert track.stems == {'bass': StemSource('memory://set/train/song/bass.wav')}


def test_rates_channels_and_blocks(tmp_path):
    samples = make_stems(21)['mixture']
    soundfile.write(tmp_path / 'a.wav', samples[:, :1], RATE, subtype='PCM_16')
    source = StemSource(str(tmp_path / 'a.wav'))
    np.testing.assert_array_equal(read_source(source, RATE), np.repeat(samples[:, :1], 2, axis=1))
    assert read_source(source, 22050, channels=1).shape == (len(samples) // 2, 1)
    blocks = list(read_blocks(source, RATE, start=5, stop=15 * RATE))
    assert [len(block) for block in blocks] == [10 * RATE - 5, 5 * RATE]
    np.testing.assert_array_equal(np.concatenate(blocks)[:, 0], samples[5 : 15 * RATE, 0])


@pytest.mark.parametrize(
    ('available', 'wanted', 'expected'),
    [
        (STEMS, ['accompaniment', 'vocals'], {'accompaniment': ('drums', 'bass', 'other'), 'vocals': ('vocals',)}),
        (['vocals', 'accompaniment'], ['accompaniment'], {'accompaniment': ('accompaniment',)}),
        (['vocals', 'piano', 'drums', 'bass', 'other'], STEMS, {
            'vocals': ('vocals',), 'drums': ('drums',), 'bass': ('bass',), 'other': ('piano', 'other')
        }),
        (['piano', 'other'], ['piano', 'other'], {'piano': ('piano',), 'other': ('other',)}),
        (['guitar', 'drums'], ['other'], {'other': ('guitar',)}),
    ],
)  # fmt: skip
def test_stems_that_are_sums(available, wanted, expected):
    assert derived_stems(available, wanted) == expected


def test_a_stem_that_cannot_be_made():
    with pytest.raises(UsageError, match="no stem 'piano' among vocals, drums, bass, other"):
        derived_stems(STEMS, ['vocals', 'piano'])
    assert derived_stems(STEMS, ['piano'], allow_missing=True) == {'piano': ()}
    assert summands(['vocals', 'accompaniment']) == ('vocals', 'accompaniment')
    assert summands([*STEMS, 'accompaniment']) == STEMS


def test_what_is_no_data_set(tmp_path):
    (tmp_path / 'empty').mkdir()
    write_song(tmp_path / 'loose', make_stems(0.1))
    twice = write_song(tmp_path / 'twice/song', make_stems(0.1))
    soundfile.write(twice / 'vocals.flac', np.zeros((10, 2)), RATE)
    (tmp_path / 'notes.txt').write_text('no data set')
    for address, reason in {
        'nowhere': 'nowhere does not exist; check the path',
        'empty': 'no songs in the data set .*empty; it must hold',
        'loose': r'loose holds sound files itself \(bass.wav\); .* name the folder above',
        'twice': 'twice/song has two files for vocals, the second is vocals.wav; remove one',
        'notes.txt': 'notes.txt is no data set; name a folder',
    }.items():
        with pytest.raises(UsageError, match=reason):
            list_dataset(str(tmp_path / address))
    with pytest.raises(UsageError, match="has no subset 'test', only tracks without one; choose another"):
        list_dataset(str(write_song(tmp_path / 'set/song', make_stems(0.1)).parent), 'test')


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('', r'has no column mix_path \(its columns: none\)'),
        ('path,vocals_path\na.wav,b.wav\n', r'has no column mix_path \(its columns: path, vocals_path\)'),
        ('mix_path,duration\na.wav,3\n', r'has no column for a stem \(its columns: mix_path, duration\); add one'),
        ('mix_path,vocals_path,vocals_path\na,b,c\n', 'the column vocals_path is there twice'),
        ('mix_path,vocals_path\n', 'lists no tracks'),
        ('mix_path,vocals_path\na.wav\n', r'row 1: not as many values as columns \(2\)'),
        ('mix_path,vocals_path\na.wav,b,c\n', r'row 1: not as many values as columns \(2\)'),
        ('mix_path,vocals_path\na.wav,b.wav\n,b.wav\n', 'row 2: mix_path is empty'),
        ('mix_path,vocals_path\na.wav,b.wav\na.wav,c.wav\n', 'has two tracks named a; rename one'),
        ('mix_path,vocals_path\n"a.wav,b.wav\n', 'check its quotation marks'),
        (b'mix_path,vocals_path\n\xff,b.wav\n', 'not UTF-8 text'),
    ],
)
def test_broken_manifests_are_named(tmp_path, content, reason):
    path = tmp_path / 'songs.csv'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=f'songs.csv.*{reason}'):
        list_dataset(str(path))
