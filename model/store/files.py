"""A model on this machine: its configuration, where its weights are, and what identifies both.

Stands on the configuration and checkpoint modules. The one idea: a model is resolved once, at launch, to a
`ModelFiles`; from there on only that is used, by threads, processes and workers on other machines.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from typing import NamedTuple

import numpy as np

from ..checkpoint import WEIGHTS_FILE, fingerprint_weights, is_checkpoint, read_weights
from ..configuration import ModelConfig, load_config
from ..errors import UsageError
from .staging import CONFIG_FILE, local_weights

BUNDLED = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'bundled')
CONFIGS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), 'configs')


class ModelFiles(NamedTuple):
    """A model that has been found: configuration, where the weights are, and what identifies both."""

    name: str
    config: ModelConfig
    weights: str  # a .npz file, the folder of a checkpoint, or (staged) the fsspec URL of a .npz file
    fingerprint: str  # SHA-256 over weights and whatever of the configuration changes the stems
    checksum: str = ''  # SHA-256 of a staged weights file; others are not copied, so there is nothing to compare

    def check(self) -> None:
        """Read the weights once, for the errors. Raises UsageError."""
        self.read_weights()

    def read_weights(self) -> dict[str, np.ndarray]:
        """All weights, name -> float32 array; staged ones are copied here first and compared with their checksum.

        Raises:
          UsageError: a file that cannot be read; missing, unknown or misshaped variables, by name.
          RunError: staged weights that cannot be copied or have changed.
        """
        if not self.checksum:
            return read_weights(self.config, self.weights)
        with local_weights(self.weights, self.checksum) as path:
            return read_weights(self.config, path)


def bundled_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(entry.name for entry in os.scandir(BUNDLED) if os.path.isfile(os.path.join(entry.path, CONFIG_FILE)))


def files_of_folder(name: str, folder: str) -> ModelFiles:
    """The model in a folder: one JSON configuration and weights, or a Spleeter checkpoint in a folder that is called as
    Spleeter's own.

    Raises:
      UsageError: no configuration, or several; no weights.
    """
    configs = sorted(glob.glob(os.path.join(glob.escape(folder), '*.json')))
    preferred = os.path.join(folder, CONFIG_FILE)
    published = os.path.join(CONFIGS, f'{os.path.basename(os.path.abspath(folder))}.json')
    if preferred in configs:
        config = load_config(preferred)
    elif len(configs) == 1:
        config = load_config(configs[0])
    elif not configs and is_checkpoint(folder) and os.path.isfile(published):
        config = load_config(published)
    else:
        raise UsageError(
            f'model {folder}: its configuration is not clear ({len(configs)} JSON files, none named {CONFIG_FILE}): '
            'give the JSON file itself as the model'
        )
    return identify(name, config, _weights_in(folder, folder))


def files_of_json(path: str) -> ModelFiles:
    """The model of a Spleeter JSON file, whose `model_dir` (relative to the file) is the folder of its weights.

    Raises:
      UsageError: no `model_dir`, or no weights there.
    """
    config = load_config(path)
    if config.model_dir is None:
        raise UsageError(f'model {path}: the key model_dir is missing: name the folder of the checkpoint')
    return identify(path, config, _weights_in(os.path.join(os.path.dirname(path), config.model_dir), path))


def _weights_in(folder: str, model: str) -> str:
    weights = os.path.join(folder, WEIGHTS_FILE)
    if os.path.isfile(weights):
        return weights
    if is_checkpoint(folder):
        return folder
    raise UsageError(f'model {model}: neither {WEIGHTS_FILE} nor a checkpoint is in {folder}: put the weights there')


def identify(name: str, config: ModelConfig, weights: str) -> ModelFiles:
    """A ModelFiles with its fingerprint, for which the weights are read once."""
    relevant = config.to_json()
    for key in ('model_dir', 'mix_name', *config.training):
        relevant.pop(key, None)
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode())
    digest.update(fingerprint_weights(weights).encode())
    return ModelFiles(name, config, os.path.abspath(weights), digest.hexdigest())
