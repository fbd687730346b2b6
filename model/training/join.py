"""Models of single stems put together to one: the networks of the stems share nothing, so they can be trained apart.

    python -m stembeam.model.training.join --out FOLDER MODEL_A MODEL_B ...

takes every stem from the first model that has it, in the order of Spleeter's four stems; the configurations must
agree in all but the stems. What moves is the numbering of layers in the names of the weights (see `checkpoint`).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..checkpoint import CONVS_PER_STEM, DECONVS_PER_STEM, NORMS_PER_STEM, layer_name, read_weights
from ..configuration import ModelConfig
from ..errors import UsageError
from ..store import resolve_model
from .render_bank import STEMS
from .train import write_model

LAYERS_PER_STEM = {
    'conv2d': CONVS_PER_STEM,
    'conv2d_transpose': DECONVS_PER_STEM,
    'batch_normalization': NORMS_PER_STEM,
}


def move_stem(weights: Mapping[str, np.ndarray], source: int, target: int) -> dict[str, np.ndarray]:
    """The weights of the `source`-th stem under the names that they have as the `target`-th."""
    moved = {}
    for kind, count in LAYERS_PER_STEM.items():
        for index in range(count):
            old, new = layer_name(kind, source * count + index), layer_name(kind, target * count + index)
            for name, value in weights.items():
                layer, variable = name.split('/')
                if layer == old:
                    moved[f'{new}/{variable}'] = value
    return moved


def join_models(
    models: Sequence[tuple[ModelConfig, Mapping[str, np.ndarray]]],
) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """One model with all stems of several. Raises UsageError where their configurations differ in more than stems."""
    first = models[0][0]
    for config, _ in models[1:]:
        if dataclasses.replace(config, instruments=first.instruments) != first:
            raise UsageError('the models differ in more than their stems: train them with the same settings')
    found = {name: (config, weights) for config, weights in reversed(models) for name in config.instruments}
    stems = sorted(found, key=lambda name: (STEMS.index(name) if name in STEMS else len(STEMS), name))
    joined: dict[str, np.ndarray] = {}
    for target, name in enumerate(stems):
        config, weights = found[name]
        joined.update(move_stem(weights, config.instruments.index(name), target))
    return dataclasses.replace(first, instruments=tuple(stems)), joined


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 0, or 2 with one line where something is wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m stembeam.model.training.join', description='Joins models of stems.'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the joined model')
    parser.add_argument('models', nargs='+', help='folders of models')
    options = parser.parse_args(arguments)
    try:
        found = [resolve_model(model) for model in options.models]
        config, weights = join_models([(files.config, read_weights(files.config, files.weights)) for files in found])
        options.out.mkdir(parents=True, exist_ok=True)
        write_model(config, weights, options.out)
    except UsageError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{options.out}: {", ".join(config.instruments)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
