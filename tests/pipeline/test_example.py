import numpy as np
import pytest
import soundfile

from stembeam.pipeline.cli import main
from stembeam.pipeline.example import make_song, write_example


def band_share(audio, sample_rate, low, high):
    """Share of the energy between two frequencies."""
    power = np.abs(np.fft.rfft(audio.mean(axis=1))) ** 2
    frequencies = np.fft.rfftfreq(len(audio), 1 / sample_rate)
    return power[(frequencies >= low) & (frequencies < high)].sum() / power.sum()


def test_the_example_is_three_songs_of_the_promised_shapes(tmp_path):
    paths = write_example(tmp_path / 'new' / 'folder')
    infos = [soundfile.info(path) for path in paths]
    assert [(info.samplerate, info.channels, info.frames, info.format) for info in infos] == [
        (44100, 2, 20 * 44100, 'FLAC'),
        (48000, 2, 15 * 48000, 'FLAC'),
        (22050, 1, 25 * 22050, 'WAV'),
    ]
    for path in paths:
        audio, _ = soundfile.read(path)
        assert np.abs(audio).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)


def test_stems_have_the_promised_shape_and_their_sum_the_promised_peak():
    stems = make_song(3, 16000, seed=4)
    assert list(stems) == ['vocals', 'drums', 'bass', 'other']
    assert {(stem.shape, stem.dtype) for stem in stems.values()} == {((48000, 2), np.dtype(np.float32))}
    assert np.abs(sum(stems.values())).max() == pytest.approx(10 ** (-1 / 20), rel=1e-5)


def test_the_seed_alone_decides():
    first, again, other = (make_song(2, 8000, seed) for seed in (1, 1, 2))
    for name, stem in first.items():
        np.testing.assert_array_equal(stem, again[name])
        assert not np.allclose(stem, other[name], atol=0.01)


def test_stems_sound_different():
    stems = make_song(8, 44100, seed=1)
    assert band_share(stems['bass'], 44100, 30, 500) > 0.95
    assert band_share(stems['drums'], 44100, 5000, 22050) > 0.02
    assert band_share(stems['drums'], 44100, 30, 120) > 0.5
    assert band_share(stems['vocals'], 44100, 120, 4000) > 0.95
    assert band_share(stems['vocals'], 44100, 700, 4000) > 0.05
    for name, stem in stems.items():
        for other in stems.keys() - {name}:
            assert abs(np.corrcoef(stem.ravel(), stems[other].ravel())[0, 1]) < 0.2


def test_the_same_song_at_another_rate():
    low, high = (make_song(4, sample_rate, seed=3)['bass'][:, 0] for sample_rate in (11025, 44100))
    assert np.corrcoef(low, high[::4])[0, 1] > 0.98


@pytest.mark.parametrize(('seconds', 'sample_rate', 'samples'), [(0, 44100, 1), (0.001, 8000, 8), (0.5, 192000, 96000)])
def test_any_length_and_rate(seconds, sample_rate, samples):
    for stem in make_song(seconds, sample_rate, seed=1).values():
        assert stem.shape == (samples, 2)
        assert np.isfinite(stem).all()


def test_the_command_prints_the_paths(tmp_path, capsys):
    assert main(['example', str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / name) for name in ('first-light.flac', 'night-train.flac', 'old-radio.wav')
    ]
    assert main(['example']) == 2
