"""Kits, synthesised tones and strings, and the effects that make them sound recorded."""

import numpy as np
import pytest

from stembeam.model.music import chains, effects, kits, plucked, rooms, score, synths

RATE = 22050


def noise(seconds=2.0, seed=1):
    return np.random.default_rng(seed).standard_normal((round(seconds * RATE), 2)).astype(np.float32)


def tone(frequency, seconds=2.0):
    wave = np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(wave[:, np.newaxis], 2, axis=1).astype(np.float32)


def level_db(audio):
    return 10 * np.log10(np.mean(audio.astype(np.float64) ** 2))


def peak_hz(mono):
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono))))
    return np.argmax(spectrum) * RATE / len(mono)


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
    hits = [score.Hit(0.2, 'snare', 100), score.Hit(0.5, 'open hat', 127)]
    kit = {'hat': [[stroke]], 'snare': [[stroke]]}
    audio, snare = kits.play_kit(hits, kit, 1.0, RATE, np.random.default_rng(0))
    assert audio.shape == snare.shape == (RATE, 2)
    assert not audio[round(0.3 * RATE) : RATE // 2].any()
    assert np.abs(audio[RATE // 2 : RATE // 2 + 50]).min() > 0.1
    assert not snare[RATE // 2 :].any()
    np.testing.assert_array_equal(snare[: RATE // 2], audio[: RATE // 2])


@pytest.mark.parametrize('pitch', [45, 69])
def test_a_synthesised_tone_has_the_pitch_of_its_note(pitch):
    timbre = synths.draw_timbre(np.random.default_rng(2), bass=False)
    audio = synths.play_synth([score.Note(0.0, 1.0, pitch, 100)], timbre, 1.0, RATE)
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    assert peak_hz(audio[:, 0]) / frequency == pytest.approx(round(peak_hz(audio[:, 0]) / frequency), abs=0.03)
    assert np.abs(audio).max() <= 1.0


@pytest.mark.parametrize(('pitch', 'bass'), [(33, True), (57, False), (76, False)])
def test_a_plucked_string_has_the_pitch_of_its_note_and_dies_away(pitch, bass):
    rng = np.random.default_rng(0)
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    sound = plucked.pluck(frequency, 2 * RATE, plucked.draw_strings(rng, True, bass), RATE, rng)
    found = peak_hz(np.diff(sound)) / frequency  # without what is constant
    assert found == pytest.approx(round(found), rel=0.01)
    assert round(found) >= 1
    assert np.sum(sound[:RATE] ** 2) > 2 * np.sum(sound[RATE:] ** 2)


def test_strings_are_silent_before_and_after_their_notes():
    rng = np.random.default_rng(0)
    notes = [score.Note(0.5, 0.5, 52, 100)]
    audio = plucked.play_strings(notes, plucked.draw_strings(rng, False), 2.0, RATE, rng)
    assert not audio[: RATE // 2].any()
    assert np.abs(audio[round(1.3 * RATE) :]).max() < 0.01 * np.abs(audio).max()


def test_filters_cut_and_raise_what_they_say():
    low, high = tone(100), tone(5000)
    assert level_db(effects.cut(low, RATE, low=1000)) < level_db(low) - 35
    assert level_db(effects.cut(high, RATE, high=1000)) < level_db(high) - 25
    assert level_db(effects.high_shelf(high, RATE, 1000, 6.0)) == pytest.approx(level_db(high) + 6, abs=0.3)
    assert level_db(effects.peaking_filter(high, RATE, 5000, -9.0, 1.0)) == pytest.approx(level_db(high) - 9, abs=0.3)


def test_compression_makes_loud_and_quiet_parts_more_alike():
    audio = tone(300)
    audio[RATE:] *= 0.1
    squeezed = effects.compress(audio, RATE, 4.0, -12.0)
    assert level_db(squeezed[RATE // 2 : RATE]) - level_db(squeezed[-RATE // 2 :]) < 17  # of 20


def test_the_limiter_keeps_every_peak_below_its_ceiling():
    audio = noise() * np.linspace(0.1, 3, 2 * RATE, dtype=np.float32)[:, np.newaxis]
    gain = effects.limiter_gain(np.abs(audio).max(axis=1), RATE, 0.9)
    assert np.abs(audio * gain[:, np.newaxis]).max() <= 0.9 + 1e-6
    assert gain[:1000].min() == 1.0


def test_normalise_sets_the_level_of_the_sounding_part():
    audio = 0.01 * tone(300, 4.0)
    audio[RATE:] = 0
    assert 20 * np.log10(effects.active_level(effects.normalise(audio, -20.0))) == pytest.approx(-20, abs=0.5)
    assert not effects.normalise(np.zeros((100, 2), np.float32), -20.0).any()


def test_pan_moves_energy_to_one_side():
    left, right = (effects.pan(noise(), -0.9, 0.5) ** 2).mean(axis=0)
    assert left > 50 * right


def test_an_echo_comes_after_its_time_and_gets_softer():
    click = np.zeros((RATE, 2), np.float32)
    click[100:110] = 1
    wet = rooms.echo(click, RATE, 0.25, 0.5, 0.4, crossing=True) - click
    places = [slice(100 + k * RATE // 4 - 20, 100 + k * RATE // 4 + 200) for k in (1, 2)]
    first, second = (np.sum(wet[place] ** 2, axis=0) for place in places)
    assert not wet[: places[0].start].any()
    assert first[0] > 100 * first[1]
    assert second[1] > 100 * second[0]
    assert second[1] < 0.5 * first[0]


def test_a_room_rings_as_long_as_it_says_with_sides_of_their_own():
    response = rooms.room_response(RATE, np.random.default_rng(0), 1.0)
    early, late = (np.sum(response[round(t * RATE) : round((t + 0.1) * RATE)] ** 2) for t in (0.1, 0.6))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=8)  # half a second of one for 60 dB
    assert abs(np.corrcoef(response[2000:].T)[0, 1]) < 0.2


CHAINS = {
    'vocals': lambda audio, rng: chains.vocal_chain(audio, 44100, rng, 0.5),
    'drums': lambda audio, rng: chains.drum_chain(audio, 0.5 * audio, 44100, rng),
    'bass': lambda audio, rng: chains.bass_chain(audio, 44100, rng),
    'guitar': lambda audio, rng: chains.other_chain(audio, 44100, rng, 0.5, 10.0, lead=False),
    'lead': lambda audio, rng: chains.other_chain(audio, 44100, rng, 0.5, 0.0, lead=True),
}


@pytest.mark.parametrize('name', CHAINS)
def test_chains_keep_shape_set_the_level_and_differ_from_take_to_take(name):
    results = [CHAINS[name](noise(), np.random.default_rng(seed)) for seed in range(8)]
    for done in results:
        assert done.shape == (2 * RATE, 2)
        assert done.dtype == np.float32
        assert 20 * np.log10(effects.active_level(done)) == pytest.approx(-20, abs=0.1)
    assert not np.allclose(results[0], results[1], atol=0.01)
    np.testing.assert_array_equal(CHAINS[name](noise(), np.random.default_rng(0)), results[0])
