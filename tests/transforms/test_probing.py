from __future__ import annotations

import os
import struct
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from stembeam.model.errors import RunError, TrackError, UsageError
from stembeam.transforms.probing import probe

from . import audio_files
from .audio_files import AV_KINDS, SOUNDFILE_KINDS, corrupt, cut, decode_with, noise, write

EXACT = {'wav16', 'wav24', 'wav-float', 'rf64', 'w64', 'aiff', 'au', 'caf', 'flac', 'flac24'}
LOSSLESS = EXACT | {'alac', 'tta', 'wavpack', 'flac-in-ogg'}
# These know nothing of what the encoder put in front and at the end; FFmpeg's WMA encoder loses the last samples.
PADDED = {'adts', 'mpegts', 'ac3', 'wav-adpcm', 'mp3-no-tag', 'wma'}
# Containers that a cut at 60% leaves without a sign, because nothing in them says how long they were.
SILENT_WHEN_CUT = {'vorbis', 'opus', 'ac3', 'mpegts', 'mp3-no-tag', 'flac-in-ogg', 'wma'}
SEEN_WHILE_DECODING = {'mp3'}


@pytest.mark.parametrize('kind', [*SOUNDFILE_KINDS, *AV_KINDS])
def test_length_rate_and_channels_are_what_decoding_gives(tmp_path, kind):
    path = write(tmp_path / 'track', kind, noise(70001), 48000)
    info = probe(path)
    assert (info.uri, info.sample_rate, info.channels) == (path, 48000, 2)
    assert info.num_samples == len(decode_with(info.decoder, path))
    assert info.exact_seek == (kind in EXACT)
    assert info.decoder == ('soundfile' if kind in SOUNDFILE_KINDS or kind == 'mp3-no-tag' else 'av')
    if kind in LOSSLESS:
        assert info.num_samples == 70001
    elif kind not in PADDED:
        assert 70001 <= info.num_samples <= 70001 + 2048


def test_names_the_container_and_the_codec(tmp_path):
    flac = probe(write(tmp_path / 'a', 'flac24', noise(5000), 44100))
    assert (flac.container, flac.codec, flac.decoder) == ('flac', 'PCM_24', 'soundfile')
    m4a = probe(write(tmp_path / 'b', 'm4a', noise(5000), 44100))
    assert (m4a.container, m4a.codec, m4a.decoder) == ('mov,mp4,m4a,3gp,3g2,mj2', 'aac', 'av')


def test_a_decoder_can_be_forced(tmp_path):
    path = write(tmp_path / 'a.flac', 'flac', noise(5000), 44100)
    assert probe(path, decoder='av')[1:] == (44100, 2, 5000, 'flac', 'flac', 'av', False, None)
    with pytest.raises(TrackError, match='decoder soundfile cannot read it'):
        probe(write(tmp_path / 'a.m4a', 'm4a', noise(5000), 44100), decoder='soundfile')
    with pytest.raises(UsageError, match="'sox' is unknown"):
        probe(path, decoder='sox')


@pytest.mark.parametrize('name', ['a.mp3', 'a.raw', 'a.au', 'a.txt', '100%03d.png', 'a.g722'])
def test_content_decides_and_not_the_name(tmp_path, name):
    assert probe(write(tmp_path / name, 'flac', noise(5000), 44100)).container == 'flac'
    assert probe(write(tmp_path / name, 'alac', noise(5000), 44100)).codec == 'alac'


@pytest.mark.parametrize(
    'name',
    ['a::b.wav', '#1 100%.wav', '"it\'s".wav', 'two\nlines.wav', '🎵.wav', '.wav.', ' x ', 'http:a.wav', '\udcff.wav'],
)
def test_any_local_name(tmp_path, name):
    for kind in ('wav16', 'alac'):
        assert probe(write_bytes_of(kind, tmp_path, name)).num_samples == 5000


def write_bytes_of(kind, folder, name):
    """Writes under a plain name and renames: not every encoder takes every name."""
    os.replace(write(folder / 'plain', kind, noise(5000), 44100), folder / name)
    return str(folder / name)


@pytest.mark.parametrize(
    ('rate', 'channels', 'length'), [(8000, 1, 4000), (192000, 2, 999), (44100, 6, 1000), (44100, 1, 1)]
)
def test_unusual_rates_channels_and_lengths(tmp_path, rate, channels, length):
    for kind in ('wav16', 'flac'):
        info = probe(write(tmp_path / kind, kind, noise(length, channels), rate))
        assert (info.sample_rate, info.channels, info.num_samples) == (rate, channels, length)


def test_six_channels_of_aac(tmp_path):
    assert probe(write(tmp_path / 'a', 'm4a', noise(48000, 6), 48000)).channels == 6


def test_video_with_sound(tmp_path):
    info = probe(audio_files.write_video(tmp_path / 'a.mp4', noise(48000)))
    assert (info.codec, info.sample_rate, info.channels) == ('aac', 48000, 2)
    assert 48000 <= info.num_samples <= 48000 + 1024


def test_video_without_sound_and_pictures(tmp_path):
    with pytest.raises(TrackError, match='has no sound that FFmpeg can decode, only video'):
        probe(audio_files.write_video(tmp_path / 'a.mp4'))
    picture = audio_files.write_image(tmp_path / 'a.png')
    os.rename(picture, tmp_path / 'a.mp3')
    with pytest.raises(TrackError, match='has no sound that FFmpeg can decode, only video'):
        probe(str(tmp_path / 'a.mp3'))


@pytest.mark.parametrize(
    'content',
    [
        b'This is no music, only text.\n' * 300,
        ('\ufeff' + 'Text in two bytes.\n' * 300).encode('utf-16-le'),
        b'<!DOCTYPE html><html><body>404 Not found</body></html>',
        b'#EXTM3U\n#EXTINF:3,\n/etc/hostname\n',
        b'\x1b[31mansi art\x1b[0m\n' * 100,
        bytes(100000),
        np.random.default_rng(0).bytes(100000),
        b'\xff',
        b'ID3\x03\x00\x00\x00\x00\x00\x00' + b'text ' * 500,
    ],
    ids=['text', 'utf16', 'html', 'playlist', 'ansi', 'zeros', 'random', 'one-byte', 'id3-and-text'],
)
def test_what_is_not_audio(tmp_path, content):
    path = tmp_path / 'a.mp3'
    path.write_bytes(content)
    with pytest.raises(TrackError, match='is not audio, neither libsndfile nor FFmpeg can read it'):
        probe(str(path))


def test_a_playlist_leads_nowhere(tmp_path):
    """FFmpeg would open what the list names, over the network too."""
    target = write(tmp_path / 'a.ts', 'mpegts', noise(48000), 48000)
    playlist = tmp_path / 'a.mp3'
    playlist.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
    with pytest.raises(TrackError, match='is not audio'):
        probe(str(playlist))


def test_missing_empty_and_no_files_at_all(tmp_path):
    with pytest.raises(TrackError, match='there is no such file'):
        probe(str(tmp_path / 'none.wav'))
    (tmp_path / 'empty.wav').touch()
    with pytest.raises(TrackError, match=r'is empty \(0 bytes\)'):
        probe(str(tmp_path / 'empty.wav'))
    with pytest.raises(TrackError, match='this is a folder'):
        probe(str(tmp_path))
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(TrackError, match='not a regular file'):
        probe(str(tmp_path / 'pipe'))


def test_no_permission(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.wav', 'wav16', noise(100), 44100)

    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('builtins.open', refuse)  # root may read everything
    with pytest.raises(TrackError, match='no permission to read it'):
        probe(path)


@pytest.mark.parametrize('allow_truncated', [False, True])
def test_no_samples(tmp_path, allow_truncated):
    header = Path(write(tmp_path / 'a.wav', 'wav16', noise(1000), 44100)).read_bytes()[:44]
    (tmp_path / 'header.wav').write_bytes(header)
    flac = Path(write(tmp_path / 'a.flac', 'flac', noise(1000), 44100)).read_bytes()[:42]
    (tmp_path / 'header.flac').write_bytes(flac)
    soundfile.write(tmp_path / 'zero.ogg', np.zeros((0, 2)), 44100, format='OGG')
    for name in ('header.wav', 'header.flac', 'zero.ogg'):
        with pytest.raises(TrackError, match='no sound in it'):
            probe(str(tmp_path / name), allow_truncated=allow_truncated)


@pytest.mark.parametrize(
    'kind', [k for k in (*SOUNDFILE_KINDS, *AV_KINDS) if k not in SILENT_WHEN_CUT | SEEN_WHILE_DECODING]
)
def test_a_file_that_was_cut_off(tmp_path, kind):
    path = cut(write(tmp_path / 'track', kind, noise(200000), 48000))
    with pytest.raises(TrackError, match=r'shorter than its header promises|cut off'):
        probe(path)
    if kind in ('m4a', 'alac'):  # their index stands at the end
        return
    info = probe(path, allow_truncated=True)
    assert 0.3 * 200000 < info.num_samples < 0.8 * 200000


@pytest.mark.parametrize('kind', ['wav16', 'flac', 'tta'])
def test_how_much_is_missing_is_said_in_seconds(tmp_path, kind):
    path = cut(write(tmp_path / 'track', kind, noise(480000), 48000), 0.5)
    with pytest.raises(
        TrackError, match=r'shorter than its header promises: [45]\.\d\d s of 10\.00 s.*--allow-truncated'
    ):
        probe(path)


@pytest.mark.parametrize('size', [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
def test_wav_through_a_pipe_promises_nothing(tmp_path, size):
    path = Path(write(tmp_path / 'a.wav', 'wav16', noise(1000), 44100))
    data = bytearray(path.read_bytes())
    data[40:44] = struct.pack('<I', size)
    path.write_bytes(bytes(data))
    assert probe(str(path)).num_samples == 1000


def test_flac_through_a_pipe_is_counted(tmp_path):
    path = Path(write(tmp_path / 'a.flac', 'flac', noise(10000), 44100))
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(bytes(data))
    info = probe(str(path))
    assert (info.num_samples, info.decoder) == (10000, 'av')


@pytest.mark.parametrize('kind', ['adts', 'm4a', 'tta', 'opus', 'flac-in-ogg'])
def test_damage_that_ffmpeg_sees(tmp_path, kind):
    path = corrupt(write(tmp_path / 'track', kind, noise(960000), 48000))
    with pytest.raises(TrackError, match=r'damaged at about \d+\.\d\d s|shorter than its header promises'):
        probe(path)


def test_chained_ogg(tmp_path):
    first = Path(write(tmp_path / 'a', 'vorbis', noise(44100), 44100)).read_bytes()
    second = Path(write(tmp_path / 'b', 'vorbis', noise(44100, seed=1), 44100)).read_bytes()
    other_rate = Path(write(tmp_path / 'c', 'vorbis', noise(44100), 48000)).read_bytes()
    chained = tmp_path / 'chained.ogg'
    chained.write_bytes(first + second)
    assert 88200 <= probe(str(chained)).num_samples <= 88200 + 256
    chained.write_bytes(first + other_rate)
    with pytest.raises(TrackError, match='change of sample rate or channels'):
        probe(str(chained))


@pytest.mark.parametrize('kind', ['wav16', 'flac', 'mp3', 'vorbis', 'm4a', 'opus'])
def test_remote_files_are_read_in_place(tmp_path, memory, kind):
    path = write(tmp_path / 'track', kind, noise(50000), 44100 if kind != 'opus' else 48000)
    memory.pipe_file('/a folder/träck #1', Path(path).read_bytes())
    local, remote = probe(path), probe('memory://a folder/träck #1')
    assert remote == local._replace(uri='memory://a folder/träck #1')


def test_remote_trouble(memory):
    with pytest.raises(TrackError, match='there is no such file'):
        probe('memory://none.wav')
    memory.pipe_file('/empty.wav', b'')
    with pytest.raises(TrackError, match='is empty'):
        probe('memory://empty.wav')
    with pytest.raises(TrackError, match='cannot be read: ValueError: Protocol not known'):
        probe('nosuch://a.wav')


def test_trouble_of_the_storage_is_not_taken_for_no_audio(tmp_path, memory, monkeypatch):
    memory.pipe_file('/a.wav', Path(write(tmp_path / 'a', 'wav16', noise(5000), 44100)).read_bytes())
    is_gone = OSError(5, 'the line is dead')

    def cat_file(path, start=None, end=None):
        raise is_gone

    monkeypatch.setattr(memory, 'cat_file', cat_file)
    with pytest.raises(TrackError, match='the line is dead'):
        probe('memory://a.wav')


def test_a_missing_driver_stops_the_run(monkeypatch):
    def url_to_fs(url, **options):
        raise ImportError('Install gcsfs to access Google Storage')

    monkeypatch.setattr(fsspec.core, 'url_to_fs', url_to_fs)
    with pytest.raises(RunError, match=r"pip install 'stembeam\[gcp\]'"):
        probe('gs://bucket/a.wav')
