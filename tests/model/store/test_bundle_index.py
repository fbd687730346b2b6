"""The reader of checkpoint indices against TensorFlow's own, and against damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stembeam.model.store.bundle_index import incomplete_variables, parse_index, read_index

from .release_host import DATA


@pytest.mark.parametrize('name', ['tiny_2stems', 'tiny_4stems_mono', 'tiny_5stems'])
def test_names_and_shapes_are_those_that_tensorflow_reads(name):
    import tensorflow as tf

    index = read_index(str(DATA / name / 'model.index'))
    reader = tf.train.load_checkpoint(str(DATA / name / 'model'))
    assert index.shapes() == {key: tuple(shape) for key, shape in reader.get_variable_to_shape_map().items()}
    data = (DATA / name / 'model.data-00000-of-00001').read_bytes()
    entry = index.entries['conv2d_1/kernel']
    values = np.frombuffer(data[entry.offset : entry.offset + entry.size], np.float32).reshape(entry.shape)
    np.testing.assert_array_equal(values, reader.get_tensor('conv2d_1/kernel'))
    assert incomplete_variables(index, str(DATA / name / 'model')) == []


def test_many_variables_in_several_blocks(tmp_path):
    import tensorflow as tf

    names = [f'layer_{number}/kernel' for number in range(3000)]
    values = [tf.constant(np.full((number % 5, 2), number, np.float32)) for number in range(3000)]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / 'model'), tensor_names=names, shape_and_slices=[''] * len(names), tensors=values
    )
    index = read_index(str(tmp_path / 'model.index'))
    assert index.shapes() == {name: (number % 5, 2) for number, name in enumerate(names)}
    assert incomplete_variables(index, str(tmp_path / 'model')) == []


def test_data_that_is_cut_is_missed(tmp_path):
    for path in (DATA / 'tiny_2stems').iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:-4] if '.data-' in path.name else content)
    index = read_index(str(tmp_path / 'model.index'))
    assert len(incomplete_variables(index, str(tmp_path / 'model'))) == 1
    (tmp_path / 'model.data-00000-of-00001').unlink()
    assert len(incomplete_variables(index, str(tmp_path / 'model'))) == len(index.entries)


def test_damage_is_a_value_error_and_never_anything_else():
    content = (DATA / 'tiny_2stems' / 'model.index').read_bytes()
    for damaged in (b'', content[:-1], content[1:], content[:1000], bytes(len(content))):
        with pytest.raises(ValueError):
            parse_index(damaged)
    rng = np.random.default_rng(0)
    whole = parse_index(content).shapes()
    changed = 0
    for _ in range(500):
        bytes_ = bytearray(content)
        bytes_[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        try:
            changed += parse_index(bytes(bytes_)).shapes() != whole
        except ValueError:
            changed += 1
    assert changed > 100


def test_a_missing_file_is_an_os_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_index(str(tmp_path / 'model.index'))
