"""The optional decoder: TensorFlow I/O gives the samples that libsndfile gives, and says so where it does not.

Most of it needs tensorflow-io and runs in `make test-oldest`; what is said without it is tested everywhere.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading

import numpy as np
import pytest
import soundfile

from stembeam.model.errors import TrackError, UsageError
from stembeam.transforms import tfio_decoding
from stembeam.transforms.probing import probe
from stembeam.transforms.readers import UnreadableError
from stembeam.transforms.sources import SourceFile, open_source
from stembeam.transforms.tfio_decoding import TfioReader, check_tfio

from .audio_files import read_segment


def loads() -> bool:
    try:
        check_tfio()
    except UsageError:
        return False
    return True


needs_tfio = pytest.mark.skipif(not loads(), reason='tensorflow-io is not installed: make test-oldest has it')

# name, subtype, sample rate, channels, allowed difference from libsndfile's samples
KINDS = [
    ('wav', 'PCM_16', 44100, 2, 0),
    ('wav', 'PCM_24', 48000, 1, 0),
    ('wav', 'FLOAT', 44100, 2, 0),
    ('wav', 'PCM_U8', 8000, 2, 0),
    ('wav', 'PCM_16', 44100, 6, 0),
    ('flac', 'PCM_16', 44100, 2, 0),
    ('flac', 'PCM_24', 96000, 2, 0),
    ('flac', 'PCM_S8', 8000, 1, 0),
    ('ogg', 'VORBIS', 44100, 2, 1e-5),
    ('ogg', 'VORBIS', 8000, 1, 1e-5),
    ('mp3', 'MPEG_LAYER_III', 44100, 2, 1e-5),
    ('mp3', 'MPEG_LAYER_III', 22050, 1, 1e-5),
]


def tones(num_samples: int, channels: int, seed: int = 0) -> np.ndarray:
    """Sliding tones and some noise, different in every channel."""
    time = np.arange(num_samples)[:, None] / 8000
    rng = np.random.default_rng(seed)
    pitches = 200 + 70 * np.arange(channels)
    return (
        0.4 * np.sin(pitches * time * (1 + 0.1 * time)) + 0.05 * rng.standard_normal((num_samples, channels))
    ).astype(np.float32)


def write(path, samples, sample_rate, subtype):
    with soundfile.SoundFile(path, 'w', sample_rate, samples.shape[1], subtype) as file:
        for start in range(0, len(samples), 10000):
            file.write(samples[start : start + 10000])
    return str(path)


def read_all(path):
    with contextlib.closing(TfioReader(path, path)) as reader:
        return reader.read(10**9)


@needs_tfio
@pytest.mark.parametrize(('extension', 'subtype', 'sample_rate', 'channels', 'tolerance'), KINDS)
def test_samples_are_those_of_libsndfile(tmp_path, extension, subtype, sample_rate, channels, tolerance):
    path = write(tmp_path / f'a b é\n.{extension}', tones(150_002, channels), sample_rate, subtype)
    expected, _ = soundfile.read(path, dtype='float32', always_2d=True)
    with contextlib.closing(TfioReader(path, path)) as reader:
        assert (reader.sample_rate, reader.channels) == (sample_rate, channels)
        assert (reader.container, reader.codec) == (extension, subtype)
        assert reader.header_samples == len(expected)
        parts = [reader.read(count) for count in (1, 99_999, 10**6, 10)]
    assert [part.dtype for part in parts] == [np.float32] * 4
    samples = np.concatenate(parts)
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, expected, atol=tolerance, rtol=0)
    assert not reader.cut_short


@needs_tfio
@pytest.mark.parametrize(('extension', 'subtype'), [('flac', 'PCM_16'), ('mp3', 'MPEG_LAYER_III')])
def test_it_decodes_tracks_when_it_is_asked_for(tmp_path, extension, subtype):
    path = write(tmp_path / f'song.{extension}', tones(600_000, 2), 32000, subtype)
    info = probe(path, decoder='tfio')
    assert info.decoder == 'tfio'
    expected = read_segment(path, probe(path), 44100, start=500_000, stop=700_000)
    np.testing.assert_allclose(read_segment(path, info, 44100, start=500_000, stop=700_000), expected, atol=1e-5)
    with pytest.raises(TrackError, match='decoder tfio cannot read it'):
        probe(write(tmp_path / 'song.aiff', tones(100, 2), 32000, 'PCM_16'), decoder='tfio')


@needs_tfio
@pytest.mark.parametrize(('extension', 'subtype'), [('wav', 'PCM_16'), ('flac', 'PCM_16')])
def test_seeking_is_exact(tmp_path, extension, subtype):
    path = write(tmp_path / f'song.{extension}', tones(200_000, 2), 44100, subtype)
    whole = read_all(path)
    with contextlib.closing(TfioReader(path, path)) as reader:
        assert reader.exact_seek
        for position in (150_000, 3, 65_536, 199_999):
            reader.seek(position)
            np.testing.assert_array_equal(reader.read(5000), whole[position : position + 5000])


@needs_tfio
def test_lossy_files_are_read_from_front_to_back(tmp_path):
    path = write(tmp_path / 'song.ogg', tones(10_000, 1), 44100, 'VORBIS')
    with contextlib.closing(TfioReader(path, path)) as reader:
        assert not reader.exact_seek
        assert reader.skip(4000) == 4000
        np.testing.assert_array_equal(reader.read(100), read_all(path)[4000:4100])


@needs_tfio
def test_files_that_are_open_at_the_same_time_do_not_mix(tmp_path):
    paths = [write(tmp_path / f'{i}.wav', np.full((100_000 + i, 1), i / 10), 44100, 'FLOAT') for i in range(6)]
    readers = [TfioReader(path, path) for path in paths]
    for i, reader in enumerate(readers):
        assert reader.header_samples == 100_000 + i
        np.testing.assert_array_equal(reader.read(10**6), np.full((100_000 + i, 1), np.float32(i / 10)))
        reader.close()

    wrong = []

    def work(thread: int) -> None:
        for turn in range(30):
            i = (thread + turn) % 6
            samples = read_all(paths[i])
            if len(samples) != 100_000 + i or not (samples == np.float32(i / 10)).all():
                wrong.append((thread, turn))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@needs_tfio
def test_remote_files_are_copied(tmp_path):
    path = write(tmp_path / 'song.flac', tones(20_000, 2), 44100, 'PCM_16')
    with open_source(path) as source:
        assert isinstance(source, SourceFile)
        reader = TfioReader(source, 'memory://song.flac')
    with contextlib.closing(reader):
        np.testing.assert_array_equal(reader.read(10**6), read_all(path))


@needs_tfio
@pytest.mark.parametrize(('extension', 'subtype'), [('wav', 'PCM_16'), ('flac', 'PCM_16')])
def test_of_a_file_that_was_cut_off_everything_is_read_that_is_there(tmp_path, extension, subtype):
    path = tmp_path / f'song.{extension}'
    write(path, tones(200_000, 2), 44100, subtype)
    whole = read_all(str(path))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with contextlib.closing(TfioReader(str(path), str(path))) as reader:
        samples = reader.read(10**6)
    assert reader.cut_short
    assert 115_000 < len(samples) < 135_000
    np.testing.assert_array_equal(samples, whole[: len(samples)])


@needs_tfio
@pytest.mark.parametrize(
    ('name', 'content'),
    [('empty.wav', b''), ('text.mp3', b'all work and no play\n' * 200), ('head.flac', b'fLaC\x00\x00\x00\x22')],
)
def test_what_it_does_not_know_is_unreadable(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableError):
        TfioReader(str(path), str(path))


@needs_tfio
@pytest.mark.parametrize(('extension', 'subtype'), [('wav', 'PCM_32'), ('wav', 'DOUBLE'), ('aiff', 'PCM_16')])
def test_what_it_would_read_wrongly_is_unreadable(tmp_path, extension, subtype):
    path = write(tmp_path / f'song.{extension}', tones(1000, 1), 44100, subtype)
    with pytest.raises(UnreadableError):
        TfioReader(path, path)


@needs_tfio
def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        TfioReader(str(tmp_path / 'nothing.wav'), 'nothing.wav')


@needs_tfio
@pytest.mark.parametrize(('extension', 'subtype'), [('flac', 'PCM_16'), ('ogg', 'VORBIS')])
def test_reading_ends_at_damage(tmp_path, extension, subtype):
    path = tmp_path / f'song.{extension}'
    write(path, tones(400_000, 2), 44100, subtype)
    whole = read_all(str(path))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(content)
    with contextlib.closing(TfioReader(str(path), str(path))) as reader:
        samples = reader.read(10**6)
    assert reader.cut_short
    assert 150_000 < len(samples) < 250_000
    np.testing.assert_array_equal(samples, whole[: len(samples)])


def test_without_tensorflow_io_the_cure_is_named(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *a: None if name == 'tensorflow_io' else found(name, *a)
    )
    with pytest.raises(UsageError) as caught:
        check_tfio()
    message = str(caught.value)
    assert 'tensorflow-io is not installed' in message
    assert "pip install 'stembeam[tfio]'" in message
    assert '2.17' in message
    assert '\n' not in message


def test_under_a_later_tensorflow_the_cure_is_named(monkeypatch, tmp_path):
    """tensorflow-io installs beside any TensorFlow, and fails when its library is looked up."""
    package = tmp_path / 'tensorflow_io' / 'python' / 'ops'
    package.mkdir(parents=True)
    for folder in (package, *package.parents[:2]):
        (folder / '__init__.py').touch()
    broken = "def __getattr__(name):\n    raise NotImplementedError('unable to open file')\n"
    (package / 'core_ops.py').write_text(broken)
    installed = [name for name in sys.modules if name.split('.')[0] == 'tensorflow_io']
    for name in installed:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    tfio_decoding._operations.cache_clear()
    try:
        with pytest.raises(UsageError, match=r'does not load under TensorFlow 2\.\d+.*pip install'):
            check_tfio()
    finally:
        for name in [name for name in sys.modules if name.split('.')[0] == 'tensorflow_io']:
            del sys.modules[name]
