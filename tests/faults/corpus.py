"""A hundred tracks, some of which are broken and some of which break what reads them (see injected/soundfile.py)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..transforms.audio_files import corrupt, cut, noise, write, write_video

TRACKS = 100
RATE = 44_100
LONG, SHORT = round(1.6 * RATE), round(0.4 * RATE)  # samples: two chunks of the tiny model, which go first, and one
# Fault that is injected -> words of the reason; None where the track is done in the end.
INJECTED = {
    'crash-open': 'dies of SIGSEGV: the file breaks the decoder',
    'crash-read': 'dies of SIGABRT: the file breaks the decoder',
    'crash-beside': '3 processes died while they worked on it',
    'hang-open': 'decoding it hangs, nothing came for ',
    'hang-read': 'decoding it hangs, nothing came for ',
    'kill-once': None,
    'memory-twice': None,
}


class Corpus(NamedTuple):
    """What `write_corpus` wrote."""

    folder: Path
    listing: Path
    broken: set[str]  # paths of tracks that nobody could read
    injected: dict[str, str]  # fault -> path


def write_corpus(folder: Path) -> Corpus:
    """The tracks, and a list of them, in a new folder."""
    music = folder / 'music'
    music.mkdir(parents=True)
    broken = _broken(music)
    injected = {fault: write(music / f'{fault} me.wav', 'wav16', noise(SHORT), RATE) for fault in INJECTED}
    good = []
    for seed in range(TRACKS - len(broken) - len(injected)):
        kind, extension = (('wav16', 'wav'), ('flac', 'flac'), ('m4a', 'm4a'))[seed % 3]
        length = (LONG if seed % 2 else SHORT) + seed
        good.append(write(music / f'track {seed:03d}.{extension}', kind, noise(length, 2, seed), RATE))
    listing = folder / 'tracks.txt'
    listing.write_text(''.join(f'{path}\n' for path in [*broken, *injected.values(), *good]))
    return Corpus(folder, listing, broken, injected)


def _broken(music: Path) -> set[str]:
    broken = {str(music / 'missing.wav')}
    (music / 'empty.wav').touch()
    (music / 'text.mp3').write_text('This is no music, only text.\n' * 300)
    broken |= {str(music / 'empty.wav'), str(music / 'text.mp3'), write_video(music / 'silent film.mp4')}
    for kind, extension in (('wav16', 'wav'), ('flac', 'flac'), ('mp3', 'mp3')):
        path = write(music / f'cut {kind}.{extension}', kind, noise(RATE), RATE)
        cut(path, 0.6)
        broken.add(path)
    broken.add(corrupt(write(music / 'damaged.flac', 'flac', noise(RATE), RATE)))
    broken.add(write(music / 'no samples.wav', 'wav16', noise(0), RATE))
    samples = noise(RATE)
    samples[RATE // 2] = np.nan
    broken.add(write(music / 'NaN.wav', 'wav-float', samples, RATE))
    broken.add(write(music / 'absurdly loud.wav', 'wav-float', noise(RATE) * np.float32(1e25), RATE))
    return broken
