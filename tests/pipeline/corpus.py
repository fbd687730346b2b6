"""A folder with every hard kind of input: the tracks that must work, with their length, and those that must fail, with
a word of the reason.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..transforms.audio_files import SOUNDFILE_KINDS, corrupt, cut, decode_with, noise, write, write_video

SEGMENT_SECONDS = 3  # two chunks of the tiny model are 2.97 s


class Good(NamedTuple):
    """A track that is separated."""

    num_samples: int  # of the file
    sample_rate: int  # of the file

    @property
    def stem_samples(self) -> int:
        """Of every stem at 44.1 kHz."""
        return -(-self.num_samples * 44100 // self.sample_rate)


class Corpus(NamedTuple):
    """What `write_corpus` wrote."""

    inputs: list[str]  # for the command line
    good: dict[str, Good]  # by path
    bad: dict[str, str]  # path -> regular expression for the reason
    truncated: dict[str, np.ndarray]  # those of `bad` that are only too short, with the samples before they were cut


def write_corpus(folder: Path) -> Corpus:
    """Everything, in a new folder; what has no known extension, or is missing, is named by a list beside it."""
    music = folder / 'music'
    music.mkdir(parents=True)
    good = {**_odd_shapes(music), **_kinds(music), **_odd_names(music)}
    truncated = _truncated(music)
    bad = {**_broken(music), **dict.fromkeys(truncated, r'shorter than its header promises|cut off')}
    listed = [path for path in [*good, *bad] if not _is_found(path)]
    (folder / 'more.txt').write_text('\n'.join(listed) + '\n')
    return Corpus([str(music), str(folder / 'more.txt')], good, bad, truncated)


def _is_found(path: str) -> bool:
    """Whether the folder's listing takes the file; '.' alone is no extension."""
    return os.path.exists(path) and len(os.path.splitext(path)[1]) > 1


def _odd_shapes(music: Path) -> dict[str, Good]:
    shapes = {
        '8 kHz mono': (8000, 1, 12_345),
        '192 kHz': (192_000, 2, 192_001),
        'six channels': (44_100, 6, 30_000),
        'one sample': (44_100, 2, 1),
        'one sample at 96 kHz': (96_000, 1, 1),
        'several segments': (44_100, 2, 400_000),
        'several segments at 48 kHz': (48_000, 1, 480_001),
    }
    good = {}
    for seed, (name, (rate, channels, length)) in enumerate(shapes.items()):
        path = write(music / f'{name}.wav', 'wav16', noise(length, channels, seed), rate)
        good[path] = Good(length, rate)
    for name, level in (('silence', 0), ('beyond full scale', 100)):
        path = write(music / f'{name}.wav', 'wav-float', noise(30_000) * np.float32(level), 44_100)
        good[path] = Good(30_000, 44_100)
    return good


def _kinds(music: Path) -> dict[str, Good]:
    """Every codec; how many samples the file has is what the decoding library gives."""
    kinds = {
        'wav24': 'wav', 'wav-float': 'wav', 'aiff': 'aiff', 'flac': 'flac', 'mp3': 'mp3', 'vorbis': 'ogg',
        'opus': 'opus', 'm4a': 'm4a', 'wma': 'wma', 'webm': 'webm',
    }  # fmt: skip
    good = {}
    for seed, (kind, extension) in enumerate(kinds.items(), 10):
        path = write(music / f'{kind}.{extension}', kind, noise(60_000, 2, seed), 48_000)
        decoder = 'soundfile' if kind in SOUNDFILE_KINDS else 'av'
        good[path] = Good(len(decode_with(decoder, path)), 48_000)
    path = write_video(music / 'a video.mp4', noise(48_000))
    good[path] = Good(len(decode_with('av', path)), 48_000)
    return good


def _odd_names(music: Path) -> dict[str, Good]:
    names = [
        'a song  with spaces .wav', ' .wav', '\'single\' and "double".wav', 'two\nlines.wav', 'tab\tand\x07bell.wav',
        '🎵 émoji 音.wav', '.leading dot.wav', '..two dots.wav', 'trailing dots...wav', 'no extension.', 'ends in..',
        '-o.wav', '100%20 {track} #1 [*?].wav', 'back\\slash.wav', 'x' * 200 + '.wav', 'album one/song.wav',
        'album two/song.wav', 'album two/CON.wav', '...more/song.wav', 'a::b.wav', '~.wav', '$HOME.wav',
    ]  # fmt: skip
    good = {}
    for seed, name in enumerate(names, 100):
        path = music / name
        path.parent.mkdir(exist_ok=True)
        write(music / 'plain', 'wav16', noise(500 + seed, 2, seed), 44_100)
        os.rename(music / 'plain', path)
        good[str(path)] = Good(500 + seed, 44_100)
    return good


def _truncated(music: Path) -> dict[str, np.ndarray]:
    """Files cut off after 60% of their bytes, so short that they are one segment and so long that they are several."""
    truncated = {}
    for kind, extension in (('wav16', 'wav'), ('flac', 'flac'), ('mp3', 'mp3')):
        for what, seconds in (('short', 1), ('long', 4 * SEGMENT_SECONDS)):
            path = write(music / f'cut {what} {kind}.{extension}', kind, noise(44_100 * seconds), 44_100)
            truncated[path] = decode_with('soundfile', path)
            cut(path, 0.6)
    return truncated


def _broken(music: Path) -> dict[str, str]:
    bad = {
        str(music / 'not there.wav'): 'there is no such file',
        str(music / 'not there either'): 'there is no such file',
    }
    (music / 'empty.wav').touch()
    bad[str(music / 'empty.wav')] = 'is empty'
    (music / 'text.mp3').write_text('This is no music, only text.\n' * 300)
    bad[str(music / 'text.mp3')] = 'is not audio'
    for kind in ('wav16', 'wav-float', 'aiff'):
        path = write(music / f'zero samples {kind}.wav', kind, noise(0), 44_100)
        bad[path] = r'no sound in it \(0 samples\)'
    for kind, header in (('wav16', None), ('wav-float', None), ('flac', 86)):
        path = write(music / f'header only {kind}.wav', kind, noise(44_100), 44_100)
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: header or data.index(b'data') + 8])
        bad[path] = r'no sound in it \(0 samples\)'
    path = write(music / 'header cut.wav', 'wav-float', noise(44_100), 44_100)
    Path(path).write_bytes(Path(path).read_bytes()[:44])
    bad[path] = 'is not audio'
    for name, value in (('NaN', np.nan), ('infinity', -np.inf)):
        for what, seconds in (('early', 1), ('late', 4 * SEGMENT_SECONDS)):
            samples = noise(44_100 * seconds)
            samples[int(0.6 * len(samples)), 1] = value
            bad[write(music / f'{name} {what}.wav', 'wav-float', samples, 44_100)] = 'NaN or infinit'
    for what, seconds in (('short', 1), ('long', 2 * SEGMENT_SECONDS)):
        samples = noise(44_100 * seconds) * np.float32(1e25)
        bad[write(music / f'absurdly loud {what}.wav', 'wav-float', samples, 44_100)] = 'far beyond full scale'
    bad[write_video(music / 'silent film.mp4')] = 'has no sound'
    for what, seconds in (('short', 1), ('long', 4 * SEGMENT_SECONDS)):
        path = write(music / f'damaged {what}.flac', 'flac', noise(44_100 * seconds), 44_100)
        bad[corrupt(path)] = r'damaged at about \d+\.\d\d s'
    return bad
