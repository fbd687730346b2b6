"""Training shards: chunks of the tracks of data sets, shuffled, in TFRecord files with an index.

Two stages: every track is decoded once, checked and cut into records, which wait in a file of their own (chunks.py);
then every shard picks its records from those files, in random order (shards.py). The index comes last (index.py): a
folder without one is not prepared.
"""

from __future__ import annotations

from .checks import Limits, Problem
from .index import is_prepared, read_index, read_reasons, write_index
from .job import INDEX, REPORT, SUBSETS, TRAIN, VALIDATION, PrepareJob, ShardTrack
from .shards import WriteTrainingShards

__all__ = [
    'INDEX',
    'REPORT',
    'SUBSETS',
    'TRAIN',
    'VALIDATION',
    'Limits',
    'PrepareJob',
    'Problem',
    'ShardTrack',
    'WriteTrainingShards',
    'is_prepared',
    'read_index',
    'read_reasons',
    'write_index',
]
