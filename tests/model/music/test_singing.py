"""Speech into syllables, and syllables onto melodies."""

import dataclasses

import numpy as np
import pytest

from stembeam.model.errors import UsageError
from stembeam.model.music import score, singing, speakers, voices

RATE = 22050


def calm(**changes):
    """A singer who keeps to the notes."""
    rng = np.random.default_rng(0)
    still = {'throat': 1.0, 'glide': 0.01, 'scoop': 0.0, 'fall': 0.0, 'vibrato': 0.0, 'drift': 0.0, 'breath': 0.0}
    others = {'inhale': 0.0, 'effort': 0.0, 'ring': 0.0, 'rough': 0.0, 'slur': 0.0, 'spoken': False}
    return dataclasses.replace(singing.draw_singer(rng, False), **{**still, **others, **changes})


def syllables(*levels):
    """(pitch, loudness) of vowels of 30 frames with 10 unvoiced frames before each and 40 at the end."""
    pitch = np.concatenate([np.r_[np.zeros(10), np.full(30, 120.0)] for _ in levels] + [np.zeros(40)])
    hump = np.hanning(30) * 20
    loudness = np.concatenate([np.r_[np.full(10, -40.0), hump + level] for level in levels] + [np.full(40, -60.0)])
    return pitch, loudness


def test_units_are_syllables_around_their_vowels():
    units = voices.find_units(*syllables(0.0, -3.0, 2.0))
    assert len(units) == 3
    for i, unit in enumerate(units):
        assert unit.first < unit.vowel < unit.vowel_end <= unit.end
        assert abs((unit.vowel + unit.vowel_end) / 2 - (25 + 40 * i)) <= 1.5
    assert [a.end for a in units[:2]] == [b.first for b in units[1:]]


def test_a_hiss_is_no_syllable():
    pitch, loudness = syllables(0.0, 0.0)
    pitch[40:80] = 0
    assert len(voices.find_units(pitch, loudness)) == 1


def speech(frames=200, units=((0, 20, 30, 60), (60, 80, 90, 140))):
    shape = (frames, 65)
    pitch = np.where(np.arange(frames) % 60 >= 15, 120.0, 0.0)
    found = tuple(voices.Unit(*unit) for unit in units)
    return voices.Speech(pitch, np.ones(shape), np.full(shape, 0.01), found, 8000.0)


def test_vowels_begin_on_the_beat_with_their_consonants_before_it():
    melody = [score.Note(0.5, 0.4, 60, 92), score.Note(1.5, 0.4, 62, 92)]
    plan = singing.lay_out(melody, speech(), 500, calm(), np.random.default_rng(0))
    for note in melody:
        start = round(note.start / voices.FRAME_SECONDS)
        assert plan.source[start] in (*range(20, 30), *range(80, 90))
        assert plan.source[start - 20] in (0, 60)
        assert plan.source[start - 21] == singing.REST
        assert set(plan.pitch[start - 20 : start + 80]) == {note.pitch}
    held = plan.source[140:160]
    assert len(set(held)) > 3  # a held vowel does not freeze


def test_phrases_begin_with_a_breath():
    melody = [score.Note(1.0, 0.5, 60, 92), score.Note(2.5, 0.5, 62, 92)]
    plan = singing.lay_out(melody, speech(), 800, calm(inhale=0.5), np.random.default_rng(0))
    assert plan.inhaled[400:480].any()
    assert not plan.inhaled[200:300].any()
    assert np.isnan(plan.pitch[plan.inhaled]).all()


def test_slurred_notes_share_a_syllable():
    melody = [score.Note(0.5 + 0.2 * i, 0.2, 60 + i, 92) for i in range(4)]
    plan = singing.lay_out(melody, speech(), 400, calm(slur=1.0), np.random.default_rng(0))
    sung = set(plan.source[plan.source >= 0])
    assert max(sung) < 60 or min(sung) >= 60  # one of the two units
    assert set(plan.pitch[~np.isnan(plan.pitch)]) == {60, 61, 62, 63}


def test_pitch_follows_the_notes_with_what_the_singer_adds():
    pitch = np.r_[np.full(100, 57.0), np.full(200, 69.0)]
    plan = singing.Frames(np.zeros(300, int), pitch, np.zeros(300), np.zeros(300, bool))
    flat = singing.contour(plan, calm(), np.random.default_rng(0))
    assert flat[50] == pytest.approx(220, rel=0.02)
    assert flat[250] == pytest.approx(440, rel=0.02)
    waved = singing.contour(plan, calm(vibrato=1.0), np.random.default_rng(0))[220:300]
    assert waved.max() / waved.min() == pytest.approx(2 ** (2 / 12), rel=0.02)
    scooped = singing.contour(plan, calm(scoop=1.0), np.random.default_rng(0))
    assert scooped[101] < 0.985 * flat[101]


@pytest.mark.parametrize(('pitch', 'hertz'), [(45, 110), (57, 220)])
def test_a_melody_is_sung_at_its_pitches(pitch, hertz):
    pytest.importorskip('pyworld')
    rate = 16000
    time = np.arange(2 * rate) / rate
    rng = np.random.default_rng(0)
    buzz = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 30)) * 0.1
    buzz = np.asarray(buzz) * np.abs(np.sin(2 * np.pi * 1.5 * time))  # six syllables
    said = voices.analyse(buzz, rate)
    assert len(said.units) >= 4
    audio = singing.sing(said, [score.Note(0.0, 2.0, pitch, 100)], 2.0, RATE, calm(), rng)
    assert audio.shape == (2 * RATE, 2)
    spectrum = np.abs(np.fft.rfft(audio[:, 0] * np.hanning(2 * RATE)))
    assert np.argmax(spectrum[: 2 * 300]) / 2 == pytest.approx(hertz, rel=0.03)


def test_without_notes_or_syllables_a_voice_is_silent():
    assert not singing.sing(speech(), [], 1.0, RATE, calm(), np.random.default_rng(0)).any()
    mute = dataclasses.replace(speech(), units=())
    melody = [score.Note(0.0, 1.0, 60, 92)]
    assert singing.sing(mute, melody, 1.0, RATE, calm(), np.random.default_rng(0)).shape == (RATE, 2)


def test_a_program_that_cannot_speak_is_named_with_its_package(monkeypatch, tmp_path):
    broken = tmp_path / 'text2wave'
    broken.write_text('#!/bin/sh\necho no such voice >&2; exit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    with pytest.raises(UsageError, match=r'czech_dita failed \(no such voice\); apt install festival festvox'):
        speakers.speak(speakers.Voice('festival', 'czech_dita', True, 'cs'), 'ahoj', np.random.default_rng(0))
