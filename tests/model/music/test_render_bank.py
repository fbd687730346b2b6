"""The generated data set on disk: its layout, sums, idempotence and what its splits may share."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from stembeam.model.errors import UsageError
from stembeam.model.music import kits, render_bank, sounds, stems
from stembeam.model.music.render_bank import STEMS, BankPlan, generate_bank, mix, write_song
from stembeam.pipeline.cli import main

PLAN = BankPlan(train_songs=2, test_songs=1, seconds=2.0, seed=7)


def loud_noise(song, sources, rng):
    return stems.Take(rng.standard_normal((round(song.seconds * stems.SAMPLE_RATE), 2)).astype(np.float32), ['noise'])


@pytest.fixture
def noisy(monkeypatch):
    """Stems of noise, which need no programs and are so loud that the limiter has work."""
    monkeypatch.setattr(render_bank, 'RENDERERS', dict.fromkeys(STEMS, loud_noise))
    monkeypatch.setattr(render_bank, 'training_sources', lambda: sounds.HELD_OUT)


def read(folder):
    return {path.stem: soundfile.read(path, dtype='int16')[0] for path in folder.glob('*.wav')}


def test_a_song_has_four_stems_that_add_up_to_the_mixture_exactly(noisy, tmp_path):
    assert write_song(tmp_path, 'train', 3, PLAN)
    folder = tmp_path / 'train' / 'song-00003'
    audio = read(folder)
    assert set(audio) == {'mixture', *STEMS}
    assert all(wave.shape == (88200, 2) for wave in audio.values())
    np.testing.assert_array_equal(sum(audio[stem].astype(int) for stem in STEMS), audio['mixture'])
    about = json.loads((folder / 'song.json').read_text())
    assert about['stems']['drums']['sounds'] == ['noise']
    assert not list(tmp_path.glob('train/.*'))


def test_a_song_depends_on_seed_split_and_number_alone_and_is_kept(noisy, tmp_path):
    for bank in ('a', 'b'):
        assert write_song(tmp_path / bank, 'train', 0, PLAN)
    first, second = (read(tmp_path / bank / 'train' / 'song-00000')['mixture'] for bank in 'ab')
    np.testing.assert_array_equal(first, second)
    assert not write_song(tmp_path / 'a', 'train', 0, PLAN)
    write_song(tmp_path / 'a', 'test', 0, PLAN)
    assert not np.array_equal(first, read(tmp_path / 'a' / 'test' / 'song-00000')['mixture'])


def test_what_a_killed_run_left_half_written_is_swept_away(noisy, tmp_path):
    half = tmp_path / 'train' / '.song-00000.1'
    half.mkdir(parents=True)
    (half / 'mixture.wav').write_bytes(b'half')
    write_song(tmp_path, 'train', 0, PLAN)
    assert [path.name for path in (tmp_path / 'train').iterdir()] == ['song-00000']


def test_test_songs_have_all_stems_and_some_train_songs_lack_one(noisy, monkeypatch):
    monkeypatch.setattr(render_bank, 'ABSENT', dict.fromkeys(STEMS, 0.4))
    monkeypatch.setattr(render_bank, 'PAUSES', 0.0)
    silent = {'train': 0, 'test': 0}
    short = BankPlan(seconds=0.2)
    for split in silent:
        for number in range(12):
            audio, _ = render_bank.render_song(split, number, short)
            missing = sum(not stem.any() for stem in audio.values())
            assert missing <= 2
            silent[split] += missing
    assert silent['train'] > 3
    assert silent['test'] == 0


def test_mixing_keeps_the_sum_and_the_balance_even_where_stems_cancel():
    rng = np.random.default_rng(0)
    wave = rng.standard_normal((44100, 2)).astype(np.float32)
    first, second, third = mix(np.stack([3 * wave, -2.9 * wave, 0.1 * wave]), rng).astype(np.float64)
    assert np.abs(first).max() <= 0.98 * 32767 + 1
    np.testing.assert_allclose(second, first * -2.9 / 3, atol=1.0)
    np.testing.assert_allclose(third, first * 0.1 / 3, atol=1.0)


def test_test_songs_share_no_sound_with_train_songs(monkeypatch, tmp_path):
    for kit in ('The Black Pearl 1.0', 'Some Kit'):
        (tmp_path / kit).mkdir()
        (tmp_path / kit / 'drumkit.xml').write_text('<drumkit_info/>')
    monkeypatch.setattr(kits, 'HYDROGEN_FOLDER', tmp_path)
    sources = sounds.training_sources.__wrapped__()
    for field in ('soundfonts', 'kits', 'loops', 'voices', 'textures'):
        assert getattr(sources, field)
        assert not set(getattr(sources, field)) & set(getattr(sounds.HELD_OUT, field))
    assert sources.kits == ('Some Kit',)
    variants = {voice.name.split('+')[1] for voice in sources.voices if '+' in voice.name}
    assert not variants & {'f4', 'm5'}
    assert not sounds.HELD_OUT.computed


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"recipe": 0, "seed": 1, "seconds_per_song": 30.0}', r'made with recipe 0, seed 1, 30 seconds per song'),
        ('[]', r'not the description of a generated data set'),
    ],
)
def test_a_bank_of_another_plan_is_left_alone(monkeypatch, tmp_path, text, message):
    monkeypatch.setattr(render_bank, 'require_sounds', lambda: None)
    (tmp_path / 'dataset.json').write_text(text)
    with pytest.raises(UsageError, match=message):
        generate_bank(tmp_path, PLAN, 1)


def test_a_folder_with_songs_of_somebody_else_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(render_bank, 'require_sounds', lambda: None)
    (tmp_path / 'train').mkdir()
    with pytest.raises(UsageError, match=r'has songs but no dataset.json'):
        generate_bank(tmp_path, PLAN, 1)


def test_missing_packages_stop_the_command_with_one_line_that_names_them(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sounds.voices, 'load_world', lambda: None)
    monkeypatch.setenv('PATH', str(tmp_path))
    assert main(['generate', str(tmp_path / 'bank')]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert 'apt install espeak-ng festival flite fluidsynth' in error
    assert not (tmp_path / 'bank').exists()


@pytest.mark.slow
def test_any_number_of_workers_renders_the_same_bank_and_goes_on_with_it(tmp_path):
    try:
        sounds.require_sounds()
    except UsageError as missing:
        pytest.skip(str(missing))
    lines: list[str] = []
    assert generate_bank(tmp_path / 'a', PLAN, 2, lines.append) == 3
    assert lines[-1].startswith('3 of 3 songs')
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    shutil.rmtree(tmp_path / 'b' / 'train' / 'song-00001')
    assert generate_bank(tmp_path / 'b', PLAN, 1) == 1
    for split, number in PLAN.jobs():
        first, second = (read(tmp_path / bank / split / f'song-{number:05d}') for bank in 'ab')
        for name, wave in first.items():
            np.testing.assert_array_equal(wave, second[name])
            assert name != 'mixture' or np.abs(wave).max() > 300
    about = json.loads((tmp_path / 'b' / 'dataset.json').read_text())
    assert about['songs'] == {'train': 2, 'test': 1}
    assert about['packages']['fluidsynth'] != ''
