"""Singing: synthetic speech, taken apart by the WORLD vocoder and put together again on the notes of a melody.

Needs Python's `pyworld` (extra [train]) and the Debian packages `espeak-ng`, `flite`, `festival` and
`festvox-us-slt-hts`. The one idea to know: speech is a sequence of units, a voiced stretch with the consonants in
front of it. Every note takes the next unit; consonants keep their length, the voiced part is stretched to fill the
note, and its pitch is replaced by the note's, with glides and vibrato. Source of the vocoder: Morise, Yokomori,
Ozawa, "WORLD", IEICE Trans. E99-D, 2016.
"""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from scipy import ndimage, signal

from ..errors import UsageError
from .midi import require_program
from .score import Note

FRAME_SECONDS = 0.005  # of the vocoder
SHORTEST_UNIT = 12  # frames: shorter voiced stretches belong to the unit before them
LONGEST_UNIT = 60  # frames: longer voiced stretches are split, so that fast melodies move on through the words
LYRICS = (
    'river calling morning shadow never again summer rain over mountain silver window tonight heart walking away '
    'dream burning fire light hold me closer every day I wonder where you are going home forever young love and '
    'freedom dancing under neon sky baby come back to me now we run through empty streets singing hallelujah oh '
    'yeah no more tears falling down like leaves in autumn wind blue ocean deep moon rising golden road leads '
    'nowhere tell my mother say goodbye slowly time will heal these broken wings fly high above clouds give us '
    'something to believe in always remember September whisper softly good old friend take care what happened '
    'yesterday hey listen people get ready lonely island sweet child '
)
WORDS = tuple(LYRICS.split())
LANGUAGES = (
    'en-us',
    'en-gb',
    'en-gb-scotland',
    'de',
    'fr-fr',
    'es',
    'it',
    'pt-br',
    'sv',
    'pl',
    'nl',
    'tr',
    'id',
    'sw',
    'ro',
)
MALE_VARIANTS = (
    'm1',
    'm2',
    'm3',
    'm4',
    'm5',
    'm6',
    'm7',
    'm8',
    'klatt',
    'klatt2',
    'klatt3',
    'adam',
    'Andy',
    'john',
    'max',
)
FEMALE_VARIANTS = ('f1', 'f2', 'f3', 'f4', 'f5', 'anika', 'linda', 'steph', 'belinda', 'aunty')


@dataclasses.dataclass(frozen=True)
class Voice:
    """A speaker: which program speaks, under which name, and whether its natural range is a woman's."""

    program: str  # espeak-ng, flite or festival
    name: str
    female: bool


NATURAL_VOICES = (
    Voice('flite', 'awb', False),
    Voice('flite', 'rms', False),
    Voice('flite', 'kal16', False),
    Voice('flite', 'slt', True),
    Voice('festival', 'cmu_us_slt_arctic_hts', True),
)


@dataclasses.dataclass(frozen=True)
class Speech:
    """Analysed speech: what WORLD makes of it, frame by frame, and where its units are."""

    pitch: np.ndarray  # (frames,) Hz, 0 where unvoiced
    envelope: np.ndarray  # (frames, bins) power
    aperiodicity: np.ndarray  # (frames, bins) 0..1
    sample_rate: int
    units: tuple[tuple[int, int, int], ...]  # (first frame, first voiced frame, end)


def load_world() -> Any:
    """The pyworld module; UsageError where it is missing."""
    try:
        import pyworld
    except ImportError as error:
        raise UsageError(f"pyworld: {error}; pip install 'stembeam[train]' to render singing voices") from error
    return pyworld


def draw_words(rng: np.random.Generator, count: int) -> str:
    """Random words with commas."""
    words = [str(word) for word in rng.choice(WORDS, count)]
    return ' '.join(word + (',' if i % 6 == 5 else '') for i, word in enumerate(words)) + '.'


def speak(voice: Voice, text: str, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Speech of one voice: (samples,) float64 and its sample rate."""
    package = {'espeak-ng': 'espeak-ng', 'flite': 'flite', 'festival': 'festival festvox-us-slt-hts'}[voice.program]
    program = require_program('text2wave' if voice.program == 'festival' else voice.program, package)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'speech.wav'
        spoken = None
        if voice.program == 'espeak-ng':
            speed, pitch = str(int(rng.integers(110, 190))), str(int(rng.integers(30, 80)))
            command = [program, '-v', voice.name, '-s', speed, '-p', pitch, '-w', str(path), text]
        elif voice.program == 'flite':
            command = [program, '-voice', voice.name, '-t', text, '-o', str(path)]
        else:
            command, spoken = [program, '-eval', f'(voice_{voice.name})', '-o', str(path)], text
        done = subprocess.run(command, input=spoken, capture_output=True, text=True, check=False)
        if done.returncode or not path.is_file():
            raise UsageError(
                f'{voice.program}: voice {voice.name} failed ({done.stderr.strip()[-200:]}); apt install {package}'
            )
        audio, rate = soundfile.read(path, dtype='float64', always_2d=True)
    if len(audio) < rate // 10:
        raise UsageError(f'{voice.program}: voice {voice.name} said nothing; apt install {package}')
    return audio[:, 0], rate


def find_units(pitch: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """Units (first frame, first voiced frame, end) that cover a pitch track: see the module's one idea."""
    voiced = np.concatenate([[False], pitch > 0, [False]])
    edges = np.flatnonzero(np.diff(voiced.astype(int)))
    units: list[tuple[int, int, int]] = []
    end_before = 0
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - start < SHORTEST_UNIT:
            continue
        first = max(end_before, start - 30)  # a pause in front is not part of the consonants
        pieces = -(-(end - start) // LONGEST_UNIT)
        cuts = np.linspace(start, end, pieces + 1).astype(int).tolist()
        for i in range(pieces):
            units.append((first if i == 0 else cuts[i], cuts[i], cuts[i + 1]))
        end_before = end
    return tuple(units)


def analyse(audio: np.ndarray, sample_rate: int) -> Speech:
    """Take speech apart: (samples,) float64 to pitch, spectral envelope, aperiodicity and units."""
    world = load_world()
    audio = np.ascontiguousarray(audio)
    coarse, times = world.dio(audio, sample_rate, f0_floor=60.0, f0_ceil=500.0, frame_period=FRAME_SECONDS * 1000)
    pitch = world.stonemask(audio, coarse, times, sample_rate)
    envelope = world.cheaptrick(audio, pitch, times, sample_rate)
    aperiodicity = world.d4c(audio, pitch, times, sample_rate)
    return Speech(pitch, envelope, aperiodicity, sample_rate, find_units(pitch))


def _frames_of(melody: Sequence[Note], speech: Speech, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """For every output frame the speech frame to take (-1: silence) and the note's MIDI pitch."""
    source = np.full(frames, -1)
    pitch = np.full(frames, np.nan)
    for i, note in enumerate(melody):
        first, voiced, end = speech.units[i % len(speech.units)]
        start, stop = (min(round(t / FRAME_SECONDS), frames) for t in (note.start, note.start + note.duration))
        if stop <= start:
            continue
        consonant = min(voiced - first, max(stop - start, 2) // 2)
        lead = np.arange(voiced - consonant, voiced)
        vowel = np.linspace(voiced, end - 1, max(stop - start - consonant, 0)).round().astype(int)
        source[start:stop] = np.concatenate([lead, vowel])[: stop - start]
        pitch[start:stop] = note.pitch
    return source, pitch


def _contour(pitch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """MIDI pitches per frame (NaN: rest) to Hz with glides between notes, vibrato and a little drift."""
    frames = np.arange(len(pitch))
    known = ~np.isnan(pitch)
    if not known.any():
        return np.full(len(pitch), 100.0)
    steps = np.interp(frames, frames[known], pitch[known])
    gliding = ndimage.uniform_filter1d(steps, int(rng.integers(3, 20)))
    rate, depth = rng.uniform(4.5, 6.8), rng.choice([0.0, rng.uniform(0.05, 0.6)], p=[0.25, 0.75])
    held = ndimage.uniform_filter1d((np.abs(np.gradient(steps)) < 1e-6).astype(float), 40) ** 4
    drift = ndimage.gaussian_filter1d(rng.standard_normal(len(pitch)), 12) * rng.uniform(0.1, 0.8)
    vibrato = depth * held * np.sin(2 * np.pi * rate * frames * FRAME_SECONDS + rng.uniform(0, 6))
    return 440.0 * 2 ** ((gliding + vibrato + drift - 69) / 12)


def _warp(spectra: np.ndarray, factor: float) -> np.ndarray:
    """Spectra (frames, bins) with frequencies scaled: above one the throat is shorter."""
    bins = np.arange(spectra.shape[1])
    place = np.clip(bins / factor, 0, bins[-1])
    low = np.minimum(place.astype(int), bins[-1] - 1)
    part = place - low
    return spectra[:, low] * (1 - part) + spectra[:, low + 1] * part


def sing(
    speech: Speech, melody: Sequence[Note], seconds: float, sample_rate: int, throat: float, rng: np.random.Generator
) -> np.ndarray:
    """Speech on a melody: (samples, 2) float32, both sides alike; `throat` scales the formants (1 leaves them)."""
    samples = round(seconds * sample_rate)
    if not speech.units or not melody:
        return np.zeros((samples, 2), np.float32)
    source, notes = _frames_of(melody, speech, round(seconds / FRAME_SECONDS) + 1)
    taken = np.maximum(source, 0)
    loud = ndimage.uniform_filter1d((source >= 0).astype(float), 5)
    envelope = _warp(speech.envelope[taken], throat) * (loud**2)[:, np.newaxis] + 1e-12
    breath = rng.uniform(0.0, 0.15) if rng.random() < 0.4 else 0.0
    aperiodicity = np.clip(_warp(speech.aperiodicity[taken], throat) + breath, 0.001, 1.0)
    pitch = np.where((source >= 0) & (speech.pitch[taken] > 0), _contour(notes, rng), 0.0)
    parts = (np.ascontiguousarray(part, np.float64) for part in (pitch, envelope, aperiodicity))
    mono = load_world().synthesize(*parts, speech.sample_rate, FRAME_SECONDS * 1000)
    audio = brighten(soxr.resample(mono, speech.sample_rate, sample_rate), sample_rate, speech.sample_rate, rng)
    audio = np.pad(audio[:samples], (0, max(samples - len(audio), 0))).astype(np.float32)
    return np.repeat(audio[:, np.newaxis], 2, axis=1)


def brighten(audio: np.ndarray, sample_rate: int, voice_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Fill the band above a voice's own (narrower than a record's) with noise that follows its upper octave."""
    edge = voice_rate / 2 * 0.9
    if edge > 0.4 * sample_rate:
        return audio
    upper = signal.sosfilt(signal.butter(4, [edge / 2, edge], 'bandpass', fs=sample_rate, output='sos'), audio)
    follow = signal.sosfiltfilt(signal.butter(1, 60, fs=sample_rate, output='sos'), np.abs(upper))
    noise = signal.sosfilt(
        signal.butter(2, edge, 'highpass', fs=sample_rate, output='sos'), rng.standard_normal(len(audio))
    )
    return audio + noise * np.maximum(follow, 0) * rng.uniform(0.3, 1.0)
