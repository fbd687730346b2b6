"""A track of a data set as plain data, and stems that are sums of other stems.

Stands on nothing. The one idea to know: `accompaniment` and `other` mean "all the rest", so what they are made of
depends on which stems there are and which are wanted beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...model.errors import UsageError

MIXTURE = 'mixture'
ACCOMPANIMENT, OTHER = 'accompaniment', 'other'
NOT_OTHER = ('vocals', 'drums', 'bass')  # what `other` never holds


class StemSource(NamedTuple):
    """Where the samples of a stem, or of the mixture, are."""

    uri: str  # absolute local path or fsspec URL
    stream: int | None = None  # which sound stream of a .stem.mp4, 0-based; None: the whole file

    def __str__(self) -> str:
        """For messages."""
        return self.uri if self.stream is None else f'{self.uri} (stream {self.stream})'


class DatasetTrack(NamedTuple):
    """One track of a data set."""

    name: str  # unique in its subset; '/' separates folders
    subset: str  # 'train', 'test', ...; '' where the data set is not divided
    mixture: StemSource | None
    stems: dict[str, StemSource]  # by name; whichever are there
    metadata: dict[str, Any]  # further columns of a manifest, as text


def derived_stems(
    available: Iterable[str], wanted: Iterable[str], allow_missing: bool = False
) -> dict[str, tuple[str, ...]]:
    """Of which stems to take the sum for each stem that is wanted.

    A stem of the same name is taken as it is. `accompaniment`, where there is none, is everything but vocals. `other`
    also takes in what is neither vocals, drums nor bass nor wanted by itself: the piano of a five-stem model where
    four are compared.

    Args:
      available: names of the stems that there are (of a track, or of a model whose estimates are compared).
      wanted: names of the stems to make.
      allow_missing: give no names for a stem that can neither be found nor made, in place of an error.

    Returns:
      Name of each wanted stem -> names of the stems to add up, in the order of `available`.

    Raises:
      UsageError: a stem that can neither be found nor made.

    >>> derived_stems(['vocals', 'drums', 'bass', 'other'], ['vocals', 'accompaniment'])
    {'vocals': ('vocals',), 'accompaniment': ('drums', 'bass', 'other')}
    >>> derived_stems(['vocals', 'piano', 'drums', 'bass', 'other'], ['bass', 'other'])
    {'bass': ('bass',), 'other': ('piano', 'other')}
    """
    there, wanted = list(available), list(wanted)
    rules = {
        ACCOMPANIMENT: lambda name: name != 'vocals',
        OTHER: lambda name: name not in (*NOT_OTHER, ACCOMPANIMENT) and (name == OTHER or name not in wanted),
    }
    parts: dict[str, tuple[str, ...]] = {}
    for stem in wanted:
        takes = rules.get(stem)
        if takes is None or (stem == ACCOMPANIMENT and stem in there):
            parts[stem] = (stem,) if stem in there else ()
        else:
            parts[stem] = tuple(name for name in there if takes(name))
        if not parts[stem] and not allow_missing:
            raise UsageError(
                f'there is no stem {stem!r} among {", ".join(there) or "no stems"}, and it is no sum of them: '
                'choose other stems, or add its files'
            )
    return parts


def summands(stems: Iterable[str]) -> tuple[str, ...]:
    """Those of the stems that add up to the mixture: all, but not an `accompaniment` beside what it is made of.

    >>> summands(['vocals', 'accompaniment', 'drums', 'other'])
    ('vocals', 'drums', 'other')
    """
    names = tuple(stems)
    parts = tuple(name for name in names if name != ACCOMPANIMENT)
    return parts if set(parts) - {'vocals'} else names
