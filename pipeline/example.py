"""Three short generated songs, so that the main job can be tried without any music at hand; tests use them too.

Stands on numpy (soundfile writes the files).  The one idea: every note is a wavetable, a filtered impulse or a shaped
noise, made at once for all its samples; the musical choices depend on the seed alone, so a song is the same song at
every sample rate.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import soundfile

Array = npt.NDArray[np.float64]

PEAK = 10 ** (-1 / 20)  # of the mixture: -1 dBFS
STEPS_PER_BAR = 16
# Formants of a sung voice, (Hz, level, bandwidth in Hz) each: rounded averages for a tenor; the levels suit a source
# that falls by 6 dB per octave.
VOWELS: dict[str, tuple[tuple[float, float, float], ...]] = {
    'a': ((650, 1.0, 80), (1080, 0.9, 90), (2650, 0.9, 120), (2900, 0.8, 130), (3250, 0.3, 140)),
    'e': ((400, 1.0, 70), (1700, 0.8, 80), (2600, 0.9, 100), (3200, 0.7, 120), (3580, 0.4, 120)),
    'i': ((290, 1.0, 60), (1870, 0.9, 90), (2800, 0.8, 100), (3250, 0.7, 120), (3540, 0.3, 120)),
    'o': ((400, 1.0, 70), (800, 1.0, 80), (2600, 0.6, 100), (2800, 0.6, 130), (3000, 0.2, 135)),
}


@dataclasses.dataclass(frozen=True)
class _Score:
    """What a song is made of, in steps (sixteenth notes) and semitones; independent of the sample rate."""

    step_seconds: float
    root: int  # MIDI note of the key, around 40
    scale: tuple[int, ...]
    degrees: tuple[int, ...]  # of the chords, one per bar
    kicks: tuple[int, ...]  # steps in the bar
    swing: float  # share of a step by which every second step comes late

    def seconds(self, step: float) -> float:
        late = self.swing * self.step_seconds if int(step) % 2 else 0.0
        return step * self.step_seconds + late

    def note(self, degree: int) -> int:
        octave, index = divmod(degree, len(self.scale))
        return self.root + 12 * octave + self.scale[index]


def write_example(folder: str | os.PathLike[str]) -> list[str]:
    """Writes three songs of 20, 15 and 25 s into `folder`, which is made if needed.

    Returns:
      Their paths: stereo FLAC at 44.1 and at 48 kHz, and a mono WAV at 22.05 kHz.
    """
    os.makedirs(folder, exist_ok=True)
    paths = []
    for name, seconds, sample_rate, channels, seed in (
        ('first-light.flac', 20, 44100, 2, 1),
        ('night-train.flac', 15, 48000, 2, 2),
        ('old-radio.wav', 25, 22050, 1, 3),
    ):
        mixture = sum(make_song(seconds, sample_rate, seed).values())
        if channels == 1:
            mixture = np.mean(mixture, axis=1)
            mixture *= PEAK / np.abs(mixture).max()
        paths.append(os.path.join(folder, name))
        soundfile.write(paths[-1], mixture, sample_rate, subtype='PCM_16')
    return paths


def make_song(seconds: float, sample_rate: int, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """A song with drums, bass, chords and a sung voice.

    Args:
      seconds: length; round(seconds * sample_rate) samples, at least one.
      sample_rate: in Hz.
      seed: chooses tempo, key, chords, rhythm and melody.

    Returns:
      'vocals', 'drums', 'bass' and 'other', (samples, 2) each; their sum, the mixture, has a peak of -1 dBFS.
    """
    num_samples = max(1, round(seconds * sample_rate))
    score = _compose(np.random.default_rng([seed, 0]))
    num_bars = int(seconds / (STEPS_PER_BAR * score.step_seconds)) + 1
    stems = {}
    for index, (name, play) in enumerate(
        (('vocals', _play_vocals), ('drums', _play_drums), ('bass', _play_bass), ('other', _play_chords))
    ):
        canvas = _Canvas(num_samples, sample_rate)
        play(canvas, score, num_bars, np.random.default_rng([seed, 1 + index]))
        stems[name] = canvas.audio
    room = _room(sample_rate, np.random.default_rng([seed, 9]))
    for name, wet in (('vocals', 0.25), ('drums', 0.08), ('other', 0.2)):
        stems[name] += wet * _convolve(stems[name], room)
    for name, level in (('vocals', 1.0), ('drums', 0.9), ('bass', 0.75), ('other', 0.6)):
        loudness = np.sqrt(np.mean(stems[name] ** 2))
        stems[name] *= level / (loudness or 1.0)
    peak = np.abs(sum(stems.values())).max()
    return {name: (stem * (PEAK / (peak or 1.0))).astype(np.float32) for name, stem in stems.items()}


def _compose(rng: np.random.Generator) -> _Score:
    minor, major = (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11)
    progressions = ((0, 5, 3, 4), (0, 3, 5, 4), (0, 4, 5, 3), (0, 2, 3, 4))
    return _Score(
        step_seconds=15 / rng.uniform(84, 126),
        root=int(rng.integers(38, 46)),
        scale=minor if rng.random() < 0.5 else major,
        degrees=progressions[rng.integers(len(progressions))],
        kicks=((0, 4, 8, 12), (0, 7, 10), (0, 6, 8))[rng.integers(3)],
        swing=float(rng.uniform(0, 0.25)),
    )


class _Canvas:
    """One stem while it is played: audio of shape (samples, 2), onto which notes are added."""

    def __init__(self, num_samples: int, sample_rate: int) -> None:
        self.audio = np.zeros((num_samples, 2))
        self.sample_rate = sample_rate

    def times(self, seconds: float) -> Array:
        return np.arange(max(1, round(seconds * self.sample_rate))) / self.sample_rate

    def add(self, start: float, note: Array, pan: float = 0.0, level: float = 1.0) -> None:
        """Adds a mono note at `start` seconds; pan -1 is left, 1 right, with equal power."""
        first = round(start * self.sample_rate)
        room = self.audio[first : first + len(note)]
        angle = (pan + 1) * np.pi / 4
        room += level * note[: len(room), None] * (np.cos(angle), np.sin(angle))


def _play_drums(canvas: _Canvas, score: _Score, num_bars: int, rng: np.random.Generator) -> None:
    t = canvas.times(0.4)
    sweep = 45 * t + 110 / 30 * (1 - np.exp(-30 * t))  # cycles: from 155 Hz down to 45 Hz
    kick = np.sin(2 * np.pi * sweep) * np.exp(-9 * t)
    hiss = _noise(rng, len(t), order=1)
    snare = 0.8 * hiss * np.exp(-16 * t) + 0.5 * np.sin(2 * np.pi * 185 * t) * np.exp(-22 * t)
    hats = [_noise(rng, len(t), order=2) * np.exp(-decay * t) for decay in (70, 60, 14)]
    for bar in range(num_bars):
        for step in range(STEPS_PER_BAR):
            start = score.seconds(bar * STEPS_PER_BAR + step)
            if step in score.kicks:
                canvas.add(start, kick, level=1.0)
            if step in (4, 12) or (bar % 4 == 3 and step in (14, 15)):
                canvas.add(start, snare, pan=0.1, level=rng.uniform(0.6, 0.8))
            if step % 2 == 0 or rng.random() < 0.25:
                is_open = step == 14
                canvas.add(start, hats[2 if is_open else rng.integers(2)], pan=0.4, level=rng.uniform(0.3, 0.6))


def _play_bass(canvas: _Canvas, score: _Score, num_bars: int, rng: np.random.Generator) -> None:
    for bar in range(num_bars):
        degree = score.degrees[bar % len(score.degrees)]
        for step in sorted({*score.kicks, 3, 10, 14}):
            octave = 12 if step == 14 else 0
            frequency = _hertz(score.note(degree) - 12 + octave)
            t = canvas.times(score.step_seconds * rng.choice([1.6, 2.2, 3.0]))
            dark, bright = (_saw(canvas, frequency, t, cutoff) for cutoff in (300, 1500))
            note = (dark + 0.7 * bright * np.exp(-9 * t)) * _envelope(t, 0.005, 0.05)
            canvas.add(score.seconds(bar * STEPS_PER_BAR + step), note, level=rng.uniform(0.8, 1.0))


def _play_chords(canvas: _Canvas, score: _Score, num_bars: int, rng: np.random.Generator) -> None:
    """A pad of detuned oscillators, and an arpeggio of plucked strings."""
    plucked: dict[int, Array] = {}
    for bar in range(num_bars):
        degree = score.degrees[bar % len(score.degrees)] + 7
        t = canvas.times(score.step_seconds * STEPS_PER_BAR)
        swell = _envelope(t, 0.15, 0.25)
        for voice, third in enumerate((0, 2, 4)):
            for detune, pan in ((0.997, -0.7), (1.004, 0.7)):
                frequency = _hertz(score.note(degree + third)) * detune
                note = _saw(canvas, frequency, t, 1600, phase=rng.random()) * swell
                canvas.add(score.seconds(bar * STEPS_PER_BAR), note, pan=pan, level=0.25 - 0.03 * voice)
        for step in range(0, STEPS_PER_BAR, 2):
            midi = score.note(degree + 7 + (0, 2, 4, 7)[rng.integers(4)])
            if midi not in plucked:
                plucked[midi] = _pluck(canvas, _hertz(midi), rng)
            start = score.seconds(bar * STEPS_PER_BAR + step)
            canvas.add(start, plucked[midi], pan=-0.3, level=rng.uniform(0.5, 0.8))


def _play_vocals(canvas: _Canvas, score: _Score, num_bars: int, rng: np.random.Generator) -> None:
    """A melody that walks along the scale, stays near the chord on long notes and breathes every second bar."""
    degree, previous = 9, _hertz(score.note(9))
    for bar in range(num_bars):
        step = 0
        end = STEPS_PER_BAR - (4 if bar % 2 else 0)
        while step < end:
            length = min(int(rng.choice([2, 2, 4, 6])), end - step)
            degree = int(np.clip(degree + rng.integers(-2, 3), 7, 13))
            if length >= 4:
                chord = score.degrees[bar % len(score.degrees)]
                degree = min((chord + shift for shift in (0, 2, 4, 7, 9, 11)), key=lambda near: abs(near - degree))
            frequency = _hertz(score.note(degree))
            vowels = [list(VOWELS)[index] for index in rng.integers(len(VOWELS), size=2)]
            note = _sing(canvas, previous, frequency, length * score.step_seconds * 0.95, vowels, rng)
            canvas.add(score.seconds(bar * STEPS_PER_BAR + step), note, level=rng.uniform(0.8, 1.0))
            step, previous = step + length, frequency


def _sing(
    canvas: _Canvas, start: float, frequency: float, seconds: float, vowels: Sequence[str], rng: np.random.Generator
) -> Array:
    """One syllable: glottal pulses (Rosenberg, 1971) that glide to `frequency` Hz, through formants of two vowels."""
    t = canvas.times(seconds)
    vibrato = 0.012 * np.minimum(t / 0.3, 1) * np.sin(2 * np.pi * (5.4 * t + rng.random()))
    pitch = frequency * (start / frequency) ** np.exp(-t / 0.04) * (1 + vibrato)
    phase = np.linspace(0, 1, 1024, endpoint=False)  # of the glottis, which opens slowly, shuts at once
    flow = np.where(phase < 0.4, np.sin(np.pi / 2 * phase / 0.4) ** 2, np.cos(np.pi / 2 * (phase - 0.4) / 0.16))
    flow[phase > 0.56] = 0
    pulses = _lookup(
        _band_limited(canvas, np.diff(flow, append=0.0), pitch.max()), np.cumsum(pitch) / canvas.sample_rate
    )
    pulses = pulses / np.abs(pulses).max() + 0.02 * rng.standard_normal(len(t))
    pulses *= _envelope(t, 0.05, 0.09)
    towards = np.clip(t / seconds * 2 - 0.5, 0, 1)
    first, second = (_convolve(pulses[:, None], _formants(canvas, vowel))[:, 0] for vowel in vowels)
    voiced = (1 - towards) * first / np.abs(first).max() + towards * second / np.abs(second).max()
    consonant = _noise(rng, len(t), order=1) * np.exp(-(((t - 0.02) / 0.012) ** 2))
    return voiced + rng.choice([0.0, 0.15, 0.3]) * consonant


def _formants(canvas: _Canvas, vowel: str) -> Array:
    """Impulse response of a vowel, (samples, 1): one decaying sine per formant below the Nyquist frequency."""
    t = canvas.times(0.04)
    audible = [formant for formant in VOWELS[vowel] if formant[0] < 0.45 * canvas.sample_rate]
    rings = [
        level * bandwidth * np.exp(-np.pi * bandwidth * t) * np.sin(2 * np.pi * hertz * t)
        for hertz, level, bandwidth in audible
    ]
    return np.sum(rings, axis=0)[:, None]


def _pluck(canvas: _Canvas, frequency: float, rng: np.random.Generator) -> Array:
    """A plucked string: noise that runs round a delay line and is averaged each time (Karplus and Strong, 1983)."""
    period = max(2, round(canvas.sample_rate / frequency - 0.5))
    note = np.zeros(round(0.9 * canvas.sample_rate) + period + 1)
    note[: period + 1] = rng.uniform(-1, 1, period + 1)
    for first in range(period + 1, len(note), period):
        block = note[first : first + period]
        before = first - period
        block[:] = 0.498 * (note[before : before + len(block)] + note[before - 1 : before - 1 + len(block)])
    return note * np.linspace(1, 0, len(note))


def _saw(canvas: _Canvas, frequency: float, t: Array, cutoff: float, phase: float = 0.0) -> Array:
    """A sawtooth behind a low-pass filter of 12 dB per octave."""
    harmonics = np.arange(1, 512)
    levels = 1 / harmonics / (1 + (harmonics * frequency / cutoff) ** 2)
    levels[harmonics * frequency > 0.45 * canvas.sample_rate] = 0
    table = np.fft.irfft(np.concatenate([[0], -1j * levels]), 2048) * 1024
    return _lookup(table, frequency * t + phase)


def _band_limited(canvas: _Canvas, table: Array, frequency: float) -> Array:
    """One cycle of a wave without its mean and the harmonics that would alias at `frequency` Hz."""
    spectrum = np.fft.rfft(table)
    spectrum[0] = 0
    spectrum[max(2, int(0.45 * canvas.sample_rate / frequency)) :] = 0
    return np.fft.irfft(spectrum, len(table))


def _lookup(table: Array, cycles: Array) -> Array:
    """One cycle of a wave, of a power of two samples, read at phases >= 0 in cycles, with linear interpolation."""
    position = cycles * len(table)
    index = position.astype(np.int64)
    position -= index
    index &= len(table) - 1
    return table[index] + position * (np.roll(table, -1) - table)[index]


def _noise(rng: np.random.Generator, num_samples: int, order: int) -> Array:
    """Noise that rises by 6 dB per octave for each order, with a peak of one."""
    noise = np.diff(rng.standard_normal(num_samples + order), n=order)
    return noise / np.abs(noise).max()


def _envelope(t: Array, attack: float, release: float) -> Array:
    """Rises from 0 to 1 in `attack` seconds and falls again over the last `release` seconds."""
    return np.clip(np.minimum(t / attack, (t[-1] - t) / release), 0, 1)


def _room(sample_rate: int, rng: np.random.Generator) -> Array:
    """A stereo room of 0.7 s, (samples, 2): noise that decays, of unit energy per channel."""
    t = np.arange(round(0.7 * sample_rate)) / sample_rate
    room = rng.standard_normal((len(t), 2)) * np.exp(-8 * t)[:, None] * (t > 0.008)[:, None]
    return room / np.sqrt(np.sum(room**2, axis=0))


def _convolve(audio: Array, response: Array) -> Array:
    """The sum of the channels of `audio`, through each channel of `response`: (samples of audio, channels of response).

    By overlap-add of blocks, whose transforms fit into the processor's caches.
    """
    size = 2 << (2 * len(response) - 1).bit_length()
    hop = size - len(response) + 1
    transfer = np.fft.rfft(response, size, axis=0)
    mono = audio.sum(axis=1)
    out = np.zeros((len(mono) + size, response.shape[1]))
    for first in range(0, len(mono), hop):
        block = np.fft.rfft(mono[first : first + hop], size)
        out[first : first + size] += np.fft.irfft(block[:, None] * transfer, size, axis=0)
    return out[: len(mono)]


def _hertz(midi: float) -> float:
    return float(440 * 2 ** ((midi - 69) / 12))
