"""A model as Spleeter's checkpoint: a folder that Spleeter loads, and that is a model here as well."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

from ..checkpoint import read_weights, write_checkpoint
from ..errors import UsageError
from ..store import resolve_model
from .model_folder import CONFIG_FILE, ORIGIN_FILE, write_text
from .settings import OURS

PROBE = '.probe'  # Spleeter takes a folder without it for a download that failed


def export_model(model: str, folder: str) -> int:
    """Write a model as `config.json`, `checkpoint`, `model.index` and `model.data-...`.

    Args:
      model: whatever `store.resolve_model` takes.
      folder: must not exist, or be empty; it appears whole or not at all.

    Returns:
      The global step in the checkpoint: that of the best evaluation for models trained here, else 0.

    Raises:
      UsageError: an unknown model, weights that cannot be read, a folder that is in use.
    """
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise UsageError(f'-o {folder}: is there already: name a new folder')
    files = resolve_model(model)
    weights = read_weights(files.config, files.weights)
    step = _trained_steps(os.path.dirname(files.weights))
    target = os.path.abspath(folder)
    temporary = f'{target}.{os.getpid()}.tmp'
    os.makedirs(temporary)
    try:
        write_checkpoint(temporary, weights, step)
        training = {key: value for key, value in files.config.training.items() if key != OURS}
        document = dataclasses.replace(files.config, model_dir='.', training=training).to_json()
        write_text(os.path.join(temporary, CONFIG_FILE), json.dumps(document, indent=2) + '\n')
        write_text(os.path.join(temporary, PROBE), 'OK')
        if os.path.isdir(target):
            os.rmdir(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return step


def _trained_steps(folder: str) -> int:
    try:
        with open(os.path.join(folder, ORIGIN_FILE), encoding='utf-8') as file:
            origin = json.load(file)
        best = origin['validation']
        return int(origin['steps'] if best['best'] is None else best['best_step'])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f'{folder}/{ORIGIN_FILE} cannot be read ({error}): delete it') from error
