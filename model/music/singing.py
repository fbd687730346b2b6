"""Singing: the syllables of analysed speech laid on the notes of a melody, with what singers do between the notes.

The one idea to know: a note takes the next syllable; its consonants and transitions keep their length and come before
the beat, its vowel is held by wandering around its loudest frame, and its pitch is replaced by the note's, with
scoops, glides, vibrato, drift and falls. A `Singer` is drawn once per take and says how much of each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import soxr
from scipy import ndimage

from .score import Note
from .voices import FRAME_SECONDS, VOICE_RATE, Speech, Unit, brighten, load_world, warp

PHRASE_GAP = 0.25  # seconds of rest after which a new phrase begins, with a breath before it
REST = -1  # in place of a speech frame


@dataclasses.dataclass(frozen=True)
class Singer:
    """How a voice sings; drawn by `draw_singer`."""

    throat: float  # formants are scaled by this
    glide: float  # seconds from note to note
    scoop: float  # chance of a note that begins below its pitch
    fall: float  # chance of a phrase whose end drops
    vibrato: float  # semitones to either side
    vibrato_hz: float
    drift: float  # semitones
    breath: float  # added aperiodicity
    inhale: float  # loudness of the breaths between phrases, relative to the voice
    effort: float  # dB per octave by which the treble is raised above 1 kHz
    ring: float  # dB of the singer's formant around 3 kHz
    rough: float  # depth of a growl at half the pitch
    slur: float  # chance of a note that goes on with the vowel of the one before
    spoken: bool  # keep the speech's own pitch, as in rap, and only the rhythm of the melody


@dataclasses.dataclass
class Frames:
    """What is sung, per frame of the vocoder: speech frame (REST in rests), MIDI pitch (NaN in rests), loudness."""

    source: np.ndarray
    pitch: np.ndarray
    gain_db: np.ndarray
    inhaled: np.ndarray  # frames of a breath


def draw_singer(rng: np.random.Generator, spoken: bool) -> Singer:
    """A random way to sing; one in eight is tuned to the grid, as records after 1998 are."""
    tuned = rng.random() < 0.12
    return Singer(
        throat=float(np.clip(rng.normal(1.0, 0.09), 0.78, 1.28)),
        glide=0.008 if tuned else float(rng.uniform(0.02, 0.12)),
        scoop=0.0 if tuned else float(rng.uniform(0.0, 0.6)),
        fall=float(rng.uniform(0.0, 0.4)),
        vibrato=0.0 if tuned or rng.random() < 0.2 else float(rng.uniform(0.1, 0.9)),
        vibrato_hz=float(rng.uniform(4.6, 7.0)),
        drift=0.02 if tuned else float(rng.uniform(0.05, 0.35)),
        breath=float(rng.choice([0.0, rng.uniform(0.02, 0.35)])),
        inhale=float(rng.uniform(0.02, 0.3)) if rng.random() < 0.6 else 0.0,
        effort=float(rng.uniform(0.0, 3.5)),
        ring=float(rng.choice([0.0, rng.uniform(2, 9)])),
        rough=float(rng.uniform(0.2, 0.7)) if rng.random() < 0.1 else 0.0,
        slur=float(rng.uniform(0.0, 0.35)),
        spoken=spoken,
    )


def _syllable(unit: Unit, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Speech frames for a note of so many frames, led by those of its consonants; and how many these are."""
    lead, coda = np.arange(unit.first, unit.vowel), np.arange(unit.vowel_end, unit.end)
    if len(coda) >= frames:
        return np.concatenate([lead, np.linspace(unit.vowel, unit.end - 1, frames).round().astype(int)]), len(lead)
    held = np.arange(frames - len(coda))
    reach = (unit.vowel_end - 1 - unit.vowel) / 2
    swing = np.abs((held / max(reach, 1) + rng.uniform(0, 2)) % 2 - 1) * 2 - 1  # to and fro
    wander = unit.vowel + reach * (1 + swing) + rng.normal(0, 0.6, len(held))
    vowel = np.clip(wander.round().astype(int), unit.vowel, unit.vowel_end - 1)
    return np.concatenate([lead, vowel, coda]), len(lead)


def _slurred(melody: Sequence[Note], chance: float, rng: np.random.Generator) -> list[list[Note]]:
    """Notes grouped by the syllable that they share."""
    groups: list[list[Note]] = []
    for note in melody:
        before = groups[-1][-1] if groups else None
        touching = before is not None and note.start - before.start - before.duration < 0.06
        if touching and len(groups[-1]) < 4 and rng.random() < chance:
            groups[-1].append(note)
        else:
            groups.append([note])
    return groups


def lay_out(melody: Sequence[Note], speech: Speech, frames: int, singer: Singer, rng: np.random.Generator) -> Frames:
    """A melody's syllables frame by frame, breaths included."""
    plan = Frames(np.full(frames, REST), np.full(frames, np.nan), np.zeros(frames), np.zeros(frames, bool))
    level = 10 * np.log10(speech.envelope.sum(axis=1) + 1e-12)
    usual = float(np.median([level[unit.vowel] for unit in speech.units]))
    at, done = int(rng.integers(len(speech.units))), 0
    for group in _slurred(melody, singer.slur, rng):
        start = round(group[0].start / FRAME_SECONDS)
        stop = min(round((group[-1].start + group[-1].duration) / FRAME_SECONDS), frames)
        unit = speech.units[at % len(speech.units)]
        at += 1
        if stop - start < 2:
            continue
        source, lead = _syllable(unit, stop - start, rng)
        early = min(lead, max(start - done, 0), start)
        begin = start - early
        if begin - done > PHRASE_GAP / FRAME_SECONDS and rng.random() < singer.inhale * 3:
            length = min(int(rng.uniform(30, 80)), begin - done - 10)
            breath = slice(max(begin - length - 6, 0), begin - 6)
            plan.source[breath], plan.inhaled[breath] = unit.vowel, True
        plan.source[begin:stop] = source[lead - early :]
        for note in group:
            plan.pitch[round(note.start / FRAME_SECONDS) : stop] = note.pitch
        plan.pitch[begin:start] = group[0].pitch
        plan.gain_db[begin:stop] = 0.6 * (usual - level[unit.vowel]) + (group[0].velocity - 92) / 5
        done = stop
    return plan


def contour(plan: Frames, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """The pitch of a plan in Hz, (frames,): glides, scoops, falls, vibrato on held notes, drift and jitter."""
    frames = np.arange(len(plan.pitch))
    known = ~np.isnan(plan.pitch)
    if not known.any():
        return np.full(len(frames), 100.0)
    steps = np.interp(frames, frames[known], plan.pitch[known])
    curve = ndimage.uniform_filter1d(steps, max(int(singer.glide / FRAME_SECONDS), 1))
    begins = np.flatnonzero(np.diff(np.where(known, plan.pitch, 0.0), prepend=0.0) * known)
    for begin in begins.tolist():
        if rng.random() < singer.scoop:
            depth, time = rng.choice([0.5, 1, 2, 3]) * rng.uniform(0.5, 1.2), rng.uniform(6, 20)
            curve[begin : begin + 80] -= depth * np.exp(-np.arange(len(curve[begin : begin + 80])) / time)
    for end in (np.flatnonzero(np.diff(known.astype(int)) == -1) + 1).tolist():
        if rng.random() < singer.fall:
            length = int(rng.integers(12, 45))
            curve[max(end - length, 0) : end] -= rng.uniform(1, 6) * np.linspace(0, 1, min(length, end)) ** 2
    since = frames - np.maximum.accumulate(np.where(np.isin(frames, begins), frames, 0))
    depth = singer.vibrato * np.clip((since * FRAME_SECONDS - rng.uniform(0.15, 0.4)) / 0.3, 0, 1)
    rate = singer.vibrato_hz + ndimage.gaussian_filter1d(rng.standard_normal(len(frames)), 40) * 3
    curve = curve + depth * np.sin(2 * np.pi * np.cumsum(rate) * FRAME_SECONDS)
    slow = ndimage.gaussian_filter1d(rng.standard_normal(len(frames)), 14) * 7 * singer.drift
    return 440.0 * 2 ** ((curve + slow + rng.normal(0, 0.04, len(frames)) - 69) / 12)


def _colour(plan: Frames, singer: Singer, bins: int) -> np.ndarray:
    """What effort does to the spectrum, as power: (frames, bins); louder and higher notes are sung with more of it."""
    frequency = np.linspace(0, VOICE_RATE / 2, bins)
    octaves = np.log2(np.clip(frequency, 1000, 6000) / 1000)
    formant = np.exp(-(((frequency - 3000 * singer.throat) / 600) ** 2))
    known = ~np.isnan(plan.pitch)
    middle = float(np.median(plan.pitch[known])) if known.any() else 0.0
    height = np.clip(np.where(known, plan.pitch - middle, 0.0) / 12, -0.8, 1)
    strength = np.clip(1 + height + plan.gain_db / 20, 0.3, 2.0)
    curve_db = strength[:, np.newaxis] * (singer.effort * octaves + singer.ring * formant)
    return 10 ** ((curve_db + plan.gain_db[:, np.newaxis]) / 10)


def sing(
    speech: Speech, melody: Sequence[Note], seconds: float, sample_rate: int, singer: Singer, rng: np.random.Generator
) -> np.ndarray:
    """Speech on a melody: (samples, 2) float32, both sides alike; silent without notes or syllables."""
    samples = round(seconds * sample_rate)
    if not speech.units or not melody:
        return np.zeros((samples, 2), np.float32)
    plan = lay_out(melody, speech, round(seconds / FRAME_SECONDS) + 1, singer, rng)
    taken = np.maximum(plan.source, 0)
    sounding = ndimage.uniform_filter1d((plan.source != REST).astype(float), 5) ** 2
    loud = sounding * np.where(plan.inhaled, singer.inhale, 1.0) ** 2
    envelope = warp(speech.envelope[taken], singer.throat) * _colour(plan, singer, speech.envelope.shape[1])
    envelope = envelope * loud[:, np.newaxis] + 1e-12
    breath = singer.breath * np.linspace(0.3, 1, envelope.shape[1])
    aperiodicity = np.clip(warp(speech.aperiodicity[taken], singer.throat) + breath, 0.001, 1.0)
    natural = speech.pitch[taken]
    voiced = (plan.source != REST) & (natural > 0) & ~plan.inhaled
    curve = natural * singer.throat**2 if singer.spoken else contour(plan, singer, rng)
    pitch = np.where(voiced, curve, 0.0)
    parts = (np.ascontiguousarray(part, np.float64) for part in (pitch, envelope, aperiodicity))
    mono = load_world().synthesize(*parts, VOICE_RATE, FRAME_SECONDS * 1000)
    if singer.rough:
        cycles = np.cumsum(np.interp(np.arange(len(mono)), np.arange(len(pitch)) * VOICE_RATE * FRAME_SECONDS, pitch))
        mono = mono * (1 + singer.rough * np.sin(np.pi * cycles / VOICE_RATE))
    audio = brighten(soxr.resample(mono, VOICE_RATE, sample_rate), sample_rate, speech.bandwidth, rng)
    audio = np.pad(audio[:samples], (0, max(samples - len(audio), 0))).astype(np.float32)
    return np.repeat(audio[:, np.newaxis], 2, axis=1)
