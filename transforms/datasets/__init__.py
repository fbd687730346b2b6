"""Data sets of isolated stems: which tracks they hold, where every stem's samples are, and how to read them.

Stands on the listing, probing and decoding of audio files. The one idea to know: whatever the form of a data set
(folders, MUSDB18's .stem.mp4 files, Spleeter's CSV manifest), it becomes `DatasetTrack`s whose stems are `StemSource`s,
an audio file or one sound stream of one.
"""

from __future__ import annotations

from .listing import SUBSETS, list_dataset
from .reading import read_blocks, read_source, source_info
from .tracks import DatasetTrack, StemSource, derived_stems, summands

__all__ = [
    'SUBSETS',
    'DatasetTrack',
    'StemSource',
    'derived_stems',
    'list_dataset',
    'read_blocks',
    'read_source',
    'source_info',
    'summands',
]
