"""Models by name, folder or URL: found, fetched, checked, and put where workers read them.

`resolve_model` is the way in; it gives a `ModelFiles`. `stage_model` puts one where a cluster's workers read it.
"""

from .files import BUNDLED, CONFIGS, ModelFiles, bundled_models
from .resolving import DEFAULT_MODEL, find_unfetched, is_unfetched, known_models, resolve_model
from .staging import stage_model

__all__ = [
    'BUNDLED',
    'CONFIGS',
    'DEFAULT_MODEL',
    'ModelFiles',
    'bundled_models',
    'find_unfetched',
    'is_unfetched',
    'known_models',
    'resolve_model',
    'stage_model',
]
