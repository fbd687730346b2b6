"""On runners elsewhere, workers read the model from the output folder: launch puts it there, local runs do not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile

from stembeam.model import store
from stembeam.model.separator import Separator
from stembeam.model.store import ModelFiles, stage_model
from stembeam.pipeline import checks, launch
from stembeam.pipeline.exit_status import BAD_USAGE, OK, RUN_FAILED
from stembeam.pipeline.runners import place

from ..conftest import TINY, noise, write_model
from .runs import separate

STAGED = '.stembeam/models'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of the test's own, because it will be gone for the workers."""
    return write_model(tmp_path / 'fetched' / 'own', TINY, seed=7)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / 'song.wav', noise(2), 44100, subtype='FLOAT')
    return tmp_path / 'song.wav'


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ModelFiles]:
    """Every placement says that it is not local; once the model is staged, the store and all ways to it are gone."""
    staged = []

    def stage_and_leave(files: ModelFiles, folder: str) -> ModelFiles:
        staged.append(stage_model(files, folder))
        shutil.rmtree(tmp_path / 'fetched')
        monkeypatch.setattr(checks, 'resolve_model', never)
        monkeypatch.setattr(store.resolving, 'fetch_archive', never)
        monkeypatch.setattr(store.resolving, 'copy_remote', never)
        return staged[-1]

    def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError('workers looked for a model')

    monkeypatch.setattr(launch, 'place', lambda *arguments: place(*arguments)._replace(is_local=False))
    monkeypatch.setattr(launch, 'stage_model', stage_and_leave)
    return staged


@pytest.mark.parametrize('out', ['disk', 'memory'])
def test_workers_elsewhere_read_the_model_from_the_output_folder(tmp_path, model, song, elsewhere, out):
    expected = Separator.load(model).separate(*soundfile.read(song, dtype='float32'))
    root: Any = tmp_path / 'out' if out == 'disk' else f'memory://{tmp_path.name}/out'
    options = ['--format', 'wav-float', '--no-features', '--batch-size', '2']  # another batch, another loaded model
    source = str(song) if out == 'disk' else f'memory://{tmp_path.name}/song.wav'  # where OUT is, inputs must be
    if out == 'memory':
        fsspec.filesystem('memory').pipe_file(f'{tmp_path.name}/song.wav', song.read_bytes())
    run = separate([source], root, model, *options)
    assert run.status == OK
    (files,) = elsewhere
    assert files.weights.startswith(f'{root}/{STAGED}/')
    if out == 'disk':
        for name, stem in run.read(str(song)).items():
            np.testing.assert_allclose(stem, expected[name], rtol=0, atol=1e-6)
        assert run.rows('manifest-*')[0]['model_sha256'] == files.fingerprint


def test_the_staged_model_has_the_same_results(tmp_path, tiny_model, song, monkeypatch):
    """A track that was made here is complete for a run elsewhere."""
    assert separate([str(song)], tmp_path / 'out', tiny_model, '--no-features').status == OK
    assert not (tmp_path / 'out' / STAGED).exists()
    monkeypatch.setattr(launch, 'place', lambda *arguments: place(*arguments)._replace(is_local=False))
    run = separate([str(song)], tmp_path / 'out', tiny_model, '--no-features')
    assert 'done 0, skipped 1 (complete already)' in run.printed


def test_a_model_that_cannot_be_fetched_ends_the_run_in_one_line(tmp_path, song, capsys):
    options = ['--model-store', str(tmp_path / 'store'), '--model-mirror', str(tmp_path / 'mirror')]
    assert separate([str(song)], tmp_path / 'out', Path('spleeter:2stems'), *options).status == RUN_FAILED
    said = capsys.readouterr().err
    assert said.startswith(f'stembeam: model 2stems is not in {tmp_path / "store"}, and {tmp_path / "mirror"}/2stems')
    assert '--model mini' in said
    assert said.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_nothing_is_staged_for_bad_usage(tmp_path, model, song, elsewhere):
    assert separate([str(song)], tmp_path / 'out', model, '--overlap', '0.49').status == BAD_USAGE
    assert elsewhere == []


def test_a_staged_model_that_is_gone_ends_the_run_in_one_line(tmp_path, model, song, monkeypatch, capsys):
    def lose(files: ModelFiles, folder: str) -> ModelFiles:
        staged = stage_model(files, folder)
        Path(staged.weights).unlink()
        return staged

    monkeypatch.setattr(launch, 'place', lambda *arguments: place(*arguments)._replace(is_local=False))
    monkeypatch.setattr(launch, 'stage_model', lose)
    assert separate([str(song)], tmp_path / 'out', model, '--batch-size', '3').status == RUN_FAILED
    said = capsys.readouterr().err
    assert said.startswith('stembeam: weights ')
    assert 'give workers access to the output folder' in said
    assert said.count('\n') == 1
