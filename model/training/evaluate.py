"""How well a network separates random mixtures of a bank, in dB against the mixture taken as the estimate.

    python -m stembeam.model.training.evaluate --bank BANK --model mini [--chunks 100]

The signal-to-distortion ratio here is the plain one over all samples and channels of a chunk, without museval's
filters: 10 log10(sum s^2 / sum (s - estimate)^2). Only chunks in which a stem sounds count for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..backend import compile_function
from ..checkpoint import assign_weights, read_weights
from ..configuration import ModelConfig
from ..errors import UsageError
from ..separator import separate_chunks
from ..store import resolve_model
from ..unet import build_unet
from .effects import active_level
from .mixing import QUIET, Bank, MixingRules, chunk_samples, draw_stems


def signal_to_distortion(target: np.ndarray, estimate: np.ndarray) -> float:
    """SDR in dB of one stem; arrays of the same shape, the target not silent."""
    target = target.astype(np.float64)
    return float(10 * np.log10(np.sum(target**2) / (np.sum((target - estimate) ** 2) + 1e-12)))


def draw_evaluation(bank: Bank, config: ModelConfig, chunks: int, seed: Sequence[int]) -> np.ndarray:
    """Stems to score on, float32 (chunks, stems, samples, channels), a fixed draw for a seed."""
    rules = MixingRules(respeed=0.0)
    samples = chunk_samples(config)
    drawn = [draw_stems(bank, samples, rules, np.random.default_rng([*seed, chunk])) for chunk in range(chunks)]
    return np.stack(drawn)[..., : config.channels]


def score_network(network: object, config: ModelConfig, stems: np.ndarray) -> dict[str, Mapping[str, float]]:
    """Median scores per stem over the chunks of `draw_evaluation`.

    Returns:
      stem -> {'sdr': dB, 'mixture': dB of the mixture as the estimate, 'gain': median of their difference,
      'leak': dB of the estimate relative to the mixture in chunks without the stem (NaN where every chunk has it)}.
    """
    separate = compile_function(network, lambda net, waves: separate_chunks(net, waves, config))
    results: dict[str, dict[str, list[float]]] = {
        stem: {'sdr': [], 'mixture': [], 'gain': [], 'leak': []} for stem in config.instruments
    }
    for chunk in stems:
        mixture = chunk.sum(axis=0)
        # The ends of a lone chunk miss their neighbours' contributions.
        inside = slice(config.frame_length, len(mixture) - config.frame_length)
        estimates = separate(mixture[np.newaxis])[:, 0]
        for name, target, estimate in zip(config.instruments, chunk, estimates, strict=True):
            target, estimate, mixed = target[inside], estimate[inside], mixture[inside]
            if active_level(target) > QUIET:
                ours, theirs = signal_to_distortion(target, estimate), signal_to_distortion(target, mixed)
                results[name]['sdr'].append(ours)
                results[name]['mixture'].append(theirs)
                results[name]['gain'].append(ours - theirs)
            elif active_level(mixed) > QUIET:
                power = np.mean(estimate.astype(np.float64) ** 2) / np.mean(mixed.astype(np.float64) ** 2)
                results[name]['leak'].append(10 * np.log10(power + 1e-12))
    return {
        name: {key: float(np.median(values)) if values else float('nan') for key, values in scores.items()}
        for name, scores in results.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line of the scores: one line per stem; exit status 0, or 2 with one line where something is wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m stembeam.model.training.evaluate', description='Scores of a model on a bank.'
    )
    parser.add_argument('--bank', type=Path, required=True, help='folder that render_bank wrote')
    parser.add_argument('--model', required=True, help='name or folder of a model')
    parser.add_argument('--split', default='held-out')
    parser.add_argument('--chunks', type=int, default=100)
    parser.add_argument('--seed', type=int, default=3)
    options = parser.parse_args(arguments)
    try:
        files = resolve_model(options.model)
        network = build_unet(files.config)
        assign_weights(network, read_weights(files.config, files.weights))
        bank = Bank(options.bank, options.split, files.config.instruments, files.config.sample_rate)
    except UsageError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    stems = draw_evaluation(bank, files.config, options.chunks, [options.seed])
    for stem, scores in score_network(network, files.config, stems).items():
        print(f'{stem}: ' + ', '.join(f'{name} {value:.2f} dB' for name, value in scores.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
