from __future__ import annotations

import json
from pathlib import Path

import pytest

from stembeam.model.configuration import ModelConfig, config_from_json, load_config
from stembeam.model.errors import UsageError
from stembeam.model.store import CONFIGS

SPLEETER = {
    'train_csv': 'train.csv',
    'mix_name': 'mix',
    'instrument_list': ['vocals', 'accompaniment'],
    'sample_rate': 44100,
    'frame_length': 4096,
    'frame_step': 1024,
    'T': 512,
    'F': 1024,
    'n_channels': 2,
    'separation_exponent': 2,
    'mask_extension': 'zeros',
    'learning_rate': 1e-4,
    'model': {'type': 'unet.unet', 'params': {}},
}


def test_spleeters_keys_are_read_and_its_training_keys_kept() -> None:
    config = config_from_json(SPLEETER)
    assert config.instruments == ('vocals', 'accompaniment')
    assert (config.frames, config.bins, config.frame_step) == (512, 1024, 1024)
    assert (config.conv_activation, config.deconv_activation) == ('LeakyReLU', 'ReLU')
    assert config.conv_filters == (16, 32, 64, 128, 256, 512)
    assert config.training == {'train_csv': 'train.csv', 'learning_rate': 1e-4}


def test_json_goes_there_and_back() -> None:
    config = config_from_json(SPLEETER)
    assert config_from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ('key', 'value', 'named'),
    [
        ('F', 1000, 'F is 1000'),
        ('F', 4096, 'F is 4096'),
        ('T', 500, 'T is 500'),
        ('T', '512', "T is '512'"),
        ('n_channels', 3, 'n_channels is 3'),
        ('frame_length', 4000, 'frame_length 4000'),
        ('mask_extension', 'mean', "mask_extension is 'mean'"),
        ('instrument_list', [], 'instrument_list is empty'),
        ('instrument_list', 'vocals', "instrument_list is 'vocals'"),
        ('instrument_list', ['vocals', 'vocals'], 'names a stem twice'),
        ('instrument_list', ['../vocals'], 'cannot be a file name'),
        ('model', {'type': 'blstm.blstm'}, "model.type is 'blstm.blstm'"),
        ('model', {'params': {'conv_n_filters': [1, 2, 3]}}, 'conv_n_filters is [1, 2, 3]'),
        ('model', {'params': {'conv_activation': 'tanh'}}, "conv_activation is 'tanh'"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(key: str, value: object, named: str, tmp_path: Path) -> None:
    path = tmp_path / 'model.json'
    path.write_text(json.dumps({**SPLEETER, key: value}))
    with pytest.raises(UsageError) as raised:
        load_config(path)
    assert named in str(raised.value)
    assert str(path) in str(raised.value)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(('content', 'named'), [('{', 'Expecting'), ('[]', 'JSON object'), ('{}', 'instrument_list')])
def test_a_file_that_is_no_configuration_is_named(content: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / 'model.json'
    path.write_text(content)
    with pytest.raises(UsageError, match=named):
        load_config(path)


@pytest.mark.parametrize(
    ('name', 'stems', 'bins', 'kind'),
    [
        ('2stems', 2, 1024, 'unet.unet'),
        ('2stems-16kHz', 2, 1536, 'unet.unet'),
        ('4stems', 4, 1024, 'unet.unet'),
        ('4stems-16kHz', 4, 1536, 'unet.unet'),
        ('5stems', 5, 1024, 'unet.softmax_unet'),
        ('5stems-16kHz', 5, 1536, 'unet.softmax_unet'),
    ],
)
def test_the_published_configurations_come_with_the_package(name: str, stems: int, bins: int, kind: str) -> None:
    config = load_config(f'{CONFIGS}/{name}.json')
    assert (len(config.instruments), config.bins, config.model_type) == (stems, bins, kind)


def test_defaults_are_spleeters() -> None:
    assert ModelConfig(instruments=('vocals',)).conv_filters == (16, 32, 64, 128, 256, 512)
