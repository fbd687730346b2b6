"""One take of a stem for a song: what plays, what it plays, how it is recorded; all drawn from a random generator.

Every renderer returns the audio, float32 (samples, 2) at an active level of -20 dB, and the names of what sounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from . import accompaniment, chains, effects, grooves, kits, midi, plucked, score, singing, speakers, synths, voices
from .sounds import Sources

SAMPLE_RATE = 44100
BASS_PROGRAMS = range(32, 40)
CHOIRS = (52, 53, 54)  # sung samples of soundfonts: aahs, oohs, a synthetic voice
DRUM_PROGRAMS = (0, 8, 16, 24, 25, 32, 40)
PIANOS = (0, 1, 2, 3)
KEYS = (4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 11)
ACOUSTIC_GUITARS = (24, 25)
ELECTRIC_GUITARS = (26, 27, 28)
SECTIONS = (40, 42, 44, 45, 46, 48, 49, 50, 51, 56, 57, 60, 61, 62, 63, 105, 107)
LEADS = (
    40,
    41,
    42,
    56,
    57,
    59,
    60,
    64,
    65,
    66,
    67,
    68,
    71,
    72,
    73,
    74,
    75,
    79,
    80,
    81,
    82,
    84,
    86,
    87,
    110,
    26,
    27,
    22,
)
SYNTHS = (80, 81, 82, 83, 84, 86, 87, 88, 89, 90, 92, 93, 95)
BELLS = (8, 9, 10, 11, 12, 13, 14, 15, 46, 108)
OTHER_KINDS = {
    'acoustic guitar': 0.2,
    'piano': 0.16,
    'electric guitar': 0.16,
    'keys': 0.1,
    'section': 0.12,
    'lead': 0.2,
    'synth': 0.08,
    'bells': 0.04,
}
BACKINGS = (
    (),
    (0,),  # doubled
    (2,),  # a third above, and so on, in scale steps
    (-3,),
    (2, 4),
    (-7,),
    (0, 0, 7),
)
BACKING_CHANCES = (0.5, 0.17, 0.09, 0.06, 0.06, 0.06, 0.06)


class Take(NamedTuple):
    """A rendered stem and the names of the sounds in it."""

    audio: np.ndarray
    sounds: list[str]


def _one(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _play_soundfont(part: midi.Part, song: score.Song, sources: Sources, rng: np.random.Generator) -> Take:
    name = _one(rng, sources.soundfonts)
    audio = midi.play([part], midi.find_soundfont(name), song.seconds, SAMPLE_RATE)
    return Take(audio, [f'{name} {"drums" if part.channel == midi.DRUM_CHANNEL else "program"} {part.program}'])


def render_drums(song: score.Song, sources: Sources, rng: np.random.Generator) -> Take:
    """A drum take: a recorded kit, single strokes, a soundfont's kit, a loop, or a kit and a loop."""
    manners = ['kit', 'strokes', 'soundfont', 'loop', 'kit and loop']
    manner = str(
        rng.choice(manners, p=[0.46, 0.2, 0.16, 0.06, 0.12] if sources.computed else [0.6, 0, 0.2, 0.08, 0.12])
    )
    hits, sounds = grooves.drum_part(song, rng), []
    audio = np.zeros((round(song.seconds * SAMPLE_RATE), 2), np.float32)
    snare = np.zeros_like(audio)
    if manner in ('kit', 'kit and loop', 'strokes'):
        name = _one(rng, sources.kits) if manner != 'strokes' else 'single strokes'
        kit = kits.sonic_pi_kit(rng, SAMPLE_RATE) if manner == 'strokes' else kits.hydrogen_kit(name, SAMPLE_RATE)
        audio, snare = kits.play_kit(hits, kit, song.seconds, SAMPLE_RATE, rng)
        sounds.append(name)
    if manner == 'soundfont':
        part = midi.Part(midi.DRUM_CHANNEL, int(rng.choice(DRUM_PROGRAMS)), kits.gm_notes(hits, rng))
        audio, sounds = _play_soundfont(part, song, sources, rng)
    if 'loop' in manner:
        loop = _one(rng, sources.loops)
        played = kits.play_loop(kits.sonic_pi_samples(loop)[0], song, SAMPLE_RATE, rng)
        audio = effects.normalise(audio, -20) + effects.normalise(played, -20 if manner == 'loop' else -27)
        sounds.append(loop)
    return Take(chains.drum_chain(audio, snare, SAMPLE_RATE, rng), sounds)


def render_bass(song: score.Song, sources: Sources, rng: np.random.Generator) -> Take:
    """A bass take: a soundfont's, computed strings or a synthesiser."""
    notes = grooves.bass_part(song, rng)
    manner = str(rng.choice(['soundfont', 'strings', 'synth'], p=[0.6, 0.2, 0.2] if sources.computed else [1, 0, 0]))
    if manner == 'strings':
        strings = plucked.draw_strings(rng, electric=True, bass=True)
        take = Take(plucked.play_strings(notes, strings, song.seconds, SAMPLE_RATE, rng), ['computed bass strings'])
    elif manner == 'synth':
        timbre = synths.draw_timbre(rng, bass=True)
        take = Take(synths.play_synth(notes, timbre, song.seconds, SAMPLE_RATE), ['synthesiser bass'])
    else:
        program = int(rng.choice(BASS_PROGRAMS))
        vibrato = float(rng.choice([0.0, rng.uniform(0.05, 0.3)])) if program in (32, 35) else 0.0
        take = _play_soundfont(midi.Part(0, program, notes, vibrato), song, sources, rng)
    return Take(chains.bass_chain(take.audio, SAMPLE_RATE, rng), take.sounds)


def _other_notes(
    kind: str, song: score.Song, rng: np.random.Generator
) -> tuple[list[score.Note], Sequence[int], float]:
    """(notes, programs to choose from, drive of the amplifier) of one instrument."""
    if kind == 'acoustic guitar':
        part = accompaniment.strum_part if rng.random() < 0.55 else accompaniment.pick_part
        return part(song, rng), ACOUSTIC_GUITARS, 0.0
    if kind == 'piano':
        return accompaniment.piano_part(song, rng), PIANOS, 0.0
    if kind == 'electric guitar':
        manner = rng.random()
        if manner < 0.4:
            return accompaniment.riff_part(song, rng), (*ELECTRIC_GUITARS, 29, 30), float(rng.uniform(5, 40))
        part = accompaniment.strum_part if manner < 0.75 else accompaniment.pick_part
        return part(song, rng), ELECTRIC_GUITARS, float(rng.choice([0.0, rng.uniform(0.5, 6)]))
    if kind == 'lead':
        low = int(rng.integers(48, 74))
        notes = score.melody_part(song, rng, low, low + int(rng.integers(13, 22)), float(rng.uniform(0.0, 1)))
        drive = float(rng.uniform(3, 30)) if rng.random() < 0.25 else 0.0
        return score.ornament(notes, rng, rng.uniform(0, 0.4)), LEADS, drive
    programs = {'keys': KEYS, 'section': SECTIONS, 'synth': SYNTHS, 'bells': BELLS}[kind]
    if kind in ('bells', 'synth') and rng.random() < 0.4:
        low = int(rng.integers(55, 80))
        return score.melody_part(song, rng, low, low + 15, float(rng.uniform(0.2, 1))), programs, 0.0
    return accompaniment.chord_part(song, rng, int(rng.choice([3, 4, 4, 5]))), programs, 0.0


def _other_layer(kind: str, song: score.Song, sources: Sources, rng: np.random.Generator) -> Take:
    notes, programs, drive = _other_notes(kind, song, rng)
    lead = kind == 'lead'
    if sources.computed and 'guitar' in kind and rng.random() < 0.35:
        strings = plucked.draw_strings(rng, electric=kind == 'electric guitar')
        take = Take(plucked.play_strings(notes, strings, song.seconds, SAMPLE_RATE, rng), [f'computed {kind}'])
    elif sources.computed and (kind == 'synth' or lead) and rng.random() < (0.25 if lead else 0.6):
        timbre = synths.draw_timbre(rng, bass=False)
        take = Take(synths.play_synth(notes, timbre, song.seconds, SAMPLE_RATE), ['synthesiser'])
    else:
        vibrato = float(rng.choice([0.0, rng.uniform(0.1, 0.6)])) if lead else 0.0
        take = _play_soundfont(midi.Part(0, int(rng.choice(programs)), notes, vibrato), song, sources, rng)
    beat = 60 / song.tempo
    return Take(chains.other_chain(take.audio, SAMPLE_RATE, rng, beat, drive, lead), take.sounds)


def render_other(song: score.Song, sources: Sources, rng: np.random.Generator) -> Take:
    """An accompaniment take: one to four instruments, now and then with a texture behind them."""
    layers = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.35, 0.22, 0.08]))
    chances = np.array(list(OTHER_KINDS.values()))
    kinds = rng.choice(list(OTHER_KINDS), layers, p=chances / chances.sum(), replace=False)
    takes = [_other_layer(str(kind), song, sources, rng) for kind in kinds]
    parts = [take.audio * 10 ** (rng.normal(0, 4) / 20) for take in takes]
    sounds = [name for take in takes for name in take.sounds]
    if rng.random() < 0.08:
        name = _one(rng, sources.textures)
        texture = kits.play_loop(kits.sonic_pi_samples(name)[0], song, SAMPLE_RATE, rng)
        parts.append(effects.normalise(texture, rng.uniform(-34, -22)))
        sounds.append(name)
    return Take(effects.normalise(np.stack(parts).sum(axis=0), chains.LEVEL_DB), sounds)


def _draw_voice(sources: Sources, rng: np.random.Generator) -> speakers.Voice:
    natural = [voice for voice in sources.voices if voice.program != 'espeak-ng']
    pool = natural if natural and rng.random() < 0.75 else list(sources.voices)
    return pool[int(rng.integers(len(pool)))]


def _vocal_range(voice: speakers.Voice, rng: np.random.Generator) -> tuple[int, int]:
    low = int(rng.integers(52, 66) if voice.high else rng.integers(42, 57))
    if not voice.high and rng.random() < 0.12:
        low += 12  # falsetto
    return low, low + int(rng.integers(12, 18))


def _listen(voice: speakers.Voice, rng: np.random.Generator) -> voices.Speech:
    words = speakers.draw_words(rng, 30, voice.language)
    return voices.analyse(*speakers.speak(voice, words, rng))


def _some_phrases(melody: Sequence[score.Note], rng: np.random.Generator) -> list[score.Note]:
    """The melody, or only some of its phrases, as backing voices join in."""
    if rng.random() < 0.5:
        return list(melody)
    breaks = [i for i in range(1, len(melody)) if melody[i].start - melody[i - 1].start - melody[i - 1].duration > 0.2]
    edges = [0, *breaks, len(melody)]
    return [note for a, b in itertools.pairwise(edges) if rng.random() < 0.5 for note in melody[a:b]]


def render_vocals(song: score.Song, sources: Sources, rng: np.random.Generator) -> Take:
    """A vocal take: a lead voice, often doubled, with harmonies or a choir; one in eight is a rap."""
    voice = _draw_voice(sources, rng)
    speech = _listen(voice, rng)
    spoken = rng.random() < 0.12
    singer = singing.draw_singer(rng, spoken)
    density = float(rng.uniform(0.7, 1.0) if spoken else rng.uniform(0.0, 0.8))
    melody = score.melody_part(song, rng, *_vocal_range(voice, rng), density=density)
    sounds = [f'{voice.program} {voice.name}']
    parts = [effects.normalise(singing.sing(speech, melody, song.seconds, SAMPLE_RATE, singer, rng), -20)]
    for steps in BACKINGS[int(rng.choice(len(BACKINGS), p=BACKING_CHANCES))]:
        notes = [
            note._replace(start=note.start + abs(rng.normal(0, 0.015)))
            for note in score.harmonise(song, _some_phrases(melody, rng), steps)
        ]
        other = singing.draw_singer(rng, spoken)
        dry = singing.sing(speech, notes, song.seconds, SAMPLE_RATE, other, rng)
        parts.append(effects.pan(effects.normalise(dry, rng.uniform(-30, -21)), rng.uniform(-0.9, 0.9), 1.0))
    audio = np.stack(parts).sum(axis=0)
    if not spoken and rng.random() < 0.12:
        held = accompaniment.chord_part(song, rng, 4) if rng.random() < 0.6 else melody
        choir = _play_soundfont(midi.Part(0, int(rng.choice(CHOIRS)), held, 0.0), song, sources, rng)
        audio = audio + effects.normalise(choir.audio, rng.uniform(-30, -20))
        sounds += choir.sounds
    return Take(chains.vocal_chain(audio, SAMPLE_RATE, rng, 60 / song.tempo), sounds)


RENDERERS: dict[str, Callable[[score.Song, Sources, np.random.Generator], Take]] = {
    'vocals': render_vocals,
    'drums': render_drums,
    'bass': render_bass,
    'other': render_other,
}
