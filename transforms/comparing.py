"""Which stems of a data set and of a model are compared, where the two divide music differently."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..model.errors import TrackError
from ..model.method import RESIDUAL
from .datasets import derived_stems, summands

_ORDER = ('vocals', 'piano', 'drums', 'bass', 'other', 'accompaniment', RESIDUAL)


class ComparedStem(NamedTuple):
    """A stem with the names of what is added up for its reference, and for its estimate."""

    name: str
    references: tuple[str, ...]
    estimates: tuple[str, ...]


def usual_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of stems as tables have them: known ones first, others by name.

    >>> usual_order(['bass', 'strings', 'vocals'])
    ('vocals', 'bass', 'strings')
    """
    return tuple(sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)))


def compared_stems(references: Iterable[str], estimates: Iterable[str]) -> list[ComparedStem]:
    """Which stems to compare, where a data set and a model divide music differently.

    A model of vocals and accompaniment is compared on these two; the piano of a five-stem model is added to its other
    stem where the data set has four; `residual` is compared with all that the other stems leave.

    Raises:
      TrackError: estimates that do not make up all of the references, or the other way round.

    >>> [stem.name for stem in compared_stems(['bass', 'drums', 'other', 'vocals'], ['vocals', 'accompaniment'])]
    ['vocals', 'accompaniment']
    """
    there, made = summands(references), tuple(estimates)
    stems = tuple(name for name in made if name != RESIDUAL)
    named = derived_stems(there, stems, allow_missing=True)
    for wanted in (tuple(name for name in stems if named[name]), there):
        ours = derived_stems(stems, wanted, allow_missing=True)
        theirs = derived_stems(there, wanted, allow_missing=True)
        left = tuple(name for name in there if not any(name in parts for parts in theirs.values()))
        if RESIDUAL in made and left:
            ours[RESIDUAL], theirs[RESIDUAL] = (RESIDUAL,), left
            left = ()
        idle = [name for name in stems if not any(name in parts for parts in ours.values())]
        if not left and not idle and all(ours.values()) and all(theirs.values()):
            return [ComparedStem(name, theirs[name], ours[name]) for name in ours]
    missing = [name for name, parts in derived_stems(stems, there, allow_missing=True).items() if not parts]
    lacking = f'no estimate of {", ".join(missing)}' if missing else f'no reference for {", ".join(idle)}'
    raise TrackError(
        f'{lacking}: the estimates ({", ".join(made) or "none"}) and the references ({", ".join(there) or "none"}) '
        'must divide the same music: add the missing files, or use another model'
    )
