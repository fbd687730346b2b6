"""What tests of several folders share: a song, and a tiny model with short chunks, so that little audio has many of
them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from stembeam.model.checkpoint import WEIGHTS_FILE, expected_variables, write_npz
from stembeam.model.configuration import ModelConfig
from stembeam.model.remote import StoreOptions, install_options

TINY = ModelConfig(
    instruments=('vocals', 'drums', 'other'),
    frames=64,  # chunks of 1.49 s
    bins=1024,
    mask_extension='average',
    conv_activation='ELU',
    deconv_activation='ELU',
    conv_filters=(2, 2, 4, 4, 4, 4),
)


def random_weights(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that make every stem different, loud and dependent on the input."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in expected_variables(config).items():
        if name.endswith('kernel'):
            weights[name] = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:2]) * min(shape[2:]))
        elif name.endswith('moving_variance'):
            weights[name] = rng.uniform(0.5, 2, shape)
        else:
            weights[name] = rng.uniform(-0.5, 0.5, shape) + (1 if name.endswith('gamma') else 0)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def write_model(folder: Path, config: ModelConfig, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(config.to_json()))
    write_npz(str(folder / WEIGHTS_FILE), random_weights(config, seed))
    return folder


@pytest.fixture(scope='session', autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What processes that are killed leave lies where pytest will remove it; so does what this process leaves."""
    folder = str(tmp_path_factory.mktemp('temporary'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TMPDIR', folder)
        patch.setattr(tempfile, 'tempdir', folder)
        yield


@pytest.fixture(scope='session', autouse=True)
def threads_as_in_a_run() -> None:
    """TensorFlow's thread pools are sized once in a process: as every run sizes them, whichever test is the first."""
    from stembeam.model.backend import configure_threads

    configure_threads(4)


@pytest.fixture(scope='session')
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a three-stem model whose chunks last 1.49 s."""
    return write_model(tmp_path_factory.mktemp('models') / 'tiny', TINY)


def noise(seconds: float, sample_rate: int = 44100, channels: int = 2, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """Reproducible noise with a slow swell, float32 (samples, channels)."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal((round(seconds * sample_rate), channels))
    swell = 0.6 + 0.4 * np.sin(np.arange(len(samples)) / sample_rate * 2)
    return (level * swell[:, np.newaxis] * samples).astype(np.float32)


@pytest.fixture
def clean_configuration() -> Iterator[None]:
    """What a test puts in force for object stores ends with it."""
    before = {name: dict(values) for name, values in fsspec.config.conf.items()}
    yield
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)
    install_options(StoreOptions())
