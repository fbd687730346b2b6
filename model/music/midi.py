"""Notes to sound through soundfonts: a Standard MIDI File, and FluidSynth's command line to play it.

Needs the Debian packages `fluidsynth` and at least one soundfont (fluid-soundfont-gm, timgm6mb-soundfont,
musescore-general-soundfont). The file format is that of the "Standard MIDI Files 1.0" specification, format 0. Slides
and vibrato are pitch bends, which MIDI has per channel: they suit parts that play one note at a time.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from ..errors import UsageError
from .score import Note

TICKS_PER_BEAT = 480
TICKS_PER_SECOND = 960  # at the 120 beats per minute that a MIDI file has where it names no tempo
DRUM_CHANNEL = 9
BEND_RANGE = 12  # semitones of a full pitch bend
BEND_SECONDS = 0.012  # between two bends of a moving pitch
SLIDE_SECONDS = 0.045  # in which a slide falls to 37%
VIBRATO_DELAY = 0.25  # seconds
VIBRATO_HZ = 5.6
SOUNDFONT_FOLDERS = ('/usr/share/sounds/sf2', '/usr/share/sounds/sf3', '/usr/share/soundfonts')


class Part(NamedTuple):
    """Notes for one channel (0..15, drums are 9) with a program (0..127) and the depth of their vibrato."""

    channel: int
    program: int
    notes: Sequence[Note]
    vibrato: float = 0.0  # semitones


def require_program(name: str, package: str) -> str:
    """Path of an installed program; UsageError with the Debian package to install where it is missing."""
    path = shutil.which(name)
    if path is None:
        raise UsageError(f'{name}: program not found, needed to render training music; apt install {package}')
    return path


@functools.cache
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


def _bend(channel: int, semitones: float) -> bytes:
    value = int(np.clip(round(8192 + semitones / BEND_RANGE * 8192), 0, 16383))
    return bytes([0xE0 | channel, value & 0x7F, value >> 7])


def _bends(part: Part) -> Iterator[tuple[int, int, bytes]]:
    """The moving pitch of a part as events; none where every note stands still."""
    if not part.vibrato and not any(note.slide for note in part.notes):
        return
    for control, value in ((101, 0), (100, 0), (6, BEND_RANGE), (38, 0)):  # registered parameter 0 is the bend range
        yield 0, 0, bytes([0xB0 | part.channel, control, value])
    for note in part.notes:
        moving = note.duration if part.vibrato else min(note.duration, 5 * SLIDE_SECONDS)
        for since in np.arange(0, moving, BEND_SECONDS).tolist():
            depth = part.vibrato * min(max(since - VIBRATO_DELAY, 0) / 0.3, 1)
            pitch = note.slide * np.exp(-since / SLIDE_SECONDS) + depth * np.sin(2 * np.pi * VIBRATO_HZ * since)
            yield round((note.start + since) * TICKS_PER_SECOND), 2, _bend(part.channel, pitch)


def midi_file(parts: Sequence[Part]) -> bytes:
    """A Standard MIDI File (format 0, 120 beats per minute) that plays all the parts."""
    events: list[tuple[int, int, bytes]] = []  # tick, order within the tick (note-offs, bends, note-ons), message
    for part in parts:
        events.append((0, 0, bytes([0xC0 | part.channel, part.program])))
        events.extend(_bends(part))
        for note in part.notes:
            on, off = (round(t * TICKS_PER_SECOND) for t in (note.start, note.start + note.duration))
            events.append((on, 3, bytes([0x90 | part.channel, note.pitch, note.velocity])))
            events.append((max(off, on + 1), 1, bytes([0x80 | part.channel, note.pitch, 0])))
    events.sort(key=lambda event: event[:2])
    track, now = bytearray(), 0
    for tick, _, message in events:
        track += _variable_length(tick - now) + message
        now = tick
    track += b'\x00\xff\x2f\x00'
    header = b'MThd' + (6).to_bytes(4, 'big') + b''.join(n.to_bytes(2, 'big') for n in (0, 1, TICKS_PER_BEAT))
    return header + b'MTrk' + len(track).to_bytes(4, 'big') + bytes(track)


def play(parts: Sequence[Part], soundfont: Path, seconds: float, sample_rate: int) -> np.ndarray:
    """The parts played by FluidSynth without its own reverberation: (samples, 2) float32, exactly `seconds` long."""
    program = require_program('fluidsynth', 'fluidsynth')
    with tempfile.TemporaryDirectory() as folder:
        song, sound = Path(folder) / 'song.mid', Path(folder) / 'song.wav'
        song.write_bytes(midi_file(parts))
        command = [program, '-n', '-i', '-q', '-T', 'wav', '-O', 'float', '-r', str(sample_rate), '-F', str(sound)]
        settings = {'synth.gain': '0.5', 'synth.dynamic-sample-loading': '1', 'synth.polyphony': '96'}
        settings |= {'synth.chorus.active': '0', 'synth.reverb.active': '0'}
        for key, value in settings.items():
            command += ['-o', f'{key}={value}']
        done = subprocess.run([*command, str(soundfont), str(song)], capture_output=True, text=True, check=False)
        if done.returncode or not sound.is_file():
            raise UsageError(f'fluidsynth: failed on {soundfont.name}: {done.stderr.strip()[-200:]}')
        audio = soundfile.read(sound, dtype='float32', always_2d=True)[0]
    samples = round(seconds * sample_rate)
    return np.pad(audio[:samples], ((0, max(samples - len(audio), 0)), (0, 0)))
