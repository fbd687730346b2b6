"""The scores of a track: what museval would say of it, and the JSON that museval writes of that.

Stands on bsseval.py, or on museval itself by choice. The one idea: all that surrounds BSSEval in museval (frames of one
second, estimates cut or padded to their references, NaN for silence, five decimals) is here once, whoever computes.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import math
import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..errors import TrackError, UsageError
from .bsseval import METRICS, BssEval, is_silent, window_starts

MUSEVAL_VERSION = '0.4.1'  # whose scores these are
DECIMALS = 5  # of the scores in museval's JSON
FRAME_SECONDS = 1.0  # museval's window and hop

# From references and several sets of estimates to float64 (metrics, references, frames) for each set.
Scorer = Callable[[Sequence[np.ndarray], Sequence[Sequence[np.ndarray]], int, int], list[np.ndarray]]


class TrackScores(NamedTuple):
    """Scores of one set of estimates of a track."""

    stems: tuple[str, ...]
    window: float  # seconds
    hop: float  # seconds
    values: np.ndarray  # float64 (metrics, stems, frames), dB; metrics as in METRICS; NaN: undefined

    def metric(self, name: str) -> np.ndarray:
        """One metric: (stems, frames)."""
        return self.values[METRICS.index(name)]

    def to_museval(self) -> dict[str, Any]:
        """What museval's TrackStore writes as JSON; values are rounded to five decimals, infinite ones are NaN."""
        targets = []
        for number, stem in enumerate(self.stems):
            frames = [
                {
                    'time': index * self.hop,
                    'duration': self.window,
                    'metrics': {
                        name: _rounded(self.metric(name)[number, index]) for name in ('SDR', 'SIR', 'SAR', 'ISR')
                    },
                }
                for index in range(self.values.shape[2])
            ]
            targets.append({'name': stem, 'frames': frames})
        return {'targets': targets, 'museval_version': MUSEVAL_VERSION}


def _rounded(value: float) -> float:
    return math.nan if math.isinf(value) else round(float(value), DECIMALS)


def frame_medians(museval: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Stem -> metric -> median over the frames of a track, from museval's JSON; NaN if no frame has a score."""
    return {
        target['name']: {
            metric: nan_median([frame['metrics'][metric] for frame in target['frames']]) for metric in METRICS
        }
        for target in museval['targets']
    }


def nan_median(values: Sequence[float]) -> float:
    """The median of what is not NaN; NaN if nothing is left.

    >>> nan_median([3.0, float('nan'), 1.0])
    2.0
    """
    left = [value for value in values if not math.isnan(value)]
    return float(np.median(left)) if left else math.nan


def score_track(
    references: Mapping[str, np.ndarray],
    estimates: Sequence[Mapping[str, np.ndarray]],
    sample_rate: int,
    window: float = FRAME_SECONDS,
    hop: float = FRAME_SECONDS,
    scorer: str = 'stembeam',
) -> list[TrackScores]:
    """Score sets of estimates of a track, as `museval.evaluate` does (version 4, frame by frame, no permutations).

    A stem whose reference is silent from start to end has no scores (NaN); the others are scored as if it were not
    there, which is no difference to them. museval refuses such tracks.

    Args:
      references: stem -> (samples, channels), all of the same shape, full scale 1.
      estimates: sets of stem -> (any samples, channels), for the same stems; cut at the end, or padded with zeros, to
        the length of the references.
      sample_rate: Hz, of all.
      window: seconds of a frame.
      hop: seconds from frame to frame.
      scorer: a key of SCORERS.

    Returns:
      For each set its scores, in the order of `references`.

    Raises:
      TrackError: references of different shape, or silent ones only; an estimate that is silent from start to end
        although its reference is not.
      UsageError: museval is asked for and not installed.
    """
    shapes = {name: signal.shape for name, signal in references.items()}
    if len(set(shapes.values())) > 1:
        lengths = ', '.join(f'{name} {shape[0]}' for name, shape in shapes.items())
        raise TrackError(f'the references differ in their samples ({lengths}): make them the same length')
    num_samples = next(iter(shapes.values()))[0]
    sounding = [name for name in references if not is_silent(references[name])]
    if not sounding:
        raise TrackError('all references are silent from start to end: there is nothing to score')
    # The mixture, estimate of every stem, stays one array: its filters are then computed once.
    fitted = {id(signal): fit_length(signal, num_samples) for chosen in estimates for signal in chosen.values()}
    sets = [[fitted[id(chosen[name])] for name in sounding] for chosen in estimates]
    for chosen in sets:
        silent = [name for name, signal in zip(sounding, chosen, strict=True) if is_silent(signal)]
        if silent:
            raise TrackError(
                f'the estimate of {", ".join(silent)} is silent from start to end, its reference is not: BSSEval has '
                'no scores for silence; make the estimate again'
            )
    steps = int(window * sample_rate), int(hop * sample_rate)
    found = SCORERS[scorer]([references[name] for name in sounding], sets, *steps)
    places = [list(references).index(name) for name in sounding]
    scores = []
    for values in found:
        whole = np.full((len(METRICS), len(references), len(window_starts(num_samples, *steps))), np.nan)
        whole[:, places] = values
        scores.append(TrackScores(tuple(references), window, hop, whole))
    return scores


def fit_length(estimate: np.ndarray, num_samples: int) -> np.ndarray:
    """An estimate with the length of its reference, as museval makes it: cut at the end, or padded there with zeros."""
    missing = num_samples - len(estimate)
    return np.pad(estimate, [(0, missing), (0, 0)]) if missing > 0 else estimate[:num_samples]


def _score_ourselves(
    references: Sequence[np.ndarray], sets: Sequence[Sequence[np.ndarray]], window: int, hop: int
) -> list[np.ndarray]:
    prepared = BssEval(references)
    return [prepared.scores(estimates, window, hop) for estimates in sets]


def _score_by_museval(
    references: Sequence[np.ndarray], sets: Sequence[Sequence[np.ndarray]], window: int, hop: int
) -> list[np.ndarray]:
    metrics = load_museval()
    scores = []
    for estimates in sets:
        sdr, isr, sir, sar, _ = metrics.bss_eval(
            np.stack(references),
            np.stack(estimates),
            window=window,
            hop=hop,
            compute_permutation=False,
            framewise_filters=False,
            bsseval_sources_version=False,
        )
        found = {'SDR': sdr, 'ISR': isr, 'SIR': sir, 'SAR': sar}
        scores.append(np.stack([found[name] for name in METRICS]))
    return scores


SCORERS: dict[str, Scorer] = {'stembeam': _score_ourselves, 'museval': _score_by_museval}


def load_museval() -> ModuleType:
    """museval's module of metrics, alone: its package would want the programs of FFmpeg, which scores do not need.

    Raises:
      UsageError: museval is not installed.
    """
    package = importlib.machinery.PathFinder.find_spec('museval')
    if package is None or not package.submodule_search_locations:
        raise UsageError(
            "museval is not installed: run pip install 'stembeam[evaluate]', or take --scorer stembeam, "
            'which gives the same scores'
        )
    path = os.path.join(next(iter(package.submodule_search_locations)), 'metrics.py')
    spec = importlib.util.spec_from_file_location('stembeam_museval_metrics', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
