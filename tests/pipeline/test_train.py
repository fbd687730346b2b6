"""`stembeam train` and `stembeam export` as commands: what they refuse at once, and what they leave."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stembeam.model.checkpoint import expected_variables, read_weights
from stembeam.model.configuration import load_config
from stembeam.model.separator import Separator
from stembeam.pipeline.cli import main
from stembeam.pipeline.exit_status import BAD_USAGE, OK

from ..conftest import TINY, noise, write_model
from ..model.training.songs import CONFIG, write_config, write_songs

PARITY = Path(__file__).parents[1] / 'data' / 'parity'


@pytest.fixture(scope='module')
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('songs')
    write_songs(folder)
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """The one line with which a command is refused."""
    assert main([str(argument) for argument in arguments]) == BAD_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        ({'F': 192}, 'F is 192: it must be a multiple of 64 and at most 129, the bins of frame_length 256'),
        ({'chunk_duration': 0.4}, 'chunks of 3200 samples are shorter than T = 64 frames (4288 samples)'),
        ({'loss_type': 'L2_mask'}, "loss_type is 'L2_mask': it must be one of L1_mask, weighted_L1_mask"),
        ({'instrument_list': ['low', 'voice']}, 'the column voice_path is missing'),
        ({'train_csv': None}, 'train_csv is missing: name the table of songs, or use --shards'),
        ({'train_csv': 'gone.csv'}, 'table gone.csv: neither in the working folder nor beside'),
        ({'train_max_steps': None}, 'train_max_steps is missing'),
        ({'lerning_rate': 1}, 'lerning_rate is not a known key: did you mean learning_rate?'),
        ({'training': {'gain_db': {'voice': [0, 1]}}}, 'training.gain_db names voice: the stems are low, high'),
    ],
)
def test_bad_configurations_are_refused_in_one_line(
    songs: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], message: str
) -> None:
    config = write_config(songs / 'bad.json', **{'train_csv': 'songs.csv', **keys})
    assert message in refused(capsys, 'train', '--config', config, '--data', songs, '-o', songs / 'model')
    assert not (songs / 'model').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ((), 'give either --shards FOLDER (made by stembeam prepare) or --data FOLDER'),
        (('--data', '.', '--shards', '.'), 'give either --shards'),
        (('--shards', 'nowhere'), 'shards nowhere: no index.json there: make shards with stembeam prepare'),
        (('--data', 'elsewhere'), 'line 2: elsewhere/song0/mix.wav is missing: check the table, and --data'),
        (('--data', '{songs}', '--init-from', '{songs}/lender'), 'its model.params.conv_n_filters is'),
        (('--data', '{songs}', '--init-from', 'nothing'), 'nothing'),
        (('--data', '{songs}', '--freeze', 'encoder'), 'would keep random weights: give --init-from'),
        (('--data', '{songs}', '--freeze', 'everything'), 'no such part: use encoder, decoder, norms or a stem'),
    ],
)
def test_bad_options_are_refused_in_one_line(
    songs: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    write_model(songs / 'lender', dataclasses.replace(TINY, frame_length=256, frame_step=64, bins=128))
    config = write_config(songs / 'good.json', train_csv='songs.csv')
    words = [option.format(songs=songs) for option in options]
    assert message in refused(capsys, 'train', '--config', config, '-o', songs / 'model', *words)


def test_a_model_folder_is_needed(songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(songs / 'good.json', train_csv='songs.csv')
    assert 'neither model_dir nor -o' in refused(capsys, 'train', '--config', config, '--data', songs)


def test_a_bad_configuration_stops_before_tensorflow_is_loaded(songs: Path) -> None:
    config = write_config(songs / 'bad.json', train_csv='songs.csv', chunk_duration=0.4)
    program = (
        'import sys; from stembeam.pipeline.cli import main; '
        f'status = main(["train", "--config", {str(config)!r}, "--data", {str(songs)!r}, "-o", "m"]); '
        'sys.exit(status if "tensorflow" not in sys.modules else 9)'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == BAD_USAGE, done.stderr


def test_help_and_keys_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['train', '--help']) == OK
    assert '--init-from' in capsys.readouterr().out
    assert main(['train', '--keys']) == OK
    assert 'weighted_L1_mask' in capsys.readouterr().out
    assert main(['export', '--help']) == OK


def test_an_exported_model_is_a_spleeter_checkpoint_with_identical_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    model = write_model(tmp_path / 'model', TINY, seed=3)
    assert main(['export', str(model), '-o', str(tmp_path / 'out')]) == OK
    assert 'step 0' in capsys.readouterr().out
    shapes = tf.train.load_checkpoint(str(tmp_path / 'out')).get_variable_to_shape_map()
    assert shapes.pop('global_step') == []
    assert {name: tuple(shape) for name, shape in shapes.items()} == expected_variables(TINY)
    assert {'checkpoint', 'model.index', 'model.data-00000-of-00001', 'config.json', '.probe'} == {
        path.name for path in (tmp_path / 'out').iterdir()
    }
    shutil.move(tmp_path / 'out', tmp_path / 'moved')
    song = noise(2.0)
    expected = Separator.load(model).separate(song, 44100)
    for path in (tmp_path / 'moved', tmp_path / 'moved' / 'config.json'):
        for stem, samples in Separator.load(path).separate(song, 44100).items():
            np.testing.assert_array_equal(samples, expected[stem])


def test_a_spleeter_checkpoint_survives_import_and_export(tmp_path: Path) -> None:
    source, config = PARITY / 'tiny_4stems.json', load_config(PARITY / 'tiny_4stems.json')
    assert main(['export', str(source), '-o', str(tmp_path / 'out')]) == OK
    before = read_weights(config, str(PARITY / 'tiny_4stems'))
    for name, value in read_weights(config, str(tmp_path / 'out')).items():
        np.testing.assert_array_equal(value, before[name])


def test_an_export_does_not_write_over_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / 'model', TINY)
    assert 'is there already' in refused(capsys, 'export', model, '-o', model)


def test_shards_of_stembeam_prepare_are_read_as_they_were_written(songs: Path, tmp_path: Path) -> None:
    shards = tmp_path / 'shards'
    words = ['--sample-rate', '8000', '--chunk-duration', '1', '--validation-share', '0.5', '--no-progress']
    assert main(['prepare', str(songs / 'songs.csv'), '-o', str(shards), '--with-mixture', *words]) == OK
    from stembeam.model.training.inputs import validation_batches
    from stembeam.model.training.plan import plan_run
    from stembeam.model.training.shards import ShardIndex, check_shards
    from stembeam.model.training.sources import ShardSource

    plan = plan_run(str(write_config(songs / 'shards.json')), shards=str(shards), output='unused')
    assert isinstance(plan.data, ShardIndex)
    check_shards(plan.data, CONFIG, CONFIG.frames)
    assert set(plan.data.stems) == {'low', 'high'}
    for subset in ('train', 'validation'):
        source = ShardSource(plan.data, subset, plan.data.has_mixture, 1 << 20)
        batches = list(validation_batches(source, CONFIG, plan.settings).as_numpy_iterator())
        assert sum(int((batch['mixture_gain'] > 0).sum()) for batch in batches) == source.records
        for batch in batches:
            stems = batch['waves'] * batch['gain'][:, :, np.newaxis, np.newaxis] / 32767
            mixture = batch['mixture'] * batch['mixture_gain'][:, np.newaxis, np.newaxis] / 32767
            np.testing.assert_allclose(stems.sum(axis=1), mixture, atol=1e-4)


def test_the_summary_of_a_run_and_of_a_finished_one(songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(songs / 'run.json', train_csv='songs.csv', validation_csv='songs.csv', train_max_steps=2)
    words = ['train', '--config', str(config), '--data', str(songs), '-o', str(songs / 'trained')]
    assert main(words) == OK
    printed = capsys.readouterr()
    assert 'finished at step 2' in printed.out
    assert 'step 0: validation loss' in printed.err
    assert main(words) == OK
    assert 'finished already, at step 2: nothing to do' in capsys.readouterr().out
    assert main(['export', str(songs / 'trained'), '-o', str(songs / 'exported')]) == OK
    step = json.loads((songs / 'trained' / 'training.json').read_text())['validation']['best_step']
    assert f'step {step}' in capsys.readouterr().out
    assert load_config(songs / 'exported' / 'config.json').instruments == CONFIG.instruments
