"""Which tracks of which data sets are trained on, and which are kept for validation.

Stands on the listing of data sets. The one idea to know: tracks are divided, never chunks, so that no track is heard in
training and validated on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..model.errors import UsageError
from ..transforms.addresses import name_parts, shown, to_uri
from ..transforms.datasets import DatasetTrack, list_dataset
from ..transforms.training_shards import TRAIN, VALIDATION, ShardTrack

# As data sets call them.
TRAIN_SUBSETS, VALIDATION_SUBSETS, TEST_SUBSETS = {'train'}, {'valid', 'validation', 'dev'}, {'test'}
DEFAULT_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Selection:
    """What the options ask for; see `stembeam prepare --help`."""

    datasets: Sequence[str]
    subset: str | None = None
    validation: Sequence[str] = ()
    validation_subset: str | None = None
    validation_share: float | None = None
    data: str | None = None
    seed: int = 0
    allow_local: bool = False


class Selected(NamedTuple):
    """The tracks of a run."""

    tracks: list[ShardTrack]
    left_out: dict[str, int]  # subset of the data sets -> how many of its tracks are not used


class _Found(NamedTuple):
    dataset: str
    track: DatasetTrack


def select_tracks(selection: Selection) -> Selected:
    """The tracks to train on and to validate on, each with a name of its own.

    Raises:
      UsageError: no or contradictory data sets and subsets, or tracks that cannot be told apart.
    """
    if not selection.datasets:
        raise UsageError('no data set: name at least one')
    addresses = Counter(to_uri(text).rstrip('/') for text in [*selection.datasets, *selection.validation])
    twice = next((address for address, number in addresses.items() if number > 1), None)
    if twice is not None:
        raise UsageError(f'the data set {shown(twice)} is named twice: name it once')
    given = (selection.validation, selection.validation_subset, selection.validation_share is not None)
    if sum(map(bool, given)) > 1:
        raise UsageError('--validation, --validation-subset and --validation-share exclude each other: give one')
    if selection.subset is not None and selection.subset == selection.validation_subset:
        raise UsageError(f'subset {selection.subset!r} is both trained on and validated on: choose two')
    found = [_Found(d, track) for d in selection.datasets for track in _listed(d, selection)]
    train, validation, left_out = _divided(found, selection)
    for dataset in selection.validation:
        validation += [_Found(dataset, track) for track in _tracks_of(dataset, None, selection)]
    if not validation and not (selection.validation or selection.validation_subset):
        share = DEFAULT_SHARE if selection.validation_share is None else selection.validation_share
        train, validation = _shared_out(train, share, selection.seed)
    if not train:
        raise UsageError('all tracks are for validation, none to train on: choose another --subset')
    _check_apart(train, validation)
    names = _distinct_names([*train, *validation])
    subsets = [TRAIN] * len(train) + [VALIDATION] * len(validation)
    tracks = [
        ShardTrack(name, subset, item.dataset, item.track)
        for name, subset, item in zip(names, subsets, [*train, *validation], strict=True)
    ]
    return Selected(tracks, left_out)


def _listed(dataset: str, selection: Selection) -> list[DatasetTrack]:
    """All tracks of a data set, those of the subsets that were asked for among them."""
    asked = [subset for subset in (selection.subset, selection.validation_subset) if subset is not None]
    if not asked:
        return _tracks_of(dataset, None, selection)
    return [track for subset in asked for track in _tracks_of(dataset, subset, selection)]


def _tracks_of(dataset: str, subset: str | None, selection: Selection) -> list[DatasetTrack]:
    return list_dataset(dataset, subset, selection.data, selection.allow_local)


def _divided(found: Sequence[_Found], selection: Selection) -> tuple[list[_Found], list[_Found], dict[str, int]]:
    """To train on, to validate on, and how many of each subset are left."""
    train: list[_Found] = []
    validation: list[_Found] = []
    left: Counter[str] = Counter()
    for dataset in dict.fromkeys(item.dataset for item in found):
        items = [item for item in found if item.dataset == dataset]
        wanted, checked = _subsets({item.track.subset for item in items}, selection)
        for item in items:
            if item.track.subset in wanted:
                train.append(item)
            elif item.track.subset in checked:
                validation.append(item)
            else:
                left[item.track.subset] += 1
    return train, validation, dict(left)


def _subsets(there: set[str], selection: Selection) -> tuple[set[str], set[str]]:
    """The subsets of one data set to train on and to validate on."""
    if selection.validation_subset is not None:
        checked = {selection.validation_subset}
    elif selection.validation or selection.validation_share is not None:
        checked = set()
    else:
        checked = there & VALIDATION_SUBSETS
    if selection.subset is not None:
        return {selection.subset}, checked
    usual = there & TRAIN_SUBSETS or there - VALIDATION_SUBSETS - TEST_SUBSETS or there
    wanted = usual - {selection.validation_subset}
    return wanted, checked - wanted


def _shared_out(tracks: Sequence[_Found], share: float, seed: int) -> tuple[list[_Found], list[_Found]]:
    """Some of the tracks for validation: at least one of two or more, and the same ones for the same seed and names."""
    wanted = min(len(tracks) - 1, max(1, round(share * len(tracks)))) if share > 0 else 0
    ordered = sorted(tracks, key=lambda item: _lot([seed, item.track.subset, item.track.name]))
    chosen = {id(item) for item in ordered[:wanted]}
    return [t for t in tracks if id(t) not in chosen], [t for t in tracks if id(t) in chosen]


def _lot(content: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _check_apart(train: Iterable[_Found], validation: Iterable[_Found]) -> None:
    files = {source.uri for item in train for source in item.track.stems.values()}
    for item in validation:
        for source in item.track.stems.values():
            if source.uri in files:
                raise UsageError(
                    f'{shown(source.uri)} would be trained on and validated on: give different data sets or subsets'
                )


def _distinct_names(found: Sequence[_Found]) -> list[str]:
    """Names of the tracks; with the subset, then with the name of the data set in front where they are not distinct."""
    forms: list[Callable[[_Found], str]] = [
        lambda item: item.track.name,
        lambda item: _joined(item.track.subset, item.track.name),
        lambda item: _joined(name_parts(to_uri(item.dataset))[-1], item.track.subset, item.track.name),
    ]
    for form in forms:
        names = [form(item) for item in found]
        if len(set(names)) == len(names):
            return names
    twice = next(name for name, number in Counter(names).items() if number > 1)
    raise UsageError(f'two tracks are named {shown(twice)}: rename a data set, or name it once')


def _joined(*parts: str) -> str:
    return '/'.join(part for part in parts if part)
