"""Notes to sound through soundfonts: a Standard MIDI File, and FluidSynth's command line to play it.

Needs the Debian packages `fluidsynth` and at least one soundfont (fluid-soundfont-gm, timgm6mb-soundfont,
musescore-general-soundfont). The file format is that of the "Standard MIDI Files 1.0" specification, format 0.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from ..errors import UsageError
from .score import Note

TICKS_PER_BEAT = 480
TICKS_PER_SECOND = 960  # at the 120 beats per minute that a MIDI file has where it names no tempo
DRUM_CHANNEL = 9
SOUNDFONT_FOLDERS = ('/usr/share/sounds/sf2', '/usr/share/sounds/sf3', '/usr/share/soundfonts')


class Part(NamedTuple):
    """Notes for one channel (0..15, drums are 9) with a program (0..127), a pan position and a volume (0..127)."""

    channel: int
    program: int
    notes: Sequence[Note]
    pan: int = 64
    volume: int = 100


def require_program(name: str, package: str) -> str:
    """Path of an installed program; UsageError with the Debian package to install where it is missing."""
    path = shutil.which(name)
    if path is None:
        raise UsageError(f'{name}: program not found, needed to render training music; apt install {package}')
    return path


def find_soundfont(name: str) -> Path:
    """Path of an installed soundfont file; UsageError where none of the usual folders has it."""
    for folder in SOUNDFONT_FOLDERS:
        path = Path(folder) / name
        if path.is_file():
            return path
    raise UsageError(
        f'{name}: soundfont not found in {", ".join(SOUNDFONT_FOLDERS)}; '
        'apt install fluid-soundfont-gm timgm6mb-soundfont musescore-general-soundfont'
    )


def _variable_length(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def midi_file(parts: Sequence[Part]) -> bytes:
    """A Standard MIDI File (format 0, 120 beats per minute) that plays all the parts."""
    events: list[tuple[int, int, bytes]] = []  # tick, order within the tick (note-offs first), message
    for part in parts:
        events.append((0, 0, bytes([0xC0 | part.channel, part.program])))
        events.append((0, 0, bytes([0xB0 | part.channel, 10, part.pan])))
        events.append((0, 0, bytes([0xB0 | part.channel, 7, part.volume])))
        for note in part.notes:
            on, off = (round(t * TICKS_PER_SECOND) for t in (note.start, note.start + note.duration))
            events.append((on, 2, bytes([0x90 | part.channel, note.pitch, note.velocity])))
            events.append((max(off, on + 1), 1, bytes([0x80 | part.channel, note.pitch, 0])))
    events.sort(key=lambda event: event[:2])
    track, now = bytearray(), 0
    for tick, _, message in events:
        track += _variable_length(tick - now) + message
        now = tick
    track += b'\x00\xff\x2f\x00'
    header = b'MThd' + (6).to_bytes(4, 'big') + b''.join(n.to_bytes(2, 'big') for n in (0, 1, TICKS_PER_BEAT))
    return header + b'MTrk' + len(track).to_bytes(4, 'big') + bytes(track)


def play(parts: Sequence[Part], soundfont: Path, seconds: float, sample_rate: int, reverb: bool) -> np.ndarray:
    """The parts played by FluidSynth: (samples, 2) float32, exactly `seconds` long."""
    program = require_program('fluidsynth', 'fluidsynth')
    with tempfile.TemporaryDirectory() as folder:
        song, sound = Path(folder) / 'song.mid', Path(folder) / 'song.wav'
        song.write_bytes(midi_file(parts))
        command = [program, '-n', '-i', '-q', '-T', 'wav', '-O', 'float', '-r', str(sample_rate), '-F', str(sound)]
        settings = {'synth.gain': '0.5', 'synth.dynamic-sample-loading': '1', 'synth.chorus.active': '0'}
        settings['synth.reverb.active'] = '1' if reverb else '0'
        for key, value in settings.items():
            command += ['-o', f'{key}={value}']
        done = subprocess.run([*command, str(soundfont), str(song)], capture_output=True, text=True, check=False)
        if done.returncode or not sound.is_file():
            raise UsageError(f'fluidsynth: failed on {soundfont.name}: {done.stderr.strip()[-200:]}')
        audio = soundfile.read(sound, dtype='float32', always_2d=True)[0]
    samples = round(seconds * sample_rate)
    return np.pad(audio[:samples], ((0, max(samples - len(audio), 0)), (0, 0)))
