from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stembeam.model.errors import UsageError
from stembeam.model.store import resolve_model

from ..conftest import TINY, write_model

DATA = Path(__file__).parents[1] / 'data' / 'parity'


def test_mini_comes_with_the_package() -> None:
    files = resolve_model('mini')
    assert files.config.instruments == ('vocals', 'drums', 'bass', 'other')
    files.check()


def test_a_spleeter_json_file_names_its_checkpoint_folder() -> None:
    files = resolve_model(DATA / 'tiny_5stems.json')
    assert files.config.model_type == 'unet.softmax_unet'
    assert Path(files.weights) == DATA / 'tiny_5stems'


def test_a_folder_of_a_published_model_needs_no_configuration(tmp_path: Path) -> None:
    shutil.copytree(DATA / 'tiny_2stems', tmp_path / '2stems')
    assert resolve_model(tmp_path / '2stems').config.instruments == ('vocals', 'accompaniment')


def test_the_fingerprint_follows_what_changes_the_stems_and_nothing_else(tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'model', TINY)
    before = resolve_model(folder).fingerprint
    config = folder / 'config.json'
    config.write_text(json.dumps({**TINY.to_json(), 'learning_rate': 1.0}))
    assert resolve_model(folder).fingerprint == before
    config.write_text(json.dumps({**TINY.to_json(), 'separation_exponent': 1}))
    assert resolve_model(folder).fingerprint != before
    config.write_text(json.dumps(TINY.to_json()))
    write_model(folder, TINY, seed=1)
    assert resolve_model(folder).fingerprint != before


@pytest.mark.parametrize('name', ['9stems', '/no/such/folder', ''])
def test_an_unknown_model_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r'unknown model .*mini'):
        resolve_model(name)


def test_a_folder_without_weights_or_with_an_unclear_configuration_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'model', TINY)
    (folder / 'weights.npz').unlink()
    with pytest.raises(UsageError, match=r'neither weights\.npz nor a checkpoint'):
        resolve_model(folder)
    (folder / 'config.json').rename(folder / 'a.json')
    shutil.copy(folder / 'a.json', folder / 'b.json')
    with pytest.raises(UsageError, match='not clear'):
        resolve_model(folder)


def test_a_json_file_without_a_model_folder_says_so(tmp_path: Path) -> None:
    path = tmp_path / 'model.json'
    path.write_text(json.dumps(TINY.to_json()))
    with pytest.raises(UsageError, match='model_dir is missing'):
        resolve_model(path)
