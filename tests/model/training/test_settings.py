"""The keys of a training configuration: Spleeter's, ours, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stembeam.model.configuration import config_from_json
from stembeam.model.training.settings import Settings, describe_keys, settings_from_config

# The values of Spleeter's own configuration for musdb18.
PUBLISHED = {
    'train_csv': 'configs/musdb_train.csv',
    'validation_csv': 'configs/musdb_validation.csv',
    'n_chunks_per_song': 40,
    'learning_rate': 1e-4,
    'batch_size': 4,
    'training_cache': 'cache/training',
    'validation_cache': 'cache/validation',
    'train_max_steps': 200000,
    'throttle_secs': 1800,
    'random_seed': 3,
    'save_checkpoints_steps': 1000,
    'save_summary_steps': 5,
}


def read(**keys: Any) -> Settings:
    document = {'instrument_list': ['vocals', 'other'], 'model_dir': 'm', 'train_max_steps': 100, **keys}
    return settings_from_config(config_from_json(document))


def test_the_published_configuration_means_what_it_says() -> None:
    settings = read(**PUBLISHED)
    assert {key: getattr(settings, key) for key in PUBLISHED} == PUBLISHED
    assert (settings.loss_type, settings.optimizer, settings.chunk_duration) == ('L1_mask', 'Adam', 20.0)
    assert settings.validation_every == 1000


def test_settings_are_read_back_as_they_were_written() -> None:
    settings = read(**PUBLISHED, training={'gain_db': {'vocals': [-3, 3]}, 'settled': 0.25, 'clipnorm': 1})
    assert read(**settings.to_json()) == settings


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        ({'learing_rate': 1e-3}, 'learing_rate is not a known key: did you mean learning_rate?'),
        ({'instruments': ['a']}, 'instruments is not a known key: did you mean instrument_list?'),
        ({'training': {'remixing': 1}}, r'training\.remixing is not a known key: did you mean training\.remix'),
        ({'training': 5}, 'training is 5: it must be an object'),
        ({'batch_size': '4'}, "batch_size is '4': it must be a whole number from 1 up"),
        ({'batch_size': 2.5}, 'batch_size is 2.5: it must be a whole number'),
        ({'batch_size': True}, 'batch_size is True'),
        ({'learning_rate': 0}, 'learning_rate is 0: it must be a positive number'),
        ({'learning_rate': float('nan')}, 'learning_rate is nan'),
        ({'loss_type': 'L2'}, "loss_type is 'L2': it must be one of L1_mask, weighted_L1_mask"),
        ({'optimizer': 'adam'}, 'optimizer is .*one of Adam, Adadelta, SGD'),
        ({'train_csv': 7}, 'train_csv is 7: it must be a path, or null'),
        ({'training': {'train_frames': 100}}, r'training\.train_frames is 100: it must be a multiple of 64'),
        ({'training': {'gain_db': [3, -3]}}, r'training\.gain_db is \[3, -3\]: it must be a pair'),
        ({'training': {'gain_db': {'vocals': 3}}}, r'training\.gain_db'),
        ({'training': {'remix': 1.5}}, r'training\.remix is 1.5: it must be a number from 0 to 1'),
        ({'training': {'precision': 'half'}}, 'one of float32, mixed_bfloat16, mixed_float16'),
        ({'training': {'deterministic': 1}}, 'true or false'),
        ({'training': {'early_stopping': 0}}, 'a whole number from 1 up, or null'),
    ],
)
def test_wrong_keys_and_values_are_refused_by_name(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(**keys)


def test_the_number_of_steps_is_needed() -> None:
    with pytest.raises(ValueError, match='train_max_steps is missing'):
        settings_from_config(config_from_json({'instrument_list': ['vocals']}))


def test_norms_settle_in_the_last_share_of_the_steps() -> None:
    assert read(training={'settled': 0.3}).settles_at == 70
    assert read().settles_at > 100


def test_every_key_is_described() -> None:
    text = describe_keys()
    for field in (*dataclasses.fields(Settings), *dataclasses.fields(Settings().training)):
        assert field.name in text
