"""Composed music as plain data: songs, notes and melodies, all drawn from a random generator.

Nothing here makes a sound and nothing is needed beside numpy. A `Song` is the plan that all its parts share (tempo,
key, chords), so that parts of one song fit each other; every part (here, in `grooves` and in `accompaniment`) is a
function of the song and a random generator, and two calls with generators of the same seed give the same notes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

STEPS_PER_BEAT = 4
SCALES = {
    'major': (0, 2, 4, 5, 7, 9, 11),
    'minor': (0, 2, 3, 5, 7, 8, 10),
    'dorian': (0, 2, 3, 5, 7, 9, 10),
    'mixolydian': (0, 2, 4, 5, 7, 9, 10),
    'harmonic minor': (0, 2, 3, 5, 7, 8, 11),
}
PROGRESSIONS = (
    (0, 4, 5, 3),
    (5, 3, 0, 4),
    (0, 3, 4, 3),
    (1, 4, 0, 0),
    (0, 0, 3, 4),
    (0, 5, 1, 4),
    (0, 6, 5, 4),
    (0, 2, 3, 4),
    (0, 0, 0, 3),
    (3, 4, 0, 5),
    (0, 3),
    (0, 6),
    (0, 0, 3, 0, 4, 3, 0, 4),
)
LENGTHS = (1, 2, 3, 4, 6, 8, 12)  # of melody notes, in sixteenths
SLOW_CHANCES = np.array([0.0, 0.12, 0.05, 0.33, 0.15, 0.25, 0.1])
BUSY_CHANCES = np.array([0.33, 0.45, 0.06, 0.11, 0.03, 0.02, 0.0])


class Note(NamedTuple):
    """A tone: times in seconds, pitch as MIDI number, velocity 1..127; a slide begins so many semitones off pitch."""

    start: float
    duration: float
    pitch: int
    velocity: int
    slide: float = 0.0


class Hit(NamedTuple):
    """A stroke on a drum: time in seconds, role such as 'kick' (see kits.ROLES), velocity 1..127."""

    start: float
    role: str
    velocity: int


@dataclasses.dataclass(frozen=True)
class Song:
    """What all parts of one piece share."""

    seconds: float
    tempo: float  # beats per minute
    beats_per_bar: int
    key: int  # 0..11, C is 0
    scale: tuple[int, ...]
    chords: tuple[int, ...]  # scale degree of each bar, repeated to the end
    swing: float  # 0..0.3: how late every second sixteenth comes, in sixteenths
    groove: str

    @property
    def step(self) -> float:
        """Length of a sixteenth note in seconds."""
        return 60.0 / self.tempo / STEPS_PER_BEAT

    @property
    def steps_per_bar(self) -> int:
        """Sixteenth notes in a bar."""
        return self.beats_per_bar * STEPS_PER_BEAT

    @property
    def bars(self) -> int:
        """Bars that begin before the end."""
        return int(np.ceil(self.seconds / (self.step * self.steps_per_bar)))

    def time(self, bar: int, step: float) -> float:
        """Seconds from the beginning to a sixteenth of a bar, swing included."""
        late = self.swing if int(step) % 2 else 0.0
        return (bar * self.steps_per_bar + step + late) * self.step

    def pitch(self, degree: int, octave: int) -> int:
        """MIDI number of a scale degree (any integer) counted from the key note of an octave (4 has middle C)."""
        size = len(self.scale)
        return 12 * (octave + 1 + degree // size) + self.key + self.scale[degree % size]

    def degree(self, pitch: int) -> int:
        """The degree whose pitch counted from octave 4 is nearest at or below a MIDI number: undoes `pitch`."""
        octaves, rest = divmod(pitch - 60 - self.key, 12)
        return octaves * len(self.scale) + max(i for i, offset in enumerate(self.scale) if offset <= rest)

    def chord(self, bar: int) -> int:
        """Scale degree of the chord in a bar."""
        return self.chords[bar % len(self.chords)]


def compose(rng: np.random.Generator, seconds: float, grooves: Sequence[str]) -> Song:
    """A random plan, with one of the named grooves, for a song that lasts `seconds`."""
    progression: tuple[int, ...] = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    if rng.random() < 0.3:
        progression = progression + PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    return Song(
        seconds=seconds,
        tempo=float(rng.uniform(62, 176)),
        beats_per_bar=3 if rng.random() < 0.1 else 4,
        key=int(rng.integers(12)),
        scale=SCALES[str(rng.choice(list(SCALES), p=[0.4, 0.3, 0.12, 0.12, 0.06]))],
        chords=progression,
        swing=float(rng.uniform(0.1, 0.33)) if rng.random() < 0.25 else 0.0,
        groove=str(rng.choice(list(grooves))),
    )


def draw_velocity(rng: np.random.Generator, loud: float) -> int:
    """A velocity around a mean, as a player's hands have it."""
    return int(np.clip(rng.normal(loud, 9), 20, 127))


def melody_part(song: Song, rng: np.random.Generator, low: int, high: int, density: float = 0.5) -> list[Note]:
    """A melody between two MIDI pitches at least an octave apart.

    Phrases of one or two bars with rests between them, chord notes on the beat, mostly steps and repeated notes; the
    last note of a phrase is often held. Density 0 is slow, 1 is busy.
    """
    degree = song.degree((low + high) // 2)
    notes: list[Note] = []
    chances = density * BUSY_CHANCES + (1 - density) * SLOW_CHANCES
    pauses = rng.uniform(0.05, 0.4)
    bar = 0
    while bar < song.bars:
        bars = int(rng.choice([1, 2], p=[0.4, 0.6]))
        phrase_steps = song.steps_per_bar * bars
        step, end = int(rng.choice([0, 0, 2, 4])), phrase_steps - int(rng.choice([2, 4, 6, 8]))
        while step < end:
            length = min(int(rng.choice(LENGTHS, p=chances)), max(end - step, 1))
            if step + length >= end and rng.random() < 0.5:
                length = max(phrase_steps - step - int(rng.choice([0, 1, 2])), length)
            degree += int(rng.choice([-4, -3, -2, -2, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4]))
            if step % 8 == 0:
                chord = song.chord(bar + step // song.steps_per_bar)
                degree = chord + int(rng.choice([0, 2, 4])) + 7 * round((degree - chord) / 7)
            pitch, degree = _into_range(song, degree, low, high)
            start = song.time(bar, step)
            if start < song.seconds:
                notes.append(Note(start, length * song.step * 0.97, pitch, draw_velocity(rng, 92)))
            step += length
        bar += bars + int(rng.random() < pauses)
    return notes


def _into_range(song: Song, degree: int, low: int, high: int) -> tuple[int, int]:
    """(pitch, degree) moved by octaves to lie between two pitches that are at least an octave apart."""
    pitch = song.pitch(degree, 4)
    while pitch < low:
        pitch, degree = pitch + 12, degree + len(song.scale)
    while pitch > high:
        pitch, degree = pitch - 12, degree - len(song.scale)
    return pitch, degree


def harmonise(song: Song, notes: Sequence[Note], steps: int) -> list[Note]:
    """The same notes so many scale steps higher or lower: 2 is a third above, -3 a fourth below, 7 an octave."""
    return [note._replace(pitch=song.pitch(song.degree(note.pitch) + steps, 4)) for note in notes]


def ornament(notes: Sequence[Note], rng: np.random.Generator, chance: float) -> list[Note]:
    """The same notes, some of which now slide into their pitch, mostly from below."""
    return [
        note._replace(slide=float(rng.choice([-1, -2, -2, -3, 1, 2]))) if rng.random() < chance else note
        for note in notes
    ]
