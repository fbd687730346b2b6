"""Composed music as plain data: songs, notes and drum hits, all drawn from a random generator.

Nothing here makes a sound and nothing is needed beside numpy. A `Song` is the plan that all its parts share (tempo,
key, chords), so that parts of one song fit each other; every part is a function of the song and a random generator,
and two calls with generators of the same seed give the same notes.
"""

from __future__ import annotations

import dataclasses
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
)
# One bar of sixteenth notes per line: x is a certain hit, o one that comes and goes.
GROOVES = {
    'rock': {'kick': 'x.....o.x.x...o.', 'snare': '....x.......x...', 'hat': 'x.x.x.x.x.x.x.x.'},
    'funk': {'kick': 'x..x..o...x..o..', 'snare': '....x..o.o..x..o', 'hat': 'xxoxxxoxxxoxxxox'},
    'house': {'kick': 'x...x...x...x...', 'snare': '....x.......x...', 'hat': 'o.x.o.x.o.x.o.x.'},
    'break': {'kick': 'x.x.......x..o..', 'snare': '....x..x.o..x..x', 'hat': 'x.x.x.x.x.x.x.x.'},
    'half time': {'kick': 'x.....x...o...o.', 'snare': '........x.......', 'hat': 'x.x.x.x.x.xox.x.'},
    'metal': {'kick': 'x.xxx.xxx.xxx.xx', 'snare': '....x.......x...', 'hat': 'x...x...x...x...'},
    'latin': {
        'kick': 'x..x..o.x..x..o.',
        'snare': '...x..x....x..x.',
        'hat': 'xoxxxoxxxoxxxoxx',
        'perc': '..xx..xo..xx..xo',
    },
    'sparse': {
        'kick': 'x.........o.....',
        'snare': '........o.......',
        'hat': '....x.......x...',
        'perc': '...o.....o....o.',
    },
    'jazz': {
        'kick': 'o.......o.......',
        'snare': '.o...o.....o.o..',
        'ride': 'x...x.ox..x.x.ox',
        'hat': '....x.......x...',
    },
    'trap': {'kick': 'x.....x....x....', 'snare': '........x.......', 'hat': 'xxxxxxxxxxxxxxxx'},
}


class Note(NamedTuple):
    """A tone: times in seconds, pitch as MIDI number, velocity 1..127."""

    start: float
    duration: float
    pitch: int
    velocity: int


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

    def chord(self, bar: int) -> int:
        """Scale degree of the chord in a bar."""
        return self.chords[bar % len(self.chords)]


def compose(rng: np.random.Generator, seconds: float) -> Song:
    """A random plan for a song that lasts `seconds`."""
    progression: tuple[int, ...] = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    if rng.random() < 0.3:
        progression = progression + PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    return Song(
        seconds=seconds,
        tempo=float(rng.uniform(62, 176)),
        beats_per_bar=3 if rng.random() < 0.1 else 4,
        key=int(rng.integers(12)),
        scale=SCALES[str(rng.choice(list(SCALES), p=[0.35, 0.35, 0.12, 0.12, 0.06]))],
        chords=progression,
        swing=float(rng.uniform(0.1, 0.33)) if rng.random() < 0.25 else 0.0,
        groove=str(rng.choice(list(GROOVES))),
    )


def _velocity(rng: np.random.Generator, loud: float) -> int:
    return int(np.clip(rng.normal(loud, 9), 20, 127))


def drum_part(song: Song, rng: np.random.Generator) -> list[Hit]:
    """Drums for a song: its groove with variations, ghost strokes, fills every four bars and cymbals after them."""
    groove = dict(GROOVES[song.groove])
    if rng.random() < 0.25 and 'ride' not in groove:
        groove['ride'] = groove.pop('hat')
    open_hats = rng.random() < 0.4
    optional = rng.uniform(0.2, 0.8)
    human = rng.uniform(0.0, 0.008)
    hits: list[Hit] = []

    def strike(bar: int, step: float, role: str, loud: float) -> None:
        start = song.time(bar, step) + abs(rng.normal(0, human))
        if start < song.seconds:
            hits.append(Hit(start, role, _velocity(rng, loud)))

    for bar in range(song.bars):
        fill = bar % 4 == 3 and rng.random() < 0.6
        fill_from = song.steps_per_bar - int(rng.choice([4, 6, 8])) if fill else song.steps_per_bar
        if bar % 4 == 0 and rng.random() < 0.5:
            strike(bar, 0, 'crash', 100)
        for role, line in groove.items():
            for step in range(fill_from):
                mark = line[step % len(line)]
                if mark == '.' or (mark == 'o' and rng.random() > optional):
                    continue
                accent = 12 if step % 4 == 0 else 0
                loud = (
                    {'kick': 100, 'snare': 98}.get(role, 72) + accent - (35 if mark == 'o' and role == 'snare' else 0)
                )
                is_open = role == 'hat' and open_hats and step % 8 == 6
                strike(bar, step, 'open hat' if is_open else role, loud)
        for step in range(fill_from, song.steps_per_bar):
            if rng.random() < 0.8:
                strike(bar, step, str(rng.choice(['snare', 'high tom', 'mid tom', 'low tom', 'kick'])), 95)
    return sorted(hits)


BASS_RHYTHMS = {
    'eighths': 'x.x.x.x.x.x.x.x.',
    'quarters': 'x...x...x...x...',
    'long': 'x...............',
    'syncopated': 'x..x..x...x.x...',
    'funk': 'x..xx..x..x.x..x',
    'off beat': '..x...x...x...x.',
    'sixteenths': 'xxxxxxxxxxxxxxxx',
    'dub': 'x.....x.x.......',
}


def bass_part(song: Song, rng: np.random.Generator) -> list[Note]:
    """A bass line: roots, fifths, octaves and passing notes under the chords, in one rhythm per song."""
    rhythm = BASS_RHYTHMS[str(rng.choice(list(BASS_RHYTHMS)))]
    wander = rng.uniform(0.0, 0.6)
    octave = int(rng.choice([1, 2], p=[0.6, 0.4]))
    legato = rng.uniform(0.5, 1.0)
    notes = []
    for bar in range(song.bars):
        onsets = [s for s in range(song.steps_per_bar) if rhythm[s % len(rhythm)] == 'x']
        for step, following in zip(onsets, [*onsets[1:], song.steps_per_bar], strict=True):
            degree = song.chord(bar)
            if step and rng.random() < wander:
                degree += int(rng.choice([2, 4, 7, -1, 1, -3, 6]))
            pitch = song.pitch(degree, octave)
            pitch += 12 if pitch < 26 else 0
            start = song.time(bar, step)
            if start < song.seconds:
                length = (following - step) * song.step * legato
                notes.append(Note(start, length, pitch, _velocity(rng, 98)))
    return notes


def chord_part(song: Song, rng: np.random.Generator, octave: int, power: bool = False) -> list[Note]:
    """Accompaniment: held, struck, off-beat or broken chords (only root, fifth and octave with `power`)."""
    manner = str(rng.choice(['held', 'struck', 'off beat', 'broken', 'syncopated']))
    steps = {
        'held': 'x',
        'struck': 'x...x...x...x...',
        'off beat': '..x...x.',
        'broken': 'x.',
        'syncopated': 'x..x..x.',
    }
    line = steps[manner] if manner != 'held' else 'x' + '.' * (song.steps_per_bar - 1)
    stack = (0, 4, 7) if power else ((0, 2, 4, 6) if rng.random() < 0.35 else (0, 2, 4))
    if manner == 'broken' and rng.random() < 0.4:
        line = 'x'
    spread = rng.uniform(0, 0.03)
    notes = []
    for bar in range(song.bars):
        degrees = [song.chord(bar) + d for d in stack]
        for step in range(song.steps_per_bar):
            if line[step % len(line)] != 'x' or song.time(bar, step) >= song.seconds:
                continue
            length = song.step * (song.steps_per_bar if manner == 'held' else len(line) * rng.uniform(0.5, 1.2))
            chosen = [degrees[(step // len(line)) % len(degrees)]] if manner == 'broken' else degrees
            for i, degree in enumerate(chosen):
                pitch = song.pitch(degree, octave)
                notes.append(Note(song.time(bar, step) + i * spread, length, pitch, _velocity(rng, 84)))
    return notes


def melody_part(song: Song, rng: np.random.Generator, low: int, high: int, density: float = 0.5) -> list[Note]:
    """A melody between two MIDI pitches: phrases of one or two bars with rests, chord notes on the beat."""
    degree = 0
    notes: list[Note] = []
    bar = 0
    while bar < song.bars:
        phrase_steps = song.steps_per_bar * int(rng.choice([1, 2], p=[0.4, 0.6]))
        step, end = int(rng.choice([0, 0, 2, 4])), phrase_steps - int(rng.choice([2, 4, 6]))
        while step < end:
            length = int(rng.choice([1, 2, 3, 4, 6, 8], p=_length_chances(density)))
            length = min(length, max(end - step, 1))
            jump = int(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3, 4]))
            degree = degree + jump
            if step % 8 == 0:
                degree = song.chord(bar) + int(rng.choice([0, 2, 4])) + 7 * round((degree - song.chord(bar)) / 7)
            pitch, degree = _into_range(song, degree, low, high)
            start = song.time(bar, step)
            if start < song.seconds:
                notes.append(Note(start, length * song.step * 0.97, pitch, _velocity(rng, 92)))
            step += length
        bar += phrase_steps // song.steps_per_bar + int(rng.random() < 0.15)
    return notes


def _length_chances(density: float) -> np.ndarray:
    """Chances of note lengths of 1, 2, 3, 4, 6 and 8 sixteenths; density 1 is busy, 0 is slow."""
    slow, busy = np.array([0.0, 0.15, 0.05, 0.35, 0.15, 0.3]), np.array([0.35, 0.45, 0.05, 0.1, 0.03, 0.02])
    return density * busy + (1 - density) * slow


def _into_range(song: Song, degree: int, low: int, high: int) -> tuple[int, int]:
    """(pitch, degree) moved by octaves to lie between two pitches that are at least an octave apart."""
    pitch = song.pitch(degree, 4)
    while pitch < low:
        pitch, degree = pitch + 12, degree + len(song.scale)
    while pitch > high:
        pitch, degree = pitch - 12, degree - len(song.scale)
    return pitch, degree
