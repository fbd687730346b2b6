"""The card's checks on recordings: levels of stems, and a picture small enough for a repository."""

import numpy as np
import pytest
import soundfile

from stembeam.model.training import card

RATE = 44100


@pytest.fixture
def recording(tmp_path, noise_seconds=2.0):
    path = tmp_path / 'take.wav'
    wave = 0.1 * np.random.default_rng(0).standard_normal((round(noise_seconds * RATE), 2))
    soundfile.write(path, wave, RATE, subtype='FLOAT')
    return path


def test_levels_are_relative_to_the_mixture():
    mixture = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    levels = card.stem_levels(mixture, {'vocals': 0.1 * mixture, 'drums': -mixture, 'bass': 0 * mixture})
    assert levels == {'vocals': -20.0, 'drums': 0.0, 'bass': -120.0}


def test_a_spectrogram_shows_a_tone_in_its_row_and_column():
    audio = np.zeros((4 * RATE, 2), np.float32)
    audio[2 * RATE :] = np.sin(2 * np.pi * 2000 * np.arange(2 * RATE) / RATE)[:, np.newaxis]
    picture = card.spectrogram_db(audio, RATE)
    assert picture.shape == (card.PICTURE_ROWS, card.PICTURE_COLUMNS)
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    assert abs(row - 2000 / card.HIGHEST_HZ * card.PICTURE_ROWS) <= 1
    assert column > 0.5 * card.PICTURE_COLUMNS
    assert picture[row, : card.PICTURE_COLUMNS // 2 - 20].max() < picture.max() - 60


def test_the_command_prints_a_table_and_draws_a_small_picture(recording, tiny_model, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    picture = tmp_path / 'pair.png'
    arguments = [str(recording), '--model', str(tiny_model), '--picture', str(picture), '--seconds', '1.5']
    assert card.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '| recording | vocals | drums | other |'
    assert lines[2].startswith('| take.wav | ')
    assert all(-60 < float(cell.split()[0]) < 10 for cell in lines[2].split('|')[2:5])
    assert picture.read_bytes()[:4] == b'\x89PNG'
    assert picture.stat().st_size < 300_000


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--picture', 'x.png', '--stem', 'oboe'], '--stem oboe: the model has vocals, drums, other'),
        (['--picture', 'x.png', '--start', '99'], 'ends before --start 99 s'),
    ],
)
def test_what_does_not_fit_is_one_line(recording, tiny_model, capsys, options, message):
    assert card.main([str(recording), '--model', str(tiny_model), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1


def test_a_file_that_is_no_recording_is_one_line(tiny_model, tmp_path, capsys):
    (tmp_path / 'notes.txt').write_text('la la la')
    assert card.main([str(tmp_path / 'notes.txt'), '--model', str(tiny_model)]) == 2
    assert 'notes.txt: cannot be read' in capsys.readouterr().err
