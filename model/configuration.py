"""What a model is: its stems, its transform sizes and the form of its network, read from Spleeter's JSON files.

Inside the project a configuration is the frozen dataclass `ModelConfig`; Spleeter's keys for training are kept, unread,
in `training`. Everything that could go wrong later because of a wrong value is found here, when the file is read.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from .errors import UsageError

SPLEETER_FILTERS = (16, 32, 64, 128, 256, 512)
MODEL_TYPES = ('unet.unet', 'unet.softmax_unet')
MASK_EXTENSIONS = ('zeros', 'average')
ACTIVATIONS = ('ReLU', 'LeakyReLU', 'ELU')
NETWORK_STRIDE = 64  # six layers of stride 2: frames and bins of a chunk must be multiples of this


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A separation model without its weights; field names in Spleeter's JSON are given where they differ.

    Raises:
      ValueError: from the constructor, when values do not fit together; it names the key, the value and the rule.
    """

    instruments: tuple[str, ...]  # instrument_list: the stems, in graph order
    sample_rate: int = 44100  # Hz
    frame_length: int = 4096  # samples of one STFT frame
    frame_step: int = 1024  # samples between frames (hop)
    frames: int = 512  # T: STFT frames of one chunk
    bins: int = 1024  # F: STFT bins that the network sees, from 0 Hz up
    channels: int = 2  # n_channels
    separation_exponent: float = 2.0
    mask_extension: str = 'zeros'  # what the mask is above the bins that the network sees
    model_type: str = 'unet.unet'  # model.type
    conv_activation: str = 'LeakyReLU'  # model.params.conv_activation
    deconv_activation: str = 'ReLU'  # model.params.deconv_activation
    conv_filters: tuple[int, ...] = SPLEETER_FILTERS  # model.params.conv_n_filters
    mix_name: str = 'mix'
    model_dir: str | None = None
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False, compare=False)

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ValueError(problem)

    def to_json(self) -> dict[str, Any]:
        """The configuration in Spleeter's JSON form, training keys included."""
        return {
            **self.training,
            'mix_name': self.mix_name,
            'instrument_list': list(self.instruments),
            'sample_rate': self.sample_rate,
            'frame_length': self.frame_length,
            'frame_step': self.frame_step,
            'T': self.frames,
            'F': self.bins,
            'n_channels': self.channels,
            'separation_exponent': self.separation_exponent,
            'mask_extension': self.mask_extension,
            'model': {
                'type': self.model_type,
                'params': {
                    'conv_activation': self.conv_activation,
                    'deconv_activation': self.deconv_activation,
                    'conv_n_filters': list(self.conv_filters),
                },
            },
            **({} if self.model_dir is None else {'model_dir': self.model_dir}),
        }


def _problems(config: ModelConfig) -> list[str]:
    """Every way in which the values do not fit together, first things first."""
    fft_bins = config.frame_length // 2 + 1
    rules = [
        (len(config.instruments) >= 1, 'instrument_list is empty: name at least one stem'),
        (
            len(set(config.instruments)) == len(config.instruments),
            f'instrument_list {list(config.instruments)} names a stem twice: name each once',
        ),
        (
            all(name and not set(name) & set('/\\{}\0') and name not in ('.', '..') for name in config.instruments),
            f'instrument_list {list(config.instruments)} has a name that cannot be a file name: use plain words',
        ),
        ('mixture' not in config.instruments, "instrument_list names a stem 'mixture': that is the input's name"),
        (config.mix_name not in config.instruments, f'mix_name {config.mix_name!r} is also a stem: rename one of them'),
        (config.sample_rate > 0, f'sample_rate is {config.sample_rate}: it must be positive'),
        (config.frame_step > 0, f'frame_step is {config.frame_step}: it must be positive'),
        (
            config.frame_length >= 2 * config.frame_step and config.frame_length % max(config.frame_step, 1) == 0,
            f'frame_length {config.frame_length} must be a multiple (2 or more) of frame_step {config.frame_step}',
        ),
        (
            config.frames > 0 and config.frames % NETWORK_STRIDE == 0,
            f'T is {config.frames}: it must be a positive multiple of {NETWORK_STRIDE}',
        ),
        (
            0 < config.bins <= fft_bins and config.bins % NETWORK_STRIDE == 0,
            f'F is {config.bins}: it must be a multiple of {NETWORK_STRIDE} and at most {fft_bins}, '
            f'the bins of frame_length {config.frame_length}',
        ),
        (config.channels in (1, 2), f'n_channels is {config.channels}: it must be 1 or 2'),
        (config.separation_exponent > 0, f'separation_exponent is {config.separation_exponent}: it must be positive'),
        (
            config.mask_extension in MASK_EXTENSIONS,
            f'mask_extension is {config.mask_extension!r}: it must be one of {", ".join(MASK_EXTENSIONS)}',
        ),
        (
            config.model_type in MODEL_TYPES,
            f'model.type is {config.model_type!r}: it must be one of {", ".join(MODEL_TYPES)}',
        ),
        (
            config.conv_activation in ACTIVATIONS,
            f'model.params.conv_activation is {config.conv_activation!r}: it must be one of {", ".join(ACTIVATIONS)}',
        ),
        (
            config.deconv_activation in ACTIVATIONS,
            f'model.params.deconv_activation is {config.deconv_activation!r}: '
            f'it must be one of {", ".join(ACTIVATIONS)}',
        ),
        (
            len(config.conv_filters) == len(SPLEETER_FILTERS) and min(config.conv_filters, default=0) > 0,
            f'model.params.conv_n_filters is {list(config.conv_filters)}: it must be six positive numbers',
        ),
    ]
    return [message for holds, message in rules if not holds]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or int(value) != value:
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(_text(item) for item in value)


def _wholes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(_whole(item) for item in value)


# Spleeter's key -> (our field, reader, what a value must be).
_KEYS = {
    'instrument_list': ('instruments', _texts, 'a list of names'),
    'sample_rate': ('sample_rate', _whole, 'a whole number'),
    'frame_length': ('frame_length', _whole, 'a whole number'),
    'frame_step': ('frame_step', _whole, 'a whole number'),
    'T': ('frames', _whole, 'a whole number'),
    'F': ('bins', _whole, 'a whole number'),
    'n_channels': ('channels', _whole, 'a whole number'),
    'separation_exponent': ('separation_exponent', _number, 'a number'),
    'mask_extension': ('mask_extension', _text, 'a word'),
    'mix_name': ('mix_name', _text, 'a word'),
    'model_dir': ('model_dir', _text, 'a folder'),
}
_PARAMS = {
    'conv_activation': ('conv_activation', _text, 'a word'),
    'deconv_activation': ('deconv_activation', _text, 'a word'),
    'conv_n_filters': ('conv_filters', _wholes, 'a list of six whole numbers'),
}


def _read_fields(source: Mapping[str, Any], keys: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    fields = {}
    for key, (field, read, kind) in keys.items():
        if key in source:
            try:
                fields[field] = read(source[key])
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f'{prefix}{key} is {source[key]!r}: it must be {kind}') from error
    return fields


def config_from_json(document: Any) -> ModelConfig:
    """A configuration from Spleeter's JSON form; keys that only training needs go to `training` unread.

    Raises:
      ValueError: naming the key, the value and what it must be.
    """
    if not isinstance(document, dict):
        raise ValueError(f'the file holds {type(document).__name__}: it must be a JSON object')
    if 'instrument_list' not in document:
        raise ValueError('the key instrument_list is missing: list the stems in graph order')
    model = document.get('model', {})
    params = model.get('params', {}) if isinstance(model, dict) else None
    if not isinstance(params, dict):
        raise ValueError('model must be an object with a type and params')
    fields = _read_fields(document, _KEYS)
    fields.update(_read_fields(model, {'type': ('model_type', _text, 'a word')}, 'model.'))
    fields.update(_read_fields(params, _PARAMS, 'model.params.'))
    rest = {key: value for key, value in document.items() if key not in _KEYS and key != 'model'}
    return ModelConfig(**fields, training=rest)


def load_config(path: str | os.PathLike[str]) -> ModelConfig:
    """Read a Spleeter configuration file (JSON).

    Raises:
      UsageError: naming the file, what is wrong with it and what to do.
    """
    try:
        with open(path, encoding='utf-8') as file:
            return config_from_json(json.load(file))
    except OSError as error:
        raise UsageError(f'model configuration {os.fspath(path)}: {error.strerror}: check the path') from error
    except ValueError as error:  # JSON and Unicode errors are ValueErrors too
        raise UsageError(f'model configuration {os.fspath(path)}: {error}') from error
    except RecursionError as error:
        raise UsageError(f'model configuration {os.fspath(path)}: nested too deeply: write it again') from error
