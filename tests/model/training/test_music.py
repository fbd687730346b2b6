"""Composing, playing and finishing of training music, as far as it needs no program and no samples."""

import numpy as np
import pytest

from stembeam.model.errors import UsageError
from stembeam.model.training import effects, kits, midi, score, synths, voices
from stembeam.model.training.render_bank import HELD_OUT, main

RATE = 22050


def song(seed=0, seconds=8.0):
    return score.compose(np.random.default_rng(seed), seconds)


@pytest.mark.parametrize('seed', range(8))
def test_parts_of_a_song_stay_in_their_ranges_and_in_time(seed):
    plan = song(seed)
    rng = np.random.default_rng(seed)
    bass, melody, hits = score.bass_part(plan, rng), score.melody_part(plan, rng, 60, 74), score.drum_part(plan, rng)
    assert {note.pitch for note in melody} <= set(range(60, 75))
    assert all(24 <= note.pitch <= 62 for note in bass)
    assert all((note.pitch - plan.key) % 12 in plan.scale for note in melody)
    for events in (bass, melody, hits):
        assert all(0 <= event.start < 8.0 and 1 <= event.velocity <= 127 for event in events)
    assert {hit.role for hit in hits} <= set(kits.ROLES)


def test_the_same_seed_composes_the_same_music():
    first, second = (score.drum_part(song(3), np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert first != score.drum_part(song(3), np.random.default_rng(6))


def test_a_midi_file_holds_notes_in_order_with_offs_before_ons():
    notes = [score.Note(0.5, 0.5, 60, 100), score.Note(0.0, 0.5, 60, 90)]
    data = midi.midi_file([midi.Part(2, 33, notes)])
    assert data[:14] == b'MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0'
    assert int.from_bytes(data[18:22], 'big') == len(data) - 22
    # At half a second (480 ticks, 0x83 0x60): first the old note ends, then the new one begins.
    assert bytes([0x83, 0x60, 0x82, 60, 0, 0x00, 0x92, 60, 100]) in data


@pytest.mark.parametrize(
    ('name', 'role'),
    [
        ('Kick (Tama Superstar 22")', 'kick'),
        ('Closed HH', 'hat'),
        ('Hi Hat Opened', 'open hat'),
        ('Floor Tom', 'low tom'),
        ('Tom Mid', 'mid tom'),
        ('Ride Bell', 'ride'),
        ('Cowbell', 'ride'),
        ('Hand Clap', 'perc'),
    ],
)
def test_roles_are_read_from_the_names_of_instruments(name, role):
    assert kits.role_of(name) == role


def test_a_kit_plays_at_the_time_of_the_hit_and_uses_the_nearest_role():
    stroke = np.ones((100, 2), np.float32)
    hits = [score.Hit(0.5, 'open hat', 127)]
    audio = kits.play_kit(hits, {'hat': [[stroke]]}, 1.0, RATE, np.random.default_rng(0))
    assert audio.shape == (RATE, 2)
    assert not audio[: RATE // 2].any()
    assert np.abs(audio[RATE // 2 : RATE // 2 + 50]).min() > 0.1


def test_a_synthesised_tone_has_the_pitch_of_its_note():
    timbre = synths.draw_timbre(np.random.default_rng(2), bass=False)
    audio = synths.play_synth([score.Note(0.0, 1.0, 69, 100)], timbre, 1.0, RATE)
    spectrum = np.abs(np.fft.rfft(audio[:, 0] * np.hanning(RATE)))
    assert abs(np.argmax(spectrum) % 440 - 220) > 200  # a harmonic of 440 Hz within a bin or some
    assert np.abs(audio).max() <= 1.0


def test_normalise_sets_the_level_of_the_sounding_part():
    time = np.arange(4 * RATE) / RATE
    tone = np.repeat((0.01 * np.sin(2 * np.pi * 300 * time))[:, np.newaxis], 2, axis=1).astype(np.float32)
    tone[RATE:] = 0
    assert 20 * np.log10(effects.active_level(effects.normalise(tone, -20.0))) == pytest.approx(-20, abs=0.5)
    assert not effects.normalise(np.zeros((100, 2), np.float32), -20.0).any()


def test_finished_takes_keep_shape_and_never_clip():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2 * RATE, 2)).astype(np.float32)
    for _ in range(6):
        done = effects.finish(noise, RATE, rng, room=0.7, centred=False)
        assert done.shape == noise.shape
        assert done.dtype == np.float32
        assert np.abs(done).max() <= 0.9701


def test_pan_moves_energy_to_one_side():
    noise = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    left, right = (effects.pan(noise, -0.9, 0.5) ** 2).mean(axis=0)
    assert left > 50 * right


def test_units_of_speech_hold_a_vowel_and_the_consonant_before_it():
    pitch = np.concatenate([np.zeros(10), np.full(40, 120.0), np.zeros(8), np.full(100, 130.0), np.zeros(5)])
    units = voices.find_units(pitch)
    assert units == ((0, 10, 50), (50, 58, 108), (108, 108, 158))


def test_a_melody_is_sung_at_its_pitches():
    pytest.importorskip('pyworld')
    rate = 16000
    time = np.arange(2 * rate) / rate
    rng = np.random.default_rng(0)
    buzz = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 30)) * 0.1
    speech = voices.analyse(np.asarray(buzz), rate)
    audio = voices.sing(speech, [score.Note(0.0, 2.0, 57, 100)], 2.0, RATE, 1.0, rng)
    assert audio.shape == (2 * RATE, 2)
    spectrum = np.abs(np.fft.rfft(audio[:, 0] * np.hanning(2 * RATE)))
    assert np.argmax(spectrum[: 2 * 300]) / 2 == pytest.approx(220, rel=0.03)


def test_missing_programs_and_soundfonts_are_named_with_their_cure(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(UsageError, match=r'fluidsynth: program not found.*apt install fluidsynth'):
        midi.require_program('fluidsynth', 'fluidsynth')
    with pytest.raises(UsageError, match=r'nowhere\.sf2: soundfont not found.*apt install'):
        midi.find_soundfont('nowhere.sf2')
    monkeypatch.setattr(kits, 'HYDROGEN_FOLDER', tmp_path)
    monkeypatch.setattr(voices, 'require_program', midi.require_program)
    status = main(['--out', str(tmp_path / 'bank'), '--hours', '0', '--held-out-hours', '0.01', '--workers', '1'])
    assert status == 2
    assert capsys.readouterr().err.count('\n') == 1


def test_held_out_sounds_are_not_trained_on(monkeypatch, tmp_path):
    from stembeam.model.training import render_bank

    for kit in ('The Black Pearl 1.0', 'Some Kit'):
        (tmp_path / kit).mkdir()
        (tmp_path / kit / 'drumkit.xml').write_text('<drumkit_info/>')
    monkeypatch.setattr(kits, 'HYDROGEN_FOLDER', tmp_path)
    sources = render_bank.training_sources()
    for field in ('soundfonts', 'kits', 'loops', 'voices'):
        assert not set(getattr(sources, field)) & set(getattr(HELD_OUT, field))
    assert sources.kits == ('Some Kit',)
