"""Stem files: what is read back, whatever the format, the length and the way the samples arrived."""

import errno
import os

import av
import numpy as np
import pytest
import soundfile

from stembeam.model.errors import UsageError
from stembeam.transforms.encoding import (
    FORMATS,
    StemWriter,
    check_format,
    clipped,
    dequantise,
    output_rate,
    quantise,
)
from stembeam.transforms.formats import allowed_bitrates
from stembeam.transforms.riff import bytes_per_sample, wav_header

LOSSLESS = [name for name, stem_format in FORMATS.items() if stem_format.lossless]
LOSSY = [name for name, stem_format in FORMATS.items() if not stem_format.lossless]


def rate_of(name):
    return output_rate(name, 44100, None)


def tones(num_samples, channels, rate):
    time = np.arange(num_samples)[:, None] / rate
    pitches = np.array([[440.0, 550.0]])[:, :channels]
    wave = 0.3 * np.sin(2 * np.pi * pitches * time + 0.5) + 0.1 * np.cos(2 * np.pi * 3.7 * pitches * time)
    return wave.astype(np.float32)


def write(path, name, samples, rate=None, block=None, bitrate=None):
    stem_format = FORMATS[name]
    numbers = quantise(samples, stem_format)
    with StemWriter(str(path), stem_format, rate or rate_of(name), samples.shape[1], bitrate) as writer:
        for start in range(0, len(numbers), block or len(numbers)):
            writer.write(numbers[start : start + (block or len(numbers))])
    return path


def decode_with_av(path):
    """(samples, channels) as FFmpeg decodes them, and the length that the container promises."""
    with av.open(str(path)) as source:
        stream = source.streams.audio[0]
        blocks = []
        for frame in source.decode(stream):
            values = frame.to_ndarray()
            blocks.append(values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels))
        assert stream.duration is not None
        assert stream.time_base is not None
        return np.concatenate(blocks), int(stream.duration * stream.time_base * stream.sample_rate)


def read(path, name):
    if name == 'm4a':
        samples, promised = decode_with_av(path)
        assert promised <= len(samples) < promised + 1024
        return samples[:promised], rate_of(name)
    if name == 'wma':
        return decode_with_av(path)[0], rate_of(name)
    return soundfile.read(path, dtype='float32', always_2d=True)


def signal_to_noise(expected, samples):
    return 10 * np.log10(np.sum(expected**2) / np.sum((expected - samples) ** 2))


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('num_samples', [1, 1000, 3 * 44100])
@pytest.mark.parametrize('name', LOSSLESS)
def test_lossless_files_give_back_every_sample(tmp_path, name, num_samples, channels):
    samples = tones(num_samples, channels, 44100)
    samples[0] = 1.5  # beyond full scale
    path = write(tmp_path / 'stem.tmp', name, samples)
    found, rate = soundfile.read(path, dtype='float32', always_2d=True)
    assert rate == 44100
    np.testing.assert_array_equal(found, dequantise(quantise(samples, FORMATS[name]), FORMATS[name]))
    by_ffmpeg, _ = decode_with_av(path)
    np.testing.assert_array_equal(
        by_ffmpeg if by_ffmpeg.dtype == np.float32 else by_ffmpeg / -float(np.iinfo(by_ffmpeg.dtype).min), found
    )
    step = {'int16': 2.0**-15, 'int32': 2.0**-23, 'float32': 0.0}[FORMATS[name].dtype]
    np.testing.assert_allclose(found[1:], samples[1:], rtol=0, atol=step / 2)


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('num_samples', [1, 1000, 1025, 3 * 44100 + 777])
@pytest.mark.parametrize('name', LOSSY)
def test_lossy_files_have_the_length_and_the_place_of_the_samples(tmp_path, name, num_samples, channels):
    samples = tones(num_samples, channels, rate_of(name))
    path = write(tmp_path / 'stem.tmp', name, samples)
    found, rate = read(path, name)
    assert rate == rate_of(name)
    if name == 'wma':
        assert num_samples <= len(found) < num_samples + 2 * 2048  # whole frames
        found = found[:num_samples]
    assert found.shape == samples.shape
    if num_samples >= 1000:
        assert signal_to_noise(samples, found) > (15 if num_samples == 1000 else 20)
    if name in ('mp3', 'opus') or (name == 'ogg' and num_samples > 44100):
        assert decode_with_av(path)[0].shape == samples.shape


@pytest.mark.parametrize('name', FORMATS)
def test_bytes_depend_on_the_samples_alone(tmp_path, name):
    samples = tones(50_000, 2, rate_of(name))
    whole = write(tmp_path / 'whole', name, samples).read_bytes()
    for block in (1021, 16384, 20_000):
        assert write(tmp_path / 'blocks', name, samples, block=block).read_bytes() == whole
    assert write(tmp_path / 'strided', name, np.asfortranarray(samples)).read_bytes() == whole


@pytest.mark.parametrize('rate', [8000, 12000, 16000, 24000])
def test_opus_at_its_lower_rates(tmp_path, rate):
    samples = tones(rate + 7, 1, rate)
    found, found_rate = soundfile.read(write(tmp_path / 'x', 'opus', samples, rate), dtype='float32', always_2d=True)
    assert found_rate == rate
    assert signal_to_noise(samples, found) > 15


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('name', LOSSY)
def test_what_check_format_allows_can_be_written(tmp_path, name, channels):
    some_vorbis_rates = [8000, 11025, 44100, 50_001, 96000, 200_000]
    for rate in some_vorbis_rates if name == 'ogg' else FORMATS[name].sample_rates or []:
        samples = tones(2000, channels, rate)
        allowed = allowed_bitrates(FORMATS[name], rate, channels)
        for bitrate in allowed if name == 'mp3' else (allowed[0], allowed[-1]):
            path = write(tmp_path / f'{rate}-{bitrate}', name, samples, rate, bitrate=bitrate)
            if name == 'm4a':
                assert decode_with_av(path)[1] == 2000
            elif name == 'wma':
                assert 2000 <= len(decode_with_av(path)[0]) < 2000 + 2 * 2048
            else:
                assert soundfile.info(path).frames == 2000
            if name == 'mp3':
                with av.open(str(path), format='mp3') as source:
                    assert source.streams.audio[0].bit_rate == bitrate


@pytest.mark.parametrize('name', LOSSY)
def test_a_higher_bitrate_makes_a_larger_file(tmp_path, name):
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, (2 * 48000, 2)).astype(np.float32)
    low = write(tmp_path / 'low', name, samples, 48000, bitrate=96_000).stat().st_size
    high = write(tmp_path / 'high', name, samples, 48000, bitrate=192_000).stat().st_size
    assert 1.5 < high / low < 2.5


def test_flac_at_the_rates_of_studios(tmp_path):
    samples = tones(1000, 2, 192_000)
    assert soundfile.info(write(tmp_path / 'x', 'flac24', samples, 192_000)).samplerate == 192_000


@pytest.mark.parametrize('name', ['wav', 'wav24', 'wav-float'])
@pytest.mark.parametrize('num_bytes', [2**32 - 1000, 2**32 + 1000])
def test_wav_beyond_four_gigabytes(tmp_path, name, num_bytes):
    stem_format = FORMATS[name]
    num_samples = num_bytes // (2 * bytes_per_sample(stem_format))
    header = wav_header(stem_format, 44100, 2, num_samples)
    assert header[:4] == (b'RF64' if num_bytes > 2**32 else b'RIFF')
    path = tmp_path / 'long.wav'
    with open(path, 'wb') as file:  # the samples between are a hole in the file
        file.write(header)
        file.seek(num_samples * 2 * bytes_per_sample(stem_format) - 1, os.SEEK_CUR)
        file.write(b'\x40')
    info = soundfile.info(path)
    assert (info.frames, info.samplerate, info.channels) == (num_samples, 44100, 2)
    last, _ = soundfile.read(path, start=num_samples - 2, dtype='float32')
    assert last.tolist() == [[0.0, 0.0], [0.0, 2.0 if name == 'wav-float' else 0.5]]


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs the device that is always full')
@pytest.mark.parametrize('name', FORMATS)
def test_a_full_disk_is_an_os_error(name):
    samples = quantise(tones(100_000, 2, rate_of(name)), FORMATS[name])
    with (
        pytest.raises(OSError) as caught,
        StemWriter('/dev/full', FORMATS[name], rate_of(name), 2) as writer,
    ):
        writer.write(samples)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, '/dev/full')


@pytest.mark.parametrize('name', FORMATS)
def test_a_folder_that_is_not_there(tmp_path, name):
    with pytest.raises(FileNotFoundError):
        StemWriter(str(tmp_path / 'nowhere' / 'stem'), FORMATS[name], rate_of(name), 2)


@pytest.mark.parametrize('num_samples', [0, 100, 100_000])
@pytest.mark.parametrize('name', FORMATS)
def test_after_an_exception_there_is_no_stem(tmp_path, name, num_samples):
    path = tmp_path / 'stem.tmp'
    samples = quantise(tones(num_samples, 2, rate_of(name)), FORMATS[name])
    writer = StemWriter(str(path), FORMATS[name], rate_of(name), 2)

    def write_and_fail():
        with writer:
            writer.write(samples)
            raise RuntimeError('the separator stopped')

    with pytest.raises(RuntimeError, match='the separator stopped'):
        write_and_fail()
    assert path.stat().st_size == 0
    with pytest.raises(ValueError, match='is closed'):
        writer.write(samples)


@pytest.mark.parametrize('name', FORMATS)
def test_a_stem_without_samples_is_refused(tmp_path, name):
    writer = StemWriter(str(tmp_path / 'stem.tmp'), FORMATS[name], rate_of(name), 1)
    with pytest.raises(ValueError, match='no samples'):
        writer.close()
    assert (tmp_path / 'stem.tmp').stat().st_size == 0


@pytest.mark.parametrize(
    ('name', 'block'),
    [('wav', np.zeros((5, 2), np.float32)), ('mp3', np.zeros((5, 2), np.int16)), ('flac', np.zeros((5, 1), np.int16))],
)
def test_blocks_that_do_not_fit(tmp_path, name, block):
    with (
        pytest.raises(ValueError, match=f'a block of {name} must be'),
        StemWriter(str(tmp_path / 'stem.tmp'), FORMATS[name], 44100, 2) as writer,
    ):
        writer.write(block)


def test_quantise_rounds_and_clips():
    samples = np.array([[0.5, -0.5], [1.0, -1.0], [3.0, -3.0], [0.6 / 32768, -0.6 / 32768]], np.float32)
    expected = [[16384, -16384], [32767, -32768], [32767, -32768], [1, -1]]
    np.testing.assert_array_equal(quantise(samples, FORMATS['flac']), np.array(expected, np.int16))
    in_24_bits = [[2**22, -(2**22)], [2**23 - 1, -(2**23)], [2**23 - 1, -(2**23)], [154, -154]]
    np.testing.assert_array_equal(quantise(samples, FORMATS['wav24']), np.array(in_24_bits, np.int32) * 256)
    np.testing.assert_array_equal(quantise(samples, FORMATS['wav-float']), samples)
    assert clipped(samples) == 2
    assert clipped(samples[:2]) == 0


@pytest.mark.parametrize('name', ['wav', 'wav24'])
def test_what_came_out_of_a_file_goes_back_unchanged(name):
    steps = np.random.default_rng(0).integers(-(2**15), 2**15, (1000, 1))
    numbers = (steps * (1 if name == 'wav' else 2**16)).astype(FORMATS[name].dtype)
    np.testing.assert_array_equal(quantise(dequantise(numbers, FORMATS[name]), FORMATS[name]), numbers)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('aiff', None, 44100), "'aiff' is not known: use one of wav, wav24"),
        (('flac', '128k', 44100), 'lossless and has no bitrate: leave bitrate out'),
        (('mp3', '128kb', 44100), 'cannot be read: give bits per second, such as 128k'),
        (('mp3', '100k', 44100), 'use one of 64000, 80000'),
        (('mp3', 128, 44100), 'bitrate 128 does not exist'),
        (('mp3', '32k', 44100), 'does not exist for mp3'),
        (('mp3', '320k', 22050), 'does not exist for mp3'),
        (('opus', '400k', 48000, 1), 'use 6000 to 256000'),
        (('ogg', '600k', 44100), 'does not exist for ogg'),
        (('m4a', '512k', 8000), 'does not exist for m4a'),
        (('wma', '320k', 44100), 'use 32000 to 192000'),
        (('wma', None, 96000), 'cannot hold a sample rate of 96000 Hz: use one of 8000'),
        (('mp3', None, 96000), 'cannot hold a sample rate of 96000 Hz: use one of 8000'),
        (('opus', None, 44100), 'cannot hold a sample rate of 44100 Hz'),
        (('ogg', None, 384_000), 'use 8000 to 200000'),
        (('flac', None, 700_000), 'use 1 to 655350'),
        (('m4a', None, 192_000), 'cannot hold a sample rate'),
        (('wav', None, 0), 'cannot hold a sample rate of 0 Hz: use a positive rate'),
        (('wav', None, 44100, 6), 'stems of 6 channels'),
    ],
)
def test_what_a_codec_refuses_is_found_before(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        check_format(*arguments)
    assert '\n' not in str(caught.value)


def test_the_bitrate_that_files_get():
    assert check_format('wav', None, 44100) is None
    assert check_format('mp3', '128k', 44100) == check_format('mp3', '128000', 44100) == 128_000
    assert check_format('mp3', None, 44100) == 192_000
    assert check_format('mp3', None, 44100, channels=1) == 96_000
    assert check_format('mp3', None, 22050) == 160_000
    assert check_format('m4a', None, 8000) == 96_000
    assert check_format('opus', 64_000, 48000) == 64_000


def test_the_rate_that_files_get():
    assert output_rate('flac', 44100, None) == 44100
    assert output_rate('flac', 44100, 22050) == 22050
    assert output_rate('opus', 44100, None) == 48000
    assert output_rate('mp3', 96000, None) == 48000
    with pytest.raises(UsageError):
        output_rate('midi', 44100, None)
