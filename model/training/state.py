"""The state of a training run in one file, from which it goes on as if nothing had happened.

The file appears whole or not at all. It holds the step, all variables of network and optimiser, the counters of early
stopping, and the description of the run, which a later run with the same folder must repeat.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError

STATE_FILE = 'state.npz'
# What may differ when a run goes on, because no loss depends on it.
FREE = (
    *('model_dir', 'train_csv', 'validation_csv', 'training_cache', 'validation_cache', 'save_summary_steps'),
    *('throttle_secs', 'training.weights', 'mix_name'),
)


class Counters(NamedTuple):
    """Everything about a run that is not a variable."""

    step: int = 0
    settled: bool = False  # the batch norms stand
    best_loss: float = float('inf')
    best_step: int = 0
    since_best: int = 0  # evaluations in a row without a new best
    first_loss: float = float('nan')  # of the evaluation before the first step
    last_loss: float = float('nan')
    seconds: float = 0.0  # of training
    stopped: bool = False  # early


class State(NamedTuple):
    """A saved run."""

    counters: Counters
    description: dict[str, Any]
    network: list[np.ndarray]
    optimizer: list[np.ndarray]


def save_state(
    path: str, counters: Counters, description: Mapping[str, Any], network: Sequence[Any], optimizer: Sequence[Any]
) -> None:
    """Write a state; `network` and `optimizer` are lists of variables."""
    arrays = {'counters': np.asarray(json.dumps(counters._asdict())), 'run': np.asarray(json.dumps(description))}
    for kind, variables in (('network', network), ('optimizer', optimizer)):
        arrays.update({f'{kind}/{number}': np.asarray(variable) for number, variable in enumerate(variables)})
    temporary = f'{path}.{os.getpid()}.tmp'
    with open(temporary, 'wb') as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_state(path: str) -> State | None:
    """The state in a file, or None if there is none.

    Raises:
      UsageError: a file that is not a state.
    """
    if not os.path.exists(path):
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        counters = Counters(**json.loads(str(arrays['counters'])))
        description = json.loads(str(arrays['run']))
        groups = {
            kind: [arrays[f'{kind}/{i}'] for i in range(sum(name.startswith(f'{kind}/') for name in arrays))]
            for kind in ('network', 'optimizer')
        }
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f'{path}: not a training state ({error}): delete it to start anew') from error
    return State(counters, description, **groups)


def flatten(document: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """A nested description as one level: {'model.type': ..., 'learning_rate': ...}."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def check_same_run(folder: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise UsageError, naming the first key that differs, if a folder holds another run.

    More steps may be asked for where the learning rate does not depend on their number.
    """
    old, new = flatten(before), flatten(json.loads(json.dumps(now)))
    for key in [*old, *(key for key in new if key not in old)]:
        if key in FREE or old.get(key) == new.get(key):
            continue
        if key == 'train_max_steps' and new.get('training.schedule') == 'constant' and not new.get('training.settled'):
            continue
        raise UsageError(
            f'{folder} holds a run with another {key} ({_short(old.get(key))}, now {_short(new.get(key))}): '
            'use the same, or another folder'
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f'{text[:37]}...'


def assign_all(variables: Sequence[Any], values: Sequence[np.ndarray], path: str) -> None:
    """Put saved values into variables. Raises UsageError where they do not fit."""
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise UsageError(f'{path}: made by another version of the libraries or of stembeam: delete it to start anew')
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
