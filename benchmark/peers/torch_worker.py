"""open-unmix or HTDemucs with random weights, FLAC in and out. Runs in the environment of PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .serving import serve_tracks

STEMS = ('drums', 'bass', 'other', 'vocals')


def prepare(config: dict[str, Any]) -> Callable[[str], None]:
    """`config`: 'open-unmix' or 'HTDemucs', threads, a track for warming up, and where stems go."""
    import soundfile
    import torch

    torch.set_num_threads(config['threads'])
    torch.manual_seed(0)
    os.makedirs(config['output'], exist_ok=True)
    estimate = open_unmix() if config['model'] == 'open-unmix' else htdemucs()

    def separate(path: str) -> None:
        samples, rate = soundfile.read(path, dtype='float32', always_2d=True)
        with torch.inference_mode():
            stems = estimate(torch.from_numpy(samples.T.copy())[None])[0]
        for name, stem in zip(STEMS, stems, strict=True):
            output = os.path.splitext(os.path.basename(path))[0] + '-' + name + '.flac'
            soundfile.write(os.path.join(config['output'], output), stem.numpy().T, rate)

    return separate


def open_unmix() -> Callable[[Any], Any]:
    """umxhq with its own default of one pass of the Wiener filter: (1, channels, n) to (1, stems, channels, n)."""
    from openunmix import umxhq

    return umxhq(targets=list(STEMS), pretrained=False).eval()


def htdemucs() -> Callable[[Any], Any]:
    """One HTDemucs of the released size (model `htdemucs`), with the defaults of Demucs' command."""
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    # What differs from the class's defaults in the training configuration of `htdemucs`, as far as it changes its size.
    model = HTDemucs(list(STEMS), bottom_channels=512, t_dropout=0.02, dconv_mode=3, segment=7.8).eval()
    return lambda mixture: apply_model(model, mixture, shifts=1, split=True, overlap=0.25)


if __name__ == '__main__':
    serve_tracks(prepare)
