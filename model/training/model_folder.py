"""A trained model as a folder that `--model` takes: `config.json`, `weights.npz`, and its origin in `training.json`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checkpoint import WEIGHTS_FILE, write_npz
from ..configuration import ModelConfig

CONFIG_FILE, ORIGIN_FILE = 'config.json', 'training.json'


def write_text(path: str, text: str) -> None:
    """A text file that appears whole or not at all."""
    temporary = f'{path}.{os.getpid()}.tmp'
    with open(temporary, 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(temporary, path)


def write_model(folder: str, config: ModelConfig, weights: Mapping[str, np.ndarray], stored: str = 'float32') -> None:
    """Write configuration and weights.

    Args:
      folder: made if it is not there.
      config: of the model.
      weights: by Spleeter's names.
      stored: 'float16' stores kernels and biases in half the size; batch norms, whose range is wide, stay float32.
    """
    os.makedirs(folder, exist_ok=True)
    # model_dir is the folder of the JSON file itself, so that the file can be given as the model too.
    document = dataclasses.replace(config, model_dir='.').to_json()
    write_text(os.path.join(folder, CONFIG_FILE), json.dumps(document, indent=2) + '\n')
    arrays = {
        name: np.asarray(value, np.float32 if name.startswith('batch_normalization') else stored)
        for name, value in weights.items()
    }
    write_npz(os.path.join(folder, WEIGHTS_FILE), arrays)


def write_origin(folder: str, origin: Mapping[str, Any]) -> None:
    """Write what a model was trained on, and with what programs."""
    programs = {}
    for package in ('stembeam', 'tensorflow', 'keras', 'jax', 'numpy'):
        try:
            programs[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    document = {**origin, 'versions': {'python': platform.python_version(), **programs}}
    write_text(os.path.join(folder, ORIGIN_FILE), json.dumps(document, indent=2) + '\n')
