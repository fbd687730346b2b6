"""What drummers and bass players play under a song: grooves, fills and bass lines, as hits and notes.

A groove is one line of sixteenths per role, so that a new one is a few characters more (see `score` for the rest).
"""

from __future__ import annotations

import numpy as np

from .score import Hit, Note, Song, draw_velocity

# One bar of sixteenth notes per line: x is a certain hit, o one that comes and goes.
GROOVES = {
    'rock': {'kick': 'x.....o.x.x...o.', 'snare': '....x.......x...', 'hat': 'x.x.x.x.x.x.x.x.'},
    'straight': {'kick': 'x.......x.o.....', 'snare': '....x.......x...', 'hat': 'x.x.x.x.x.x.x.x.'},
    'funk': {'kick': 'x..x..o...x..o..', 'snare': '....x..o.o..x..o', 'hat': 'xxoxxxoxxxoxxxox'},
    'house': {'kick': 'x...x...x...x...', 'snare': '....x.......x...', 'hat': 'o.x.o.x.o.x.o.x.'},
    'disco': {'kick': 'x...x...x...x...', 'snare': '....x.......x...', 'hat': 'x.xxx.xxx.xxx.xx'},
    'break': {'kick': 'x.x.......x..o..', 'snare': '....x..x.o..x..x', 'hat': 'x.x.x.x.x.x.x.x.'},
    'half time': {'kick': 'x.....x...o...o.', 'snare': '........x.......', 'hat': 'x.x.x.x.x.xox.x.'},
    'metal': {'kick': 'x.xxx.xxx.xxx.xx', 'snare': '....x.......x...', 'hat': 'x...x...x...x...'},
    'punk': {'kick': 'x...x...x...x...', 'snare': '..x...x...x...x.', 'hat': 'x.x.x.x.x.x.x.x.'},
    'motown': {
        'kick': 'x.....x.x.....o.',
        'snare': 'x...x...x...x...',
        'hat': 'x.x.x.x.x.x.x.x.',
        'perc': '..x...x...x...x.',
    },
    'train': {'kick': 'x...x...x...x...', 'snare': 'ooxoooxoooxoooxo', 'hat': '..x...x...x...x.'},
    'ballad': {'kick': 'x.......o.x.....', 'snare': '........x.......', 'ride': 'x...x...x...x...'},
    'tribal': {
        'kick': 'x...x...x...x...',
        'low tom': 'x..x..x.x..x..x.',
        'perc': '..x.o.x...x.o.x.',
        'snare': '............o...',
    },
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
LOUDNESS = {'kick': 100, 'snare': 98}  # velocity of a role; 72 of the others
GHOST_SNARE = -35
FILL_ROLES = ('snare', 'high tom', 'mid tom', 'low tom', 'kick')
BASS_RHYTHMS = {
    'eighths': 'x.x.x.x.x.x.x.x.',
    'quarters': 'x...x...x...x...',
    'halves': 'x.......x.......',
    'long': 'x...............',
    'syncopated': 'x..x..x...x.x...',
    'funk': 'x..xx..x..x.x..x',
    'off beat': '..x...x...x...x.',
    'sixteenths': 'xxxxxxxxxxxxxxxx',
    'dub': 'x.....x.x.......',
    'tresillo': 'x..x..x.x..x..x.',
}


def drum_part(song: Song, rng: np.random.Generator) -> list[Hit]:
    """Drums for a song: its groove with variations, ghost strokes, fills every four bars and cymbals after them."""
    groove = dict(GROOVES[song.groove])
    if rng.random() < 0.25 and 'ride' not in groove and 'hat' in groove:
        groove['ride'] = groove.pop('hat')
    if rng.random() < 0.2:
        groove['perc'] = str(rng.choice(['x.x.x.x.x.x.x.x.', 'xoxxxoxxxoxxxoxx', '....x.......x...']))
    open_hats = rng.random() < 0.4
    optional = rng.uniform(0.2, 0.8)
    human = rng.uniform(0.0, 0.008)
    fills = rng.uniform(0.2, 0.8)
    hits: list[Hit] = []

    def strike(bar: int, step: float, role: str, loud: float) -> None:
        start = song.time(bar, step) + abs(rng.normal(0, human))
        if start < song.seconds:
            hits.append(Hit(start, role, draw_velocity(rng, loud)))

    for bar in range(song.bars):
        fill = bar % 4 == 3 and rng.random() < fills
        fill_from = song.steps_per_bar - int(rng.choice([4, 6, 8])) if fill else song.steps_per_bar
        if bar % 4 == 0 and rng.random() < 0.5:
            strike(bar, 0, 'crash', 100)
        for role, line in groove.items():
            for step in range(fill_from):
                mark = line[step % len(line)]
                if mark == '.' or (mark == 'o' and rng.random() > optional):
                    continue
                loud = LOUDNESS.get(role, 72) + (12 if step % 4 == 0 else 0)
                loud += GHOST_SNARE if mark == 'o' and role == 'snare' else 0
                is_open = role == 'hat' and open_hats and step % 8 == 6
                strike(bar, step, 'open hat' if is_open else role, loud)
        for step in range(fill_from, song.steps_per_bar):
            if rng.random() < 0.8:
                strike(bar, step, str(rng.choice(FILL_ROLES)), 95)
    return sorted(hits)


def bass_part(song: Song, rng: np.random.Generator) -> list[Note]:
    """A bass line: roots, fifths, octaves, passing notes and slides under the chords, in one rhythm per song."""
    rhythm = BASS_RHYTHMS[str(rng.choice(list(BASS_RHYTHMS)))]
    wander = rng.uniform(0.0, 0.6)
    octave = int(rng.choice([1, 2], p=[0.6, 0.4]))
    legato = rng.uniform(0.5, 1.0)
    slides = float(rng.choice([0.0, rng.uniform(0.03, 0.25)]))
    ghosts = float(rng.choice([0.0, rng.uniform(0.05, 0.25)], p=[0.7, 0.3]))
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
            if start >= song.seconds:
                continue
            length = (following - step) * song.step * legato
            slide = float(rng.choice([-7, -5, -2, -2, 2, 5])) if rng.random() < slides else 0.0
            notes.append(Note(start, length, pitch, draw_velocity(rng, 98), slide))
            if following - step > 1 and rng.random() < ghosts:
                late = (following - step - 1) * song.step
                notes[-1] = notes[-1]._replace(duration=min(length, late))
                notes.append(Note(start + late, 0.05, pitch, draw_velocity(rng, 55)))
    return notes
