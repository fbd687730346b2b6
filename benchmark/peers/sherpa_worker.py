"""sherpa-onnx's Spleeter, two stems, with the weights that stembeam has. Runs in sherpa-onnx's environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .onnx_unet import write_onnx
from .serving import serve_tracks

STEMS = ('vocals', 'accompaniment')


def prepare(config: dict[str, Any]) -> Callable[[str], None]:
    """`config`: the weights (.npz), threads, a track for warming up, and where stems and networks go."""
    import numpy as np
    import sherpa_onnx
    import soundfile

    os.makedirs(config['output'], exist_ok=True)
    networks = {}
    with np.load(config['weights']) as weights:
        arrays = {name: weights[name] for name in weights.files}
    for number, stem in enumerate(STEMS):
        networks[stem] = os.path.join(config['output'], stem + '.onnx')
        write_onnx(arrays, number, networks[stem])
    spleeter = sherpa_onnx.OfflineSourceSeparationSpleeterModelConfig(**networks)
    model = sherpa_onnx.OfflineSourceSeparationModelConfig(spleeter=spleeter, num_threads=config['threads'])
    separator = sherpa_onnx.OfflineSourceSeparation(sherpa_onnx.OfflineSourceSeparationConfig(model))

    def separate(path: str) -> None:
        samples, rate = soundfile.read(path, dtype='float32', always_2d=True)
        found = separator.process(rate, np.ascontiguousarray(samples.T))
        for stem, made in zip(STEMS, found.stems, strict=True):
            name = f'{os.path.splitext(os.path.basename(path))[0]}-{stem}.flac'
            soundfile.write(os.path.join(config['output'], name), np.asarray(made.data).T, found.sample_rate)

    return separate


if __name__ == '__main__':
    serve_tracks(prepare)
