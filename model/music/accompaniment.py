"""What guitars, pianos and other chord instruments play: strummed, picked, struck, held and broken chords.

Guitar parts are fingered as on six strings, so that their chords have the spacing, the rolling and the doubled notes
of a real guitar and not those of a keyboard. See `score` for songs and notes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .score import Note, Song, draw_velocity

OPEN_STRINGS = (40, 45, 50, 55, 59, 64)  # E A D G B E
# Sixteenths: D and U strum down and up, d and u the same softly, x damped strings.
STRUMS = (
    'D...D.U...U.D.U.',
    'D.d.D.d.D.d.D.d.',
    'D.DUD.DUD.DUD.DU',
    'D.....D.D.U.....',
    'D..U..D.D..U..D.',
    'DxxUDxxUDxxUDxxU',
    '..D...D...D...D.',
    'D.......D.......',
    'D.du.uduD.du.udu',
    'D...x.U...U.x.U.',
)
# Eighths: which string is plucked, counted from the lowest that the chord uses; t is the thumb's second bass note.
PICKS = ('0345t345', '03t304t3', '0325t325', '05t405t4', '0354t354', '0.3.t.3.')
RIFFS = ('x.x.x.x.x.x.x.x.', 'xxxxxxxxxxxxxxxx', 'x..x..x.x.x.x...', 'x.......x.....x.', 'x...............')


def guitar_chord(song: Song, bar: int, fret: int) -> list[int]:
    """The pitches of a bar's triad on the six strings, at or above a fret: low strings below the root stay silent."""
    tones = {song.pitch(song.chord(bar) + d, 0) % 12 for d in (0, 2, 4)}
    root = song.pitch(song.chord(bar), 0) % 12
    pitches = [next(p for p in range(string + fret, string + fret + 12) if p % 12 in tones) for string in OPEN_STRINGS]
    first = next((i for i, pitch in enumerate(pitches[:4]) if pitch % 12 == root), 0)
    return pitches[first:]


def strum_part(song: Song, rng: np.random.Generator) -> list[Note]:
    """Strummed chords: one pattern per song, strings a few milliseconds after each other."""
    pattern = STRUMS[rng.integers(len(STRUMS))]
    fret = int(rng.choice([0, 0, 0, 2, 3, 5, 7]))
    roll = rng.uniform(0.003, 0.014)
    notes: list[Note] = []
    for bar in range(song.bars):
        chord = guitar_chord(song, bar, fret)
        strokes = [s for s in range(song.steps_per_bar) if pattern[s % len(pattern)] != '.']
        for step, following in zip(strokes, [*strokes[1:], song.steps_per_bar + strokes[0]], strict=True):
            start, mark = song.time(bar, step), pattern[step % len(pattern)]
            if start >= song.seconds:
                continue
            strings = chord if mark in 'Dx' else chord[-int(rng.integers(3, 5)) :]
            length = 0.04 if mark == 'x' else (following - step) * song.step
            loud = {'D': 96, 'U': 84, 'x': 60}.get(mark, 72) + (8 if step % 8 == 4 else 0)
            for i, pitch in enumerate(strings if mark not in 'Uu' else reversed(strings)):
                late = i * roll * rng.uniform(0.7, 1.3)
                notes.append(Note(start + late, max(length - late, 0.03), pitch, draw_velocity(rng, loud)))
    return notes


def pick_part(song: Song, rng: np.random.Generator) -> list[Note]:
    """Fingerpicked chords: thumb and fingers in one pattern per song, strings ringing to the end of the bar."""
    pattern = PICKS[rng.integers(len(PICKS))]
    fret = int(rng.choice([0, 0, 0, 2, 3, 5]))
    every = int(rng.choice([1, 2], p=[0.3, 0.7])) if song.tempo < 110 else 2
    notes: list[Note] = []
    for bar in range(song.bars):
        chord = guitar_chord(song, bar, fret)
        for i, step in enumerate(range(0, song.steps_per_bar, every)):
            mark = pattern[i % len(pattern)]
            start = song.time(bar, step)
            if mark == '.' or start >= song.seconds:
                continue
            string = min(2, len(chord) - 1) if mark == 't' else len(chord) - 6 + int(mark) if mark != '0' else 0
            rest = (song.steps_per_bar - step) * song.step
            notes.append(Note(start, rest, chord[max(string, 0)], draw_velocity(rng, 92 if mark in '0t' else 78)))
    return notes


def chord_part(song: Song, rng: np.random.Generator, octave: int) -> list[Note]:
    """Held, struck, off-beat, syncopated or broken chords of a keyboard, a pad or a section."""
    manner = str(rng.choice(['held', 'struck', 'off beat', 'broken', 'syncopated', 'pulse']))
    steps = {
        'held': 'x' + '.' * (song.steps_per_bar - 1),
        'struck': 'x...x...x...x...',
        'off beat': '..x...x.',
        'broken': 'x' if rng.random() < 0.4 else 'x.',
        'syncopated': 'x..x..x.',
        'pulse': 'x.',
    }
    line = steps[manner]
    stack = (0, 2, 4, 6) if rng.random() < 0.35 else (0, 2, 4)
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
                notes.append(Note(song.time(bar, step) + i * spread, length, pitch, draw_velocity(rng, 84)))
    return notes


def riff_part(song: Song, rng: np.random.Generator) -> list[Note]:
    """Power chords of an electric guitar: chugged, accented or held (root, fifth and octave)."""
    line = str(rng.choice(RIFFS))
    octave = 2 if song.key < 8 else 1
    notes = []
    for bar in range(song.bars):
        onsets = [s for s in range(song.steps_per_bar) if line[s % len(line)] == 'x']
        for step, following in zip(onsets, [*onsets[1:], song.steps_per_bar], strict=True):
            start, accent = song.time(bar, step), step % 8 == 0 or rng.random() < 0.2
            if start < song.seconds:
                length = (following - step) * song.step * (0.95 if accent else 0.5)
                pitch = song.pitch(song.chord(bar), octave)
                for offset in (0, 7, 12) if accent else (0, 7):
                    notes.append(Note(start, length, pitch + offset, draw_velocity(rng, 105 if accent else 85)))
    return notes


def piano_part(song: Song, rng: np.random.Generator) -> list[Note]:
    """Both hands of a piano: ballad, rolling, stride or pounding; the pedal lets notes ring through the bar."""
    manner = str(rng.choice(['ballad', 'rolling', 'stride', 'pounding']))
    pedal = rng.random() < 0.6
    notes: list[Note] = []

    def play(bar: int, step: int, degrees: Sequence[int], octave: int, steps: int, loud: float) -> None:
        start = song.time(bar, step)
        if start >= song.seconds:
            return
        length = (song.steps_per_bar - step if pedal else steps) * song.step
        for degree in degrees:
            pitch, late = song.pitch(degree, octave), abs(rng.normal(0, 0.006))
            notes.append(Note(start + late, length, pitch, draw_velocity(rng, loud)))

    for bar in range(song.bars):
        root = song.chord(bar)
        triad = [root, root + 2, root + 4]
        if root >= 4:
            triad = [root - 7 + 4, root, root + 2]  # an inversion keeps the right hand in place
        for step in range(0, song.steps_per_bar, 2):
            if manner == 'ballad' and step % 4 == 0:
                play(bar, step, triad, 4, 4, 76)
            elif manner == 'rolling':
                play(bar, step, [[root, root + 4, root + 7, root + 9][step // 2 % 4]], 3, 2, 74)
            elif manner == 'stride':
                play(bar, step, [root] if step % 8 == 0 else triad if step % 8 == 4 else [], 3, 4, 80)
            elif manner == 'pounding':
                play(bar, step, triad, 4, 2, 88 if step % 4 == 0 else 70)
            if step % 8 == 0 and manner in ('ballad', 'pounding'):
                play(bar, step, [root, root + 7], 2, 8, 84)
            if manner in ('rolling', 'stride') and rng.random() < 0.45:
                play(bar, step, [int(rng.choice(triad)) + int(rng.choice([0, 0, 7, 1]))], 5, 2, 84)
    return notes
