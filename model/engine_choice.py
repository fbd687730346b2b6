"""The engines that can compute a model's networks, by name: what options and checks need of them, at no cost."""

from __future__ import annotations

import importlib.util

from .errors import UsageError

ENGINES = ('tensorflow', 'openvino')  # the first is the default
GPU_BATCH_SIZE = 8  # chunks, a minute and a half of audio


def check_engine(name: str) -> None:
    """Raise UsageError, in one line, if there is no such engine, or what it needs is not installed."""
    if name not in ENGINES:
        raise UsageError(f'engine is {name!r}: it must be one of {", ".join(ENGINES)}')
    if name == 'openvino' and importlib.util.find_spec('openvino') is None:
        raise UsageError(
            'engine openvino: the package openvino is not installed: '
            "pip install 'stembeam[openvino]', or choose the engine tensorflow"
        )
