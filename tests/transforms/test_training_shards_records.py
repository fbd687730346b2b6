"""Records of training shards: the bytes that TensorFlow expects, and samples within half a step of 16 bits."""

from __future__ import annotations

import numpy as np
import pytest

from stembeam.transforms.training_shards.records import chunk_example, crc32c, framed, quantise

from .shard_files import parse, read_shard


def test_checksums_of_the_standard():
    # RFC 3720, appendix B.4, and the check value of the catalogue of CRC algorithms.
    assert crc32c(b'123456789') == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b'\xff' * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b'') == 0


@pytest.mark.parametrize('length', [1, 63, 64, 65, 4096, 5000, 262_143, 262_144, 700_001])
def test_checksums_of_any_length_equal_those_byte_by_byte(length):
    data = np.random.default_rng(length).bytes(length)
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(data) == crc ^ 0xFFFFFFFF


@pytest.mark.parametrize('level', [3.0, 1.0, 0.25, 1e-3, 1e-9])
def test_samples_come_back_within_half_a_step_of_their_own_peak(level):
    samples = (level * np.random.default_rng(1).uniform(-1, 1, (1000, 2))).astype(np.float32)
    numbers, gain = quantise(samples)
    assert numbers.dtype == np.dtype('<i2')
    assert gain == np.abs(samples).max()
    assert np.abs(numbers / 32767 * gain - samples).max() <= 0.51 * gain / 32767


def test_silence_has_no_gain():
    for samples in (np.zeros((5, 2), np.float32), np.full((5, 2), 1e-40, np.float32)):
        numbers, gain = quantise(samples)
        assert gain == 0
        assert not numbers.any()


def test_tensorflow_reads_what_is_written(tmp_path):
    rng = np.random.default_rng(2)
    stems = {name: rng.uniform(-1, 1, (40_000, 2)).astype(np.float32) for name in ('vocals', 'bass')}
    examples = [chunk_example('a/Ä song', start, stems) for start in (0, 127, 128, 2**40)]
    path = tmp_path / 'shard'
    path.write_bytes(b''.join(piece for example in examples for piece in framed(example)))
    chunks = read_shard(path)
    assert [(chunk.track, chunk.start) for chunk in chunks] == [('a/Ä song', start) for start in (0, 127, 128, 2**40)]
    for name, samples in stems.items():
        np.testing.assert_allclose(chunks[3].stems[name], samples, atol=0.51 / 32767)


def test_an_example_is_what_tensorflow_itself_would_write():
    import tensorflow as tf

    stems = {'drums': np.linspace(-0.5, 0.5, 600, dtype=np.float32).reshape(300, 2)}
    example = tf.train.Example.FromString(chunk_example('x', 5, stems))
    assert sorted(example.features.feature) == ['audio/drums', 'channels', 'gain/drums', 'samples', 'start', 'track']
    assert example.SerializeToString(deterministic=True) == chunk_example('x', 5, stems)
    assert parse(chunk_example('x', 5, stems)).gains == {'drums': 0.5}
