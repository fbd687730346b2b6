"""Features of stems by librosa's definitions, computed as a stream.

The names of the columns cost nothing to import; the extractor needs scipy and is imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .columns import (
    FEATURES_VERSION,
    FRAME_FEATURES,
    STATISTICS,
    TRACK_FEATURES,
    FrameFeature,
    TrackFeature,
    frame_times,
)

if TYPE_CHECKING:
    from .extractor import FeatureExtractor, StemFeatures

__all__ = [
    'FEATURES_VERSION',
    'FRAME_FEATURES',
    'STATISTICS',
    'TRACK_FEATURES',
    'FeatureExtractor',
    'FrameFeature',
    'StemFeatures',
    'TrackFeature',
    'frame_times',
]


def __getattr__(name: str) -> Any:
    """The extractor and its result, on first use."""
    if name in ('FeatureExtractor', 'StemFeatures'):
        from . import extractor

        return getattr(extractor, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
