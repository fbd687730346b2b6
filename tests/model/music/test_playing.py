"""Composing: songs, grooves, accompaniments, and the MIDI files that play them."""

import itertools

import numpy as np
import pytest

from stembeam.model.errors import UsageError
from stembeam.model.music import accompaniment, grooves, kits, midi, score

SECONDS = 8.0


def song(seed=0, seconds=SECONDS):
    return score.compose(np.random.default_rng(seed), seconds, list(grooves.GROOVES))


@pytest.mark.parametrize('seed', range(8))
def test_parts_of_a_song_stay_in_their_ranges_and_in_time(seed):
    plan = song(seed)
    rng = np.random.default_rng(seed)
    bass, melody, hits = (
        grooves.bass_part(plan, rng),
        score.melody_part(plan, rng, 60, 74),
        grooves.drum_part(plan, rng),
    )
    assert {note.pitch for note in melody} <= set(range(60, 75))
    assert all(24 <= note.pitch <= 70 for note in bass)
    assert all((note.pitch - plan.key) % 12 in plan.scale for note in melody)
    for events in (bass, melody, hits):
        assert events
        assert all(0 <= event.start < SECONDS and 1 <= event.velocity <= 127 for event in events)
    assert {hit.role for hit in hits} <= set(kits.ROLES)


@pytest.mark.parametrize(
    'part',
    [
        accompaniment.strum_part,
        accompaniment.pick_part,
        accompaniment.riff_part,
        accompaniment.piano_part,
        lambda plan, rng: accompaniment.chord_part(plan, rng, 4),
    ],
)
def test_accompaniments_are_notes_of_the_song_in_its_time(part):
    for seed in range(6):
        plan = song(seed)
        notes = part(plan, np.random.default_rng(seed))
        assert notes
        assert all(0 <= note.start < SECONDS + 0.2 and note.duration > 0 and 20 <= note.pitch <= 108 for note in notes)
        assert {(note.pitch - plan.key) % 12 for note in notes} <= {*plan.scale, *((p + 7) % 12 for p in plan.scale)}


def test_a_guitar_plays_the_open_chord_of_e_major_as_guitars_do():
    plan = song()
    plan = score.dataclasses.replace(plan, key=4, scale=score.SCALES['major'], chords=(0,))
    assert accompaniment.guitar_chord(plan, 0, 0) == [40, 47, 52, 56, 59, 64]


def test_a_strum_goes_over_the_strings_one_after_the_other():
    notes = accompaniment.strum_part(song(1), np.random.default_rng(0))
    first = [note for note in notes if note.start < notes[0].start + 0.1][:4]
    assert [note.pitch for note in first] == sorted(note.pitch for note in first)
    assert all(0.001 < b.start - a.start < 0.03 for a, b in itertools.pairwise(first))


def test_the_same_seed_composes_the_same_music():
    first, second = (grooves.drum_part(song(3), np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert first != grooves.drum_part(song(3), np.random.default_rng(6))


def test_harmonies_stay_in_the_scale_and_undo_each_other():
    plan = song(2)
    melody = score.melody_part(plan, np.random.default_rng(2), 55, 70)
    thirds = score.harmonise(plan, melody, 2)
    assert {b.pitch - a.pitch for a, b in zip(melody, thirds, strict=True)} <= {3, 4}
    assert score.harmonise(plan, thirds, -2) == melody
    assert [note.pitch for note in score.harmonise(plan, melody, 7)] == [note.pitch + 12 for note in melody]


def test_a_midi_file_holds_notes_in_order_with_offs_before_ons():
    notes = [score.Note(0.5, 0.5, 60, 100), score.Note(0.0, 0.5, 60, 90)]
    data = midi.midi_file([midi.Part(2, 33, notes)])
    assert data[:14] == b'MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0'
    assert int.from_bytes(data[18:22], 'big') == len(data) - 22
    # At half a second (480 ticks, 0x83 0x60): first the old note ends, then the new one begins.
    assert bytes([0x83, 0x60, 0x82, 60, 0, 0x00, 0x92, 60, 100]) in data
    assert 0xE2 not in data  # nothing bends


def test_a_slide_begins_off_its_pitch_and_the_bend_range_is_set_for_it():
    data = midi.midi_file([midi.Part(2, 33, [score.Note(0.0, 0.5, 60, 100, slide=-6.0)])])
    assert bytes([0xB2, 6, midi.BEND_RANGE]) in data
    assert bytes([0xE2, 0x00, 0x20, 0x00, 0x92, 60, 100]) in data  # half of the way down: 4096 of 8192, before the note


def test_missing_programs_and_soundfonts_are_named_with_their_cure(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(UsageError, match=r'fluidsynth: program not found.*apt install fluidsynth'):
        midi.require_program('fluidsynth', 'fluidsynth')
    with pytest.raises(UsageError, match=r'nowhere\.sf2: soundfont not found.*apt install'):
        midi.find_soundfont('nowhere.sf2')
