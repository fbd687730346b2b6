"""What an evaluation leaves for each track: museval's JSON, and the scores of every frame in Parquet.

Every field of the Parquet file carries its unit and its definition in its metadata. The one idea to know: the medians
of the table are computed from the JSON files, so they are what museval's own tools make of these files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ..model.evaluation.bsseval import METRICS
from ..model.evaluation.scores import TrackScores
from .feature_tables import printable
from .naming import track_path

SCORES_VERSION = '1'
SEPARATION, MIXTURE = 'separation', 'mixture'  # the sets of estimates that are scored
# museval's EvalStore.add_eval_dir takes such a folder, with the subset `test` in it.
FOLDERS = {SEPARATION: 'tracks', MIXTURE: 'mixture'}
FRAMES = 'frames'

_DEFINITIONS = {
    'SDR': 'Signal to distortion ratio: reference over all that the estimate differs from it by.',
    'SIR': 'Signal to interference ratio: filtered reference over what filters make of the other references.',
    'ISR': 'Image to spatial distortion ratio: reference over the difference between it and itself filtered.',
    'SAR': 'Signal to artifacts ratio: what filters make of all references over the rest of the estimate.',
}


def _field(name: str, kind: pa.DataType, unit: str, definition: str) -> pa.Field:
    return pa.field(name, kind, metadata={'unit': unit, 'definition': definition})


FRAMES_SCHEMA = pa.schema(
    [
        _field('track', pa.string(), '', 'The track, with its subset in front.'),
        _field('estimate', pa.string(), '', f'{SEPARATION!r}, or {MIXTURE!r} for the mixture taken as the estimate.'),
        _field('stem', pa.string(), '', 'Name of the stem.'),
        _field('frame', pa.int32(), '', 'Number of the frame in the track, from 0.'),
        _field('time', pa.float64(), 's', 'Start of the frame.'),
        _field('duration', pa.float64(), 's', 'Length of the frame.'),
        *(
            _field(
                name,
                pa.float64(),
                'dB',
                f'{_DEFINITIONS[name]} BSSEval v4, filters of 512 taps fitted to the whole track; null where a '
                'reference or an estimate is silent, infinite where nothing is wrong.',
            )
            for name in METRICS
        ),
    ],
    metadata={'stembeam_scores_version': SCORES_VERSION},
)


def track_files(track_id: str) -> dict[str, str]:
    """Paths relative to OUT: the JSON of either set of estimates, and the Parquet file."""
    path = track_path(track_id)
    return {
        **{kind: f'{folder}/{path}.json' for kind, folder in FOLDERS.items()},
        FRAMES: f'{FRAMES}/{path}.parquet',
    }


def museval_json(scores: TrackScores) -> bytes:
    """The content of museval's file for a track; frames without a score are NaN there, which museval reads."""
    return json.dumps(scores.to_museval(), indent=2).encode()


def frames_table(track_id: str, scores: Mapping[str, TrackScores]) -> pa.Table:
    """The scores of all frames of a track, unrounded: one row for each set of estimates, stem and frame."""
    columns: dict[str, list[Any]] = {name: [] for name in FRAMES_SCHEMA.names}
    for kind, found in scores.items():
        for index, stem in enumerate(found.stems):
            count = found.values.shape[2]
            columns['track'] += [printable(track_id)] * count
            columns['estimate'] += [kind] * count
            columns['stem'] += [stem] * count
            columns['frame'] += range(count)
            columns['time'] += (np.arange(count) * found.hop).tolist()
            columns['duration'] += [found.window] * count
            for metric in METRICS:
                columns[metric] += [None if math.isnan(value) else value for value in found.metric(metric)[index]]
    return pa.table(columns, schema=FRAMES_SCHEMA)
