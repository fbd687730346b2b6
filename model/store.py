"""From what the user calls a model to files: the bundled `mini`, a model folder, a Spleeter checkpoint or a JSON file.

A model is resolved once, at launch, to a `ModelFiles`; from there on only its paths are used.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from typing import NamedTuple

from .checkpoint import WEIGHTS_FILE, fingerprint_weights, is_checkpoint, read_weights
from .configuration import ModelConfig, load_config
from .errors import UsageError

BUNDLED = os.path.join(os.path.dirname(__file__), 'bundled')
CONFIGS = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'configs')
DEFAULT_MODEL = 'mini'


class ModelFiles(NamedTuple):
    """A model that has been found: configuration, where the weights are, and what identifies both."""

    name: str
    config: ModelConfig
    weights: str  # a .npz file or the folder of a checkpoint
    fingerprint: str  # SHA-256 over weights and whatever of the configuration changes the stems

    def check(self) -> None:
        """Read the weights once, for the errors. Raises UsageError."""
        read_weights(self.config, self.weights)


def bundled_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(
        entry.name for entry in os.scandir(BUNDLED) if os.path.isfile(os.path.join(entry.path, 'config.json'))
    )


def resolve_model(model: str | os.PathLike[str]) -> ModelFiles:
    """Find a model by name, folder or JSON file.

    Args:
      model: 'mini'; a folder with one JSON configuration and weights (`weights.npz` or a Spleeter checkpoint); a folder
        with a Spleeter checkpoint alone, if it is called 2stems, 4stems or 5stems as Spleeter's own; or a Spleeter JSON
        file whose `model_dir` (relative to the file) is the checkpoint's folder.

    Raises:
      UsageError: an unknown model, a missing file, weights that cannot be found; one line with the cure.
    """
    model = os.fspath(model)
    if model in bundled_models():
        return _resolve_folder(model, os.path.join(BUNDLED, model))
    if os.path.isdir(model):
        return _resolve_folder(model, model)
    if os.path.isfile(model):
        config = load_config(model)
        if config.model_dir is None:
            raise UsageError(f'model {model}: the key model_dir is missing: name the folder of the checkpoint')
        folder = os.path.join(os.path.dirname(model), config.model_dir)
        return _found(model, config, _weights_in(folder, model))
    raise UsageError(
        f'unknown model {model!r}: use one of {", ".join(bundled_models())}, the folder of a model, '
        'or a Spleeter JSON file'
    )


def _resolve_folder(name: str, folder: str) -> ModelFiles:
    configs = sorted(glob.glob(os.path.join(glob.escape(folder), '*.json')))
    preferred = os.path.join(folder, 'config.json')
    published = os.path.join(CONFIGS, f'{os.path.basename(os.path.abspath(folder))}.json')
    if preferred in configs:
        config = load_config(preferred)
    elif len(configs) == 1:
        config = load_config(configs[0])
    elif not configs and is_checkpoint(folder) and os.path.isfile(published):
        config = load_config(published)
    else:
        raise UsageError(
            f'model {folder}: its configuration is not clear ({len(configs)} JSON files, none named config.json): '
            'give the JSON file itself as the model'
        )
    return _found(name, config, _weights_in(folder, folder))


def _weights_in(folder: str, model: str) -> str:
    weights = os.path.join(folder, WEIGHTS_FILE)
    if os.path.isfile(weights):
        return weights
    if is_checkpoint(folder):
        return folder
    raise UsageError(f'model {model}: neither {WEIGHTS_FILE} nor a checkpoint is in {folder}: put the weights there')


def _found(name: str, config: ModelConfig, weights: str) -> ModelFiles:
    relevant = config.to_json()
    for key in ('model_dir', 'mix_name', *config.training):
        relevant.pop(key, None)
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode())
    digest.update(fingerprint_weights(weights).encode())
    return ModelFiles(name, config, os.path.abspath(weights), digest.hexdigest())
