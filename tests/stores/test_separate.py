"""`separate` from and to a store: the same as on a disk, with a listing, a model and the output behind URLs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
import soundfile

from stembeam.pipeline import launch
from stembeam.pipeline.cli import main
from stembeam.pipeline.exit_status import BAD_USAGE, OK, WITH_FAILURES
from stembeam.pipeline.runners import place

from ..conftest import noise
from ..pipeline.runs import Run, separate
from .conftest import Store
from .corpus_on_s3 import measure

# What may differ between places: where something is, how it is known to be unchanged, and how long it took.
PLACES = {'uri', 'model', 'fingerprint', 'seconds'}


def wav(seconds: float, seed: int) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, noise(seconds, seed=seed), 44100, subtype='PCM_16', format='WAV')
    return content.getvalue()


SONGS = {'one.wav': wav(1.0, 1), 'live/two.wav': wav(2.5, 2), 'live/long.wav': wav(5.0, 3)}


def rows(content: bytes) -> list[dict[str, Any]]:
    found = pq.read_table(io.BytesIO(content)).to_pylist()
    return sorted(({k: v for k, v in row.items() if k not in PLACES} for row in found), key=lambda row: str(row))


def run(store: Store, inputs: list[str], model: str, options: str, *more: str) -> int:
    arguments = ['separate', *inputs, '-o', f'{store.root}/out', '--model', model, '--storage-options', options]
    return main([*arguments, '--workers', '2', '--chunks-per-segment', '2', '--no-progress', *more])


@pytest.fixture(scope='module')
def at_home(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Run:
    """The same run from disk to disk."""
    folder = tmp_path_factory.mktemp('home')
    for name, content in SONGS.items():
        (folder / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / 'in' / name).write_bytes(content)
    with open(folder / 'in' / 'list.csv', 'w', newline='') as file:
        csv.writer(file).writerows([['uri', 'year'], *([name, 1990] for name in SONGS), ['missing.wav', 1991]])
    return separate([str(folder / 'in/list.csv')], folder / 'out', tiny_model, '--chunks-per-segment', '2')


def test_as_on_a_disk(store: Store, tmp_path: Path, tiny_model: Path, at_home: Run, capfd: pytest.CaptureFixture[str]):
    for name, content in SONGS.items():
        store.put(f'in/{name}', content)
    listing = store.put('in/list.csv', (Path(at_home.out).parent / 'in/list.csv').read_bytes())
    for path in tiny_model.iterdir():
        store.put(f'models/tiny/{path.name}', path.read_bytes())
    options = store.write_options(tmp_path / 'options.json')
    fsspec.config.conf.clear()  # what a test has put in force would do as well
    fsspec.get_filesystem_class(store.protocol).clear_instance_cache()
    model = [f'{store.root}/models/tiny', options, '--model-store', str(tmp_path / 'models')]
    store.proxy.break_next('503', '^(PUT|POST).*(out/stems|/upload)', times=3)
    store.proxy.break_next('reset', 'long.wav', times=2)
    assert run(store, [listing], *model) == WITH_FAILURES

    found = store.find()
    stems = sorted(path.relative_to(at_home.out).as_posix() for path in at_home.out.glob('stems/**/*.wav'))
    assert sorted(path.removeprefix('out/') for path in found if path.endswith('.wav') and path.startswith('out/')) == (
        stems
    )
    assert len(stems) == 9
    for stem in stems:
        assert store.get(f'out/{stem}') == (at_home.out / stem).read_bytes()
    tables = [path for path in found if path.endswith('.parquet')]
    assert len(tables) == 5  # manifest, tracks, frames of three tracks
    for table in tables:
        local = (at_home.out / table.removeprefix('out/')).read_bytes()
        assert rows(store.get(table)) == rows(local)
    (failed,) = (path for path in found if 'failures' in path)
    (failure,) = map(json.loads, store.get(failed).splitlines())
    assert failure['uri'] == f'{store.root}/in/missing.wav'
    assert 'there is no such file' in failure['reason']
    said = json.loads(store.get('out/run.json'))
    assert said['options']['storage_options'] == options
    # aiohttp asks once more by itself where a connection that it had kept turns out to be gone.
    assert 3 <= said['store_retries'] <= 5
    told = f'retries    {said["store_retries"]} requests to object stores were tried again\n'
    assert told in capfd.readouterr().out
    assert main(['status', f'{store.root}/out', '--storage-options', options]) == OK
    assert told in capfd.readouterr().out
    assert not any(b'very secret' in store.get(path) for path in found if path.endswith(('.json', '.jsonl')))

    stems_before = {path: store.fs().info(f'{store.root}/{path}') for path in found if path.endswith('.wav')}
    assert run(store, [listing], *model) == WITH_FAILURES
    assert {path: store.fs().info(f'{store.root}/{path}') for path in stems_before} == stems_before
    said = json.loads(store.get('out/run.json'))
    assert (said['done'], said['skipped'], said['failed'], said['store_retries']) == (0, 3, 1, 0)
    printed = capfd.readouterr()
    assert 'tried again' not in printed.out
    assert 'very secret' not in printed.out + printed.err


@pytest.mark.slow
def test_worker_processes_get_the_options(s3: Store, tmp_path: Path, tiny_model: Path):
    """Their environment says nothing of the store, so they know of it by the job alone; they add to the same count."""
    for name, content in SONGS.items():
        s3.put(f'in/{name}', content)
    options = s3.write_options(tmp_path / 'options.json')
    more = ['--direct_running_mode', 'multi_processing', '--no-features']
    s3.proxy.break_next('503', r'^GET [^?]*one\.wav')  # a worker's
    s3.proxy.break_next('429', r'^PUT .*out/stems')
    s3.proxy.break_next('503', r'^PUT .*run\.json')  # the launcher's
    assert run(s3, [f'{s3.root}/in'], str(tiny_model), options, *more) == OK
    assert json.loads(s3.get('out/run.json'))['store_retries'] == 3
    assert sum(path.startswith('out/stems/') for path in s3.find()) == 9


def test_workers_elsewhere_count_by_beam(s3: Store, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, 'place', lambda *arguments: place(*arguments)._replace(is_local=False))
    s3.put('in/one.wav', SONGS['one.wav'])
    s3.proxy.break_next('503', r'^GET [^?]*one\.wav', times=2)  # a worker's
    s3.proxy.break_next('503', r'^PUT .*run\.json')  # the launcher's
    options = s3.write_options(tmp_path / 'options.json')
    assert run(s3, [f'{s3.root}/in'], str(tiny_model), options, '--no-features') == OK
    assert json.loads(s3.get('out/run.json'))['store_retries'] == 3


@pytest.mark.slow
def test_many_tracks_in_bounded_memory(s3_url: str, tmp_path: Path):
    """The measurement itself is `python -m tests.stores.corpus_on_s3 100000`; here it is the same with a few."""
    found = measure(tracks=40, workers=2, folder=tmp_path, again=False)
    assert found['run']['status'] == OK, found
    assert (found['run_json']['done'], found['run_json']['failed']) == (40, 0)
    assert found['run']['peak_mb'] < 2000


def test_a_store_that_cannot_be_reached(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], clean_configuration: None
):
    pytest.importorskip('s3fs')
    (tmp_path / 'o.json').write_text(json.dumps({'s3': {'endpoint_url': 'http://127.0.0.1:9', 'anon': True}}))
    (tmp_path / 'a.wav').write_bytes(SONGS['one.wav'])
    arguments = ['separate', str(tmp_path / 'a.wav'), '-o', 's3://b/out', '--model', str(tiny_model)]
    status = main([*arguments, '--storage-options', str(tmp_path / 'o.json'), '--storage-attempts', '2'])
    said = capsys.readouterr().err
    assert status == BAD_USAGE
    assert said.count('\n') == 1
    assert 'output folder s3://b/out cannot be written' in said
    assert 'tried 2 times' in said
