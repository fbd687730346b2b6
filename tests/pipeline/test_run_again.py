"""A second run into the same folder: what is complete is skipped, what has changed is made again, nothing stale stays.

The many runs share one loaded model: loading it is most of the work of so small a run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stembeam.model import separator
from stembeam.model.store import ModelFiles
from stembeam.pipeline.exit_status import OK, WITH_FAILURES
from stembeam.transforms.completion import record_path, write_record
from stembeam.transforms.manifest import joined_types
from stembeam.transforms.storage import Storage

from ..conftest import TINY, noise, write_model
from . import runs
from .runs import Run, files_below


@pytest.fixture(scope='module', autouse=True)
def _loaded_once() -> Iterator[None]:
    loaded: dict[Any, separator.ChunkSeparator] = {}
    load = separator.load_chunk_separator

    def load_once(files: ModelFiles, *arguments: Any) -> separator.ChunkSeparator:
        key = files.fingerprint, *arguments
        if key not in loaded:
            loaded[key] = load(files, *arguments)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separator, 'load_chunk_separator', load_once)
        yield


class Place:
    """Inputs and an output folder, for as many runs as a test wants."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.music = folder / 'music'
        self.music.mkdir()
        self.out = folder / 'out'
        self.model = model
        for seed, name in enumerate('ab'):
            self.write(f'{name}.wav', seed)

    def write(self, name: str, seed: int, seconds: float = 2) -> Path:
        soundfile.write(self.music / name, noise(seconds, seed=seed), 44100)
        return self.music / name

    def run(self, *options: str, inputs: Path | None = None, model: Path | None = None, features: bool = False) -> Run:
        some = () if features else ('--no-features',)
        return runs.separate([str(inputs or self.music)], self.out, model or self.model, *some, *options)

    def files(self, folder: str = 'stems') -> dict[str, tuple[int, int]]:
        """Size and time of change of every file."""
        return files_below(self.out / folder)


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path) -> Place:
    return Place(tmp_path, tiny_model)


def counts(run: Run) -> tuple[int, int, int]:
    """(done, skipped, failed), as run.json has them; the summary must say the same."""
    made = json.loads((run.out / 'run.json').read_text())
    found = made['done'], made['skipped'], made['failed']
    assert 'done {}, skipped {} (complete already), failed {}:'.format(*found) in run.printed
    return found


def tracks(run: Run) -> list[str]:
    return [row['track_id'] for row in run.rows('manifest-*.parquet')]


def test_what_is_complete_is_skipped(place):
    first = place.run(features=True)
    assert (first.status, counts(first)) == (OK, (2, 0, 0))
    files, manifest = {**place.files(), **place.files('features/frames')}, first.rows('manifest-*')
    features = first.rows('features/tracks-*')
    assert len(files) == 2 * (3 + 1)
    assert [(row['track_id'], row['stem']) for row in features] == [
        (track, stem) for track in 'ab' for stem in (*TINY.instruments, 'mixture')
    ]
    # Options that change no sample change nothing either.
    options = ['--workers', '1', '--chunks-per-segment', '1', '--batch-size', '4', '--no-progress']
    for again in (place.run(features=True), place.run(*options, features=True)):
        assert (again.status, counts(again)) == (OK, (0, 2, 0))
        assert {**place.files(), **place.files('features/frames')} == files
        assert (again.rows('manifest-*'), again.rows('features/tracks-*')) == (manifest, features)


def test_only_what_has_changed_is_made_again(place):
    for seed, name in enumerate('cdef'):
        place.write(f'{name}.wav', seed)
    place.run()
    before = place.files()
    place.write('a.wav', seed=5)
    os.utime(place.music / 'b.wav', (1, 1))
    (place.out / 'stems/c/drums.wav').unlink()
    os.truncate(place.out / 'stems/d/vocals.wav', 1000)
    record(place, 'e').unlink()
    again = place.run()
    assert (again.status, counts(again)) == (OK, (5, 1, 0))
    assert place.files().keys() == before.keys()
    changed = {name for name, state in place.files().items() if state != before[name]}
    assert changed == {f'{track}/{stem}.wav' for track in 'abcde' for stem in TINY.instruments}
    assert [soundfile.info(place.out / 'stems' / name).frames for name in before] == [88200] * len(before)
    assert counts(place.run()) == (0, 6, 0)


def test_other_options_replace_the_stems(place):
    place.run()
    for options, names in [
        (['--overwrite'], 'a/vocals.wav a/drums.wav a/other.wav b/vocals.wav b/drums.wav b/other.wav'),
        (['--offset', '0.5'], 'a/vocals.wav a/drums.wav a/other.wav b/vocals.wav b/drums.wav b/other.wav'),
        (['--sample-rate', '22050'], 'a/vocals.wav a/drums.wav a/other.wav b/vocals.wav b/drums.wav b/other.wav'),
        (['--format', 'flac'], 'a/vocals.flac a/drums.flac a/other.flac b/vocals.flac b/drums.flac b/other.flac'),
        (['--stems', 'vocals,drums'], 'a/vocals.wav a/drums.wav b/vocals.wav b/drums.wav'),
        (['--stems', 'vocals'], 'a/vocals.wav b/vocals.wav'),
        (['--stems', 'vocals', '--filename-format', '{instrument}/{track}.{codec}'], 'vocals/a.wav vocals/b.wav'),
    ]:
        before = place.files()
        again = place.run(*options)
        assert (again.status, counts(again)) == (OK, (2, 0, 0)), options
        assert place.files().keys() == set(names.split())
        assert all(state != before.get(name) for name, state in place.files().items())
        written = [path for row in again.rows('manifest-*') for _, path in row['stems']]
        assert sorted(written) == sorted(f'stems/{name}' for name in names.split())
    assert counts(place.run(*options)) == (0, 2, 0)


def test_features_come_and_go(place):
    place.run(features=True)
    without = place.run()
    assert counts(without) == (2, 0, 0)
    assert not list(place.out.glob('features/**/*.parquet'))
    assert [row['frames'] for row in without.rows('manifest-*')] == [None, None]
    again = place.run(features=True)
    assert counts(again) == (2, 0, 0)
    assert len(again.rows('features/tracks-*')) == 8


def test_another_model_makes_other_stems(place, tmp_path):
    (model,) = {row['model_sha256'] for row in place.run().rows('manifest-*')}
    before = place.files()
    other = write_model(tmp_path / 'other model', TINY, seed=1)
    again = place.run(model=other)
    assert counts(again) == (2, 0, 0)
    assert all(row['model_sha256'] != model for row in again.rows('manifest-*'))
    assert all(state != before[name] for name, state in place.files().items())
    # The same model in another folder is the same model.
    copy = write_model(tmp_path / 'a copy', TINY, seed=1)
    assert counts(place.run(model=copy)) == (0, 2, 0)


def listing(place: Place, name: str, rows: str) -> Path:
    path = place.music.parent / name
    path.write_text(rows.replace('MUSIC', str(place.music)))
    return path


def test_other_columns_of_the_listing_only_change_the_manifest(place):
    first = place.run(inputs=listing(place, 'a.csv', 'uri,year\nMUSIC/a.wav,1999\nMUSIC/b.wav,2001\n'))
    assert [row['year'] for row in first.rows('manifest-*')] == [1999, 2001]
    files = place.files()
    again = place.run(inputs=listing(place, 'b.csv', 'uri,year,mood\nMUSIC/a.wav,1998,sad\nMUSIC/b.wav,2001,\n'))
    assert counts(again) == (0, 2, 0)
    assert [(row['year'], row['mood']) for row in again.rows('manifest-*')] == [(1998, 'sad'), (2001, None)]
    assert place.files() == files
    # A run of other tracks keeps these columns, in whatever type holds both.
    place.write('c.wav', 7)
    third = place.run(inputs=listing(place, 'c.csv', 'uri,year\nMUSIC/c.wav,late\n'))
    rows = {row['track_id']: (row['year'], row['mood']) for row in third.rows('manifest-*')}
    assert rows == {'a': ('1998', 'sad'), 'b': ('2001', None), 'c': ('late', None)}


def test_columns_of_two_listings():
    former = {'n': 'int64', 'x': 'int64', 'old': 'bool', 'same': 'bool'}
    joined = joined_types(former, {'n': 'double', 'x': 'string', 'new': 'double', 'same': 'bool'})
    assert joined == {'n': 'double', 'x': 'string', 'old': 'bool', 'same': 'bool', 'new': 'double'}


def test_other_inputs_join_the_corpus(place, tmp_path):
    place.run(features=True)
    more = tmp_path / 'more'
    more.mkdir()
    soundfile.write(more / 'c.wav', noise(1, seed=9), 44100)
    again = place.run(inputs=more, features=True)
    assert counts(again) == (1, 0, 0)
    assert sorted(tracks(again)) == ['a', 'b', 'c']
    assert {row['track_id'] for row in again.rows('features/tracks-*')} == {'a', 'b', 'c'}
    assert len(place.files()) == 9
    assert counts(place.run(features=True)) == (0, 2, 0)


def record(place: Place, track: str) -> Path:
    return place.out / record_path(track)


def half(text: str) -> str:
    return text[: len(text) // 2]


def of_wrong_types(text: str) -> str:
    return json.dumps({name: [1] for name in json.loads(text)})


def with_another_number(text: str) -> str:
    return text.replace('88200', '88201')


def test_a_broken_record_is_made_again(place):
    damages = [
        lambda _: '',
        lambda _: 'garbage',
        lambda _: '[]',
        lambda _: '{}',
        half,
        of_wrong_types,
        with_another_number,
    ]
    for seed, _ in enumerate(damages):
        place.write(f'{seed}.wav', seed)
    place.run()
    for seed, damage in enumerate(damages):
        path = record(place, str(seed))
        path.write_text(damage(path.read_text()))
    # Not listed, it is no track of the corpus; listed, it is made.
    other = place.run(inputs=place.music / 'a.wav')
    assert (other.status, counts(other), sorted(tracks(other))) == (OK, (0, 1, 0), ['a', 'b'])
    again = place.run()
    assert (again.status, counts(again)) == (OK, (len(damages), 2, 0))
    assert len(tracks(again)) == len(damages) + 2
    assert counts(place.run()) == (0, len(damages) + 2, 0)


def test_records_are_plain_json(place):
    place.run()
    content = json.loads(record(place, 'b').read_text())
    assert (content['track_id'], content['status'], content['num_samples']) == ('b', 'done', 88200)
    checksum = content.pop('sha256')
    write_record(Storage.at(str(place.out)), content)
    assert json.loads(record(place, 'b').read_text())['sha256'] == checksum


def test_an_input_that_breaks_leaves_the_manifest(place):
    place.run()
    (place.music / 'b.wav').write_bytes(b'This is not audio any more.')
    again = place.run()
    assert (again.status, counts(again)) == (WITH_FAILURES, (0, 1, 1))
    assert tracks(again) == ['a']
    assert [(row['track_id'], row['stage']) for row in again.failures()] == [('b', 'plan')]
    # Whole again, it is back, and no failure is left.
    place.write('b.wav', seed=1)
    healed = place.run()
    assert (healed.status, counts(healed), tracks(healed), healed.failures()) == (OK, (1, 1, 0), ['a', 'b'], [])


def test_parts_and_unfinished_files_of_a_killed_run_are_removed(place):
    """Whatever a killed run left, and however the next run cuts its tracks."""
    place.run()
    key = record(place, 'b').stem
    (place.out / '.stembeam/parts' / key / 'former' / '0-0-9').mkdir(parents=True)
    stranger = place.out / '.stembeam/parts' / record_path('not listed')[-37:-5] / 'former'
    stranger.mkdir(parents=True)
    gone = place.out / '.stembeam/tmp' / f'{"0" * 32}-{nobody()}-{os.uname().nodename}'
    gone.mkdir()
    (gone / '0.wav').write_bytes(bytes(1000))
    assert place.run().status == OK
    assert os.listdir(place.out / '.stembeam/tmp') == []
    assert os.listdir(place.out / '.stembeam/parts') == [stranger.parent.name]


def nobody() -> int:
    """The id of a process that has ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_the_same_track_from_another_place_is_replaced(place, tmp_path):
    """A track's name is what counts: two folders with one track 'a' are two versions of it."""
    b = str(place.music / 'b.wav')
    before = place.run().read(b)
    other = tmp_path / 'other'
    other.mkdir()
    soundfile.write(other / 'a.wav', noise(1, seed=4), 44100)
    again = place.run(inputs=other)
    assert (counts(again), sorted(tracks(again))) == ((1, 0, 0), ['a', 'b'])
    assert again.by_uri().keys() == {str(other / 'a.wav'), str(place.music / 'b.wav')}
    assert len(again.read(str(other / 'a.wav'))['vocals']) == 44100
    for stem, samples in again.read(b).items():
        np.testing.assert_array_equal(samples, before[stem])
