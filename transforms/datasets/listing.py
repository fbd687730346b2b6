"""From the address of a data set to its tracks.

Stands on folders.py and addresses.py. Three forms are known: folders like `[subset/]<song>/<stem>.<ext>` (MUSDB18-HQ
among them), MUSDB18's `[subset/]<song>.stem.mp4`, and Spleeter's CSV manifest (manifest.py). The one idea to know: only
names are looked at here; a file that cannot be read is its track's trouble later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ...model.errors import UsageError
from ..addresses import AUDIO_EXTENSIONS, child_of, extension_of, name_parts, shown, to_uri
from ..folders import kind_of, list_folder
from ..listing import RESOURCE_FORK, check_file_system
from .manifest import read_manifest
from .tracks import MIXTURE, DatasetTrack, StemSource

SUBSETS = ('train', 'test', 'valid', 'validation', 'dev')  # names of folders that divide a data set
MIXTURE_NAMES = (MIXTURE, 'mix')
STEM_MP4 = '.stem.mp4'
# MUSDB18 (Rafii et al., 2017): the order of the sound streams in its .stem.mp4 files.
MUSDB_STREAMS = (MIXTURE, 'drums', 'bass', 'other', 'vocals')


def list_dataset(
    address: str, subset: str | None = None, data: str | None = None, allow_local: bool = False
) -> list[DatasetTrack]:
    """All tracks of a data set, ordered by subset and name.

    Args:
      address: a folder, a .stem.mp4 file or a CSV manifest; a local path or any fsspec URL.
      subset: only the tracks of this subset; None for all. A subset is one of SUBSETS, or the first folder of this
        name. In manifests it is the first folder of a relative path.
      data: folder to which relative paths of a manifest belong; None for the manifest's own folder.
      allow_local: see `read_manifest`.

    Raises:
      UsageError: no such data set, no songs in it, a form that is not known, or tracks that cannot be told apart.
    """
    uri = to_uri(address)
    check_file_system(uri)
    kind = kind_of(uri)
    subsets = SUBSETS if subset is None else (*SUBSETS, subset)
    if kind == 'folder':
        tracks = _tracks_of_folder(uri.rstrip('/') or '/', subsets)
    elif kind is None:
        raise UsageError(f'the data set {shown(address)} does not exist; check the path')
    elif uri.lower().endswith(STEM_MP4):
        tracks = [_stem_mp4(uri, '')]
    elif extension_of(uri) == '.csv':
        tracks = read_manifest(uri, data, subsets, allow_local)
    else:
        raise UsageError(
            f'{shown(address)} is no data set; name a folder of songs, a {STEM_MP4} file or a .csv manifest'
        )
    return _chosen(address, tracks, subset)


def _chosen(address: str, tracks: Sequence[DatasetTrack], subset: str | None) -> list[DatasetTrack]:
    """The tracks of the subset, in order, each name once."""
    names = Counter((track.subset, track.name) for track in tracks)
    twice = next((key for key, number in names.items() if number > 1), None)
    if twice is not None:
        raise UsageError(f'{shown(address)} has two tracks named {shown("/".join(filter(None, twice)))}; rename one')
    chosen = sorted((t for t in tracks if subset in (None, t.subset)), key=lambda t: (t.subset, t.name))
    if not chosen:
        there = ', '.join(sorted({track.subset or 'tracks without one' for track in tracks}))
        raise UsageError(f'{shown(address)} has no subset {subset!r}, only {there}; choose another --subset')
    return chosen


def _tracks_of_folder(folder: str, subsets: Sequence[str]) -> list[DatasetTrack]:
    songs: dict[str, list[str]] = {}
    tracks = []
    for relative in sorted(list_folder(folder)):
        name = relative.rpartition('/')[2]
        if name.startswith(RESOURCE_FORK[:2]):
            continue
        if name.lower().endswith(STEM_MP4):
            tracks.append(_stem_mp4(child_of(folder, relative), _subset_of(relative, subsets)))
        elif extension_of(name) in AUDIO_EXTENSIONS:
            songs.setdefault(relative.rpartition('/')[0], []).append(name)
    if '' in songs:
        raise UsageError(
            f'{shown(folder)} holds sound files itself ({shown(songs[""][0])}); a data set has one folder for each '
            'song with one file for each stem: name the folder above, or move them'
        )
    if not songs and not tracks:
        raise UsageError(
            f'no songs in the data set {shown(folder)}; it must hold [subset/]<song>/<stem>.wav, or *{STEM_MP4}'
        )
    return tracks + [_song(folder, song, files, subsets) for song, files in songs.items()]


def _subset_of(relative: str, subsets: Iterable[str]) -> str:
    first, slash, _ = relative.partition('/')
    return first if slash and first in subsets else ''


def _song(folder: str, song: str, files: Sequence[str], subsets: Sequence[str]) -> DatasetTrack:
    """The track of one song's folder."""
    subset = _subset_of(song, subsets)
    sources: dict[str, StemSource] = {}
    for file in files:
        stem = name_parts(file)[-1].lower()
        stem = MIXTURE if stem in MIXTURE_NAMES else stem
        if stem in sources:
            raise UsageError(
                f'{shown(child_of(folder, song))} has two files for {shown(stem)}, the second is {shown(file)}; '
                'remove one'
            )
        sources[stem] = StemSource(child_of(folder, f'{song}/{file}'))
    mixture = sources.pop(MIXTURE, None)
    return DatasetTrack(song.removeprefix(f'{subset}/') if subset else song, subset, mixture, sources, {})


def _stem_mp4(uri: str, subset: str) -> DatasetTrack:
    name = uri.rstrip('/').rpartition('/')[2][: -len(STEM_MP4)]
    sources = {stem: StemSource(uri, stream) for stream, stem in enumerate(MUSDB_STREAMS)}
    return DatasetTrack(name, subset, sources.pop(MIXTURE), sources, {})
