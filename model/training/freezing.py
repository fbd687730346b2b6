"""Which layers stay as they are when a model is trained further."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..configuration import ModelConfig
from ..errors import UsageError
from .lending import Place

FREEZABLE = ('encoder', 'decoder', 'norms')


def check_freeze(freeze: Sequence[str], config: ModelConfig, borrowed: Collection[str]) -> None:
    """Raise UsageError unless every word names something borrowed, and something is left to train.

    Args:
      freeze: parts (`encoder`, `decoder`, `norms`: of all borrowed stems) and stems (all of their layers).
      config: of the model.
      borrowed: stems whose weights another model lends.
    """
    for word in freeze:
        if word not in FREEZABLE and word not in config.instruments:
            raise UsageError(
                f'--freeze {word}: no such part: use {", ".join(FREEZABLE)} or a stem ({", ".join(config.instruments)})'
            )
        if not borrowed or (word in config.instruments and word not in borrowed):
            raise UsageError(f'--freeze {word}: it would keep random weights: give --init-from a model that has it')
    whole = {'encoder', 'decoder'} <= set(freeze)
    if freeze and all(stem in borrowed and (whole or stem in freeze) for stem in config.instruments):
        raise UsageError(f'--freeze {" ".join(freeze)}: nothing is left to train: leave one out')


def is_frozen(place: Place, freeze: Collection[str], config: ModelConfig, borrowed: Collection[str]) -> bool:
    """Whether a layer is frozen: `encoder` and `decoder` include their norms, `decoder` the head; fresh stems never."""
    stem = config.instruments[place.stem]
    return stem in borrowed and (
        stem in freeze
        or ('encoder' if place.is_encoder else 'decoder') in freeze
        or ('norms' in freeze and place.kind == 'batch_normalization')
    )
