from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stembeam.model.checkpoint import WEIGHTS_FILE, write_npz
from stembeam.pipeline.cli import COMMANDS, main
from stembeam.pipeline.exit_status import BAD_USAGE, OK

from ..conftest import TINY, noise, random_weights, write_model
from ..transforms.audio_files import write

PARITY = Path(__file__).parents[1] / 'data' / 'parity'


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with inputs and models, most of them wrong."""
    home = tmp_path_factory.mktemp('usage')
    for path in (
        'music/a.wav',
        'music/b.wav',
        'twins/song.wav',
        'twins/song.mp3',
        'twins/more/song.wav',
        'old/stems/vocals.wav',
    ):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        write(home / path, 'mp3' if path.endswith('mp3') else 'wav16', noise(0.1), 44100)
    (home / 'empty').mkdir()
    (home / 'papers').mkdir()
    (home / 'papers' / 'cover.pdf').write_text('not music')
    (home / 'a_file').write_text('in the way')
    (home / 'lines.txt').write_text('\n')
    (home / 'wrong.csv').write_text('path,genre\nmusic/a.wav,Rock\n')
    (home / 'rows.csv').write_text('uri,track_id\nmusic/a.wav,one\nmusic/b.wav,one\n')
    (home / 'wrong.jsonl').write_text('{"uri": "music/a.wav"}\n{"uri": 7}\n')
    _write_models(home / 'models')
    return home


def _write_models(models: Path) -> None:
    write_model(models / 'tiny', TINY)
    weights = random_weights(TINY)
    for name, wrong in (
        ('lacking', {name: value for name, value in weights.items() if name != 'conv2d_3/kernel'}),
        ('misshapen', {**weights, 'conv2d_3/bias': np.zeros(5, np.float32)}),
        ('diverged', {**weights, 'conv2d_3/bias': np.full(4, np.nan, np.float32)}),
    ):
        write_npz(str(write_model(models / name, TINY) / WEIGHTS_FILE), wrong)
    (write_model(models / 'cut', TINY) / WEIGHTS_FILE).write_bytes(b'PK\x03\x04')
    (write_model(models / 'bare', TINY) / WEIGHTS_FILE).unlink()
    shutil.copytree(PARITY / 'tiny_2stems', models / 'checkpoint')
    for name, change in (('wider', {'conv_n_filters': [2, 4, 8, 16, 32, 32]}), ('more', {'stems': ['a', 'b', 'c']})):
        config = json.loads((PARITY / 'tiny_2stems.json').read_text())
        config['model_dir'] = 'checkpoint'
        config['instrument_list'] = change.get('stems', config['instrument_list'])
        config['model']['params'].update({key: value for key, value in change.items() if key != 'stems'})
        (models / f'{name}.json').write_text(json.dumps(config))
    for name, text in (('broken', '{"instrument_list": '), ('bins', '{"instrument_list": ["a", "b"], "F": 1000}')):
        (models / f'{name}.json').write_text(text)


# Arguments after `separate`, to which `-o out --model models/tiny` is added unless they say otherwise -> the message.
WRONG_INPUTS = {
    '': 'no input; name audio files, folders',
    'nowhere': 'nowhere does not exist; check the path',
    'nowhere --model 4stems --model-store fetched --model-mirror no': 'nowhere does not exist',  # before fetching
    'nowhere/': 'the folder nowhere/ does not exist; check the path',
    'empty': r'no audio in the folder empty \(found nothing\); check the path',
    'papers': r'no audio in the folder papers \(found 1 .pdf\); check the path, or name the files themselves',
    'music/*.flac': r'no audio in the pattern music/\*.flac',
    'lines.txt': 'lines.txt lists no tracks; add at least one',
    'nowhere.txt': 'nowhere.txt does not exist; check the ',
    'wrong.csv': r'wrong.csv has no column uri \(its columns: path, genre\); rename the one with the paths',
    'wrong.jsonl': 'wrong.jsonl, line 2: the uri is 7, not text; write a path or URL',
    'rows.csv': 'music/a.wav and .*music/b.wav have the track_id one in common; tell them apart',
    'twins': 'twins/song.mp3 and .*twins/song.wav have the name song in common; tell them apart',
    'gopher://host/a.wav': 'cannot read gopher://host/a.wav: ',
}
WRONG_OUTPUTS = {
    'music -o a_file': r'output folder .*/a_file cannot be written \(.*\): choose another with -o',
    'music -o a_file/out': r'output folder .*/a_file/out cannot be written \(.*\): choose another with -o',
    'music -o /dev/null/out': r'output folder /dev/null/out cannot be written \(.*\): choose another with -o',
    'music -o /proc/out': r'output folder /proc/out cannot be written \(.*\): choose another with -o',
    'music -o gopher://host/out': r'output folder gopher://host/out cannot be written \(.*\): choose another with -o',
    'music -o ': 'no output folder: name one with -o',
    'music -o ./music/': 'music is both input and output folder: choose another with -o, one in it will do',
    'old/stems/vocals.wav -o old --filename-format {instrument}.{codec}': (
        'the input .*/old/stems/vocals.wav would be overwritten by a stem: choose another folder with -o'
    ),
    'music --filename-format {instrument}.{codec}': (
        'music/a.wav and .*music/b.wav would both write vocals.wav; use {track} in the filename format'
    ),
    'twins/song.wav twins/more --filename-format {filename}/{instrument}.{codec}': 'would both write song/vocals.wav',
    'music --filename-format {track}.{codec}': r'has no {instrument}, so all stems would be one file; use for example',
    'music --filename-format {artist}/{instrument}.{codec}': 'has the unknown field {artist}; the fields are',
    'twins/song.wav twins/more --layout spleeter': (
        'would both write song/vocals.wav; use {track} in the filename format, or tell them apart'
    ),
    'music --layout spleeter --filename-format .stembeam/{track}-{instrument}.{codec}': (
        'the stems of .*music/a.wav would go to .stembeam/a-vocals.wav, where records of the run are: '
        'choose another --filename-format, or --layout stembeam'
    ),
    'old/stems/vocals.wav -o old --layout spleeter -f stems/{instrument}.{codec}': (
        'the input .*/old/stems/vocals.wav would be overwritten by a stem: choose another folder with -o'
    ),
    'music --filename-format ../{track}/{instrument}.{codec}': 'leaves the output folder',
}
WRONG_MODELS = {
    'music --model nano': "unknown model 'nano': use one of mini, 2stems, .*, 5stems-16kHz, the folder of a model",
    'music --model empty': r'model empty: its configuration is not clear \(0 JSON files, none named config.json\)',
    'music --model models/bare': 'model models/bare: neither weights.npz nor a checkpoint is in models/bare',
    'music --model models/lacking': 'missing conv2d_3/kernel.*: use the configuration file',
    'music --model models/misshapen': r'wrong shape: conv2d_3/bias \[5\] instead of \[4\].*: use the config',
    'music --model models/diverged': 'NaN or infinity in conv2d_3/bias: .* take another checkpoint',
    'music --model models/cut': 'weights.npz cannot be read .*: copy the model again',
    'music --model models/wider.json': r'wrong shape: conv2d_5/kernel \[5, 5, 32, 64\] instead of \[5, 5, 32, 32\]',
    'music --model models/more.json': r'checkpoint do not fit .*missing conv2d_14/kernel.*: use the configuration file',
    'music --model models/broken.json': 'model configuration models/broken.json: Expecting value',
    'music --model models/bins.json': 'models/bins.json: F is 1000: it must be a multiple of 64',
    'music --stems vocals,drum': (
        "model models/tiny: stems names 'drum', which the model does not have: choose from vocals, drums, other"
    ),
    'music --stems ,': 'model models/tiny: stems is empty: name at least one of vocals, drums, other',
    'music --masks direct --mwf': r'model models/tiny: masks is direct, but the Wiener filter .*: use ratio',
    'music --overlap 0.5': 'model models/tiny: overlap is 0.5: it must be at least 0 and below 0.5',
    'music --overlap 0.49': r'model models/tiny: overlap is 0.49, .*: it must be at most 0.4\d\d for this model',
}
WRONG_FORMATS = {
    'music --format aac': "format 'aac' is not known: use one of wav, wav24, wav-float, flac",
    'music --bitrate 128k': "format 'wav' is lossless and has no bitrate: leave bitrate out or use one of mp3, ogg",
    'music --format mp3 --bitrate fast': "bitrate 'fast' cannot be read: give bits per second, such as 128k",
    'music --format mp3 --bitrate 100k': 'bitrate 100k does not exist for mp3 .* at 44100 Hz: use one of 64000',
    'music --format mp3 --sample-rate 96000': "format 'mp3' cannot hold a sample rate of 96000 Hz: use one of 8000",
    'music --sample-rate 1000': 'features .* 1000 .*from 4000 to 384000 Hz: .*--no-features',
    'music --sample-rate 400000': 'features .* 400000 .*from 4000 to 384000 Hz: .*--no-features',
    'music --sample-rate 0': "--sample-rate: '0' is not .*1 or more",
    'music --sample-rate 44.1k': "--sample-rate: .*'44.1k'",
}
WRONG_OPTIONS = {
    'music --formt wav': 'unrecognized arguments: --formt wav: see stembeam separate --help',
    'music --runer DirectRunner': 'unrecognized arguments: --runer DirectRunner: see stembeam separate --help',
    'music --num_worker 3': 'unrecognized arguments: --num_worker 3',
    'music --runner DaskRunner': 'runner DaskRunner is not supported: it loses outputs silently: use a local run',
    'music --runner WarpRunner': 'runner WarpRunner cannot be used: .*; or leave --runner out to run on this machine',
    'music --runner no.such.Runner': "runner no.such.Runner cannot be used: No module named 'no'; or leave",
    'music --runner os.path.Runner': "runner os.path.Runner cannot be used: module '.*path' has no attribute",
    'music --direct_running_mode warp': "--direct_running_mode: invalid choice: 'warp'",
    'music --decoder ffmpeg': "--decoder: invalid choice: 'ffmpeg'",
    'music --workers 0': "--workers: '0' is not .*1 or more",
    'music --workers two': "--workers: .*'two'",
    'music --duration 0': '--duration: 0 seconds would separate nothing',
    'music --duration nan': "--duration: 'nan' is not a number of seconds",
    'music --offset -1': "--offset: '-1' is not a number of seconds",
    'music --offset': '--offset: expected one argument',
}  # fmt: skip


def check_refused(status: int, said: tuple[str, str], message: str) -> None:
    printed, complaint = said
    assert status == BAD_USAGE, complaint
    assert printed == ''
    assert complaint.startswith('stembeam: ')
    assert complaint.count('\n') == 1
    assert complaint.endswith('\n')
    assert 'Traceback' not in complaint
    assert re.search(message, complaint), complaint


def tree(folder: Path) -> set[str]:
    return {os.path.join(parent, name) for parent, folders, names in os.walk(folder) for name in [*folders, *names]}


def arguments_of(line: str) -> list[str]:
    words = line.split(' ') if line else []
    return [
        'separate',
        *words,
        *([] if '-o' in words else ['-o', 'out']),
        *([] if '--model' in words else ['--model', 'models/tiny']),
    ]


@pytest.mark.parametrize(
    ('line', 'message'),
    [*(WRONG_INPUTS | WRONG_OUTPUTS | WRONG_MODELS | WRONG_FORMATS | WRONG_OPTIONS).items()],
    ids=[*(WRONG_INPUTS | WRONG_OUTPUTS | WRONG_MODELS | WRONG_FORMATS | WRONG_OPTIONS)],
)
def test_is_refused_before_anything_is_written(home, monkeypatch, capsys, line, message):
    monkeypatch.chdir(home)
    before = tree(home)
    status = main(arguments_of(line))
    check_refused(status, capsys.readouterr(), message)
    assert tree(home) == before


@pytest.mark.skipif(importlib.util.find_spec('tensorflow_io') is not None, reason='tensorflow-io is installed here')
def test_tfio_without_tensorflow_io(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    status = main(arguments_of('music --decoder tfio'))
    check_refused(status, capsys.readouterr(), '--decoder tfio: tensorflow-io is not installed: pip install')
    assert not (home / 'out').exists()


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('music --formt wav', 'unrecognized arguments: --formt wav'),
        ('music --model models/wider.json', 'wrong shape: conv2d_5/kernel'),
        ('music -o a_file', 'output folder'),
    ],
)
def test_the_command_itself_says_one_line(home, line, message):
    """Here and not in-process: libraries write to the standard error of the process as well."""
    command = [sys.executable, '-m', 'stembeam.pipeline.cli', *arguments_of(line)]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=120, check=False)
    check_refused(done.returncode, (done.stdout, done.stderr), message)
    assert not (home / 'out').exists()


def test_a_run_that_was_refused_leaves_an_earlier_one_alone(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    (home / 'former').mkdir()
    (home / 'former' / 'run.json').write_text('{}')
    assert main(arguments_of('music -o former --stems drum')) == BAD_USAGE
    assert main(arguments_of('music -o former --formt wav')) == BAD_USAGE
    assert [path.name for path in (home / 'former').iterdir()] == ['run.json']


# An abbreviation would become another option, or none, as soon as there are more of them.
ABBREVIATED = [
    'separate music -o out --overw',
    'models list --stor here',
    'models fetch mini --mirr here',
    'models show mini --stor here',
    'prepare music -o out --overw',
    'train --config c.json -o out --shard here',
    'export mini -o out --stor here',
    'evaluate music -o out --overw',
    'estimate music --worker 3',
    'generate bank --train-song 3',
    'doctor --quic',
    'status out --jso',
    'example folder --hel',
]


assert {line.split()[0] for line in ABBREVIATED} == set(COMMANDS)


@pytest.mark.parametrize('line', ABBREVIATED)
def test_options_are_not_abbreviated(home, monkeypatch, capsys, line):
    monkeypatch.chdir(home)
    before = tree(home)
    status = main(line.split())
    command, abbreviation = line.split()[0], line[line.rindex('--') :]
    check_refused(status, capsys.readouterr(), f'unrecognized arguments: {abbreviation}: see stembeam {command} --help')
    assert tree(home) == before


@pytest.mark.parametrize(
    ('arguments', 'status', 'said'),
    [
        ([], BAD_USAGE, 'usage: stembeam COMMAND'),
        (['--help'], OK, 'usage: stembeam COMMAND'),
        (['-h'], OK, 'separate INPUT... -o OUT'),
        (['--version'], OK, importlib.metadata.version('stembeam')),
        (['separate', '--help'], OK, '--filename-format PATTERN'),
        (['separate', 'music', '-h'], OK, 'Exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run'),
    ],
)
def test_help_and_version(capsys, arguments, status, said):
    assert main(arguments) == status
    printed, complaint = capsys.readouterr()
    assert said in ' '.join(printed.split())
    assert complaint == ''


def test_an_unknown_command(capsys):
    status = main(['nonsense'])
    check_refused(status, capsys.readouterr(), "unknown command 'nonsense': see stembeam --help")
