"""`stembeam evaluate` from the command line: the table beside the paper's, resuming, data sets of every form, and what
goes wrong.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import fsspec
import numpy as np
import pytest
import soundfile

from stembeam.model.configuration import ModelConfig
from stembeam.model.evaluation.bsseval import METRICS
from stembeam.model.evaluation.scores import frame_medians, score_track
from stembeam.pipeline.cli import main
from stembeam.pipeline.example import make_song
from stembeam.pipeline.exit_status import BAD_USAGE, OK, WITH_FAILURES
from stembeam.transforms.datasets import list_dataset, read_source

from ..conftest import write_model
from ..transforms.dataset_files import write_song, write_stem_mp4

RATE = 8000
STEMS = ('vocals', 'drums', 'bass', 'other')
SONGS, SECONDS = 10, 3.0
PATIENCE = 240  # seconds that any wait may take

# Mono and slow to sample, so that ten songs take seconds.
SMALL = ModelConfig(
    instruments=STEMS,
    sample_rate=RATE,
    frames=64,
    bins=1024,
    channels=1,
    mask_extension='average',
    conv_activation='ELU',
    deconv_activation='ELU',
    conv_filters=(2, 2, 2, 2, 2, 2),
)


class Evaluated(NamedTuple):
    """A finished run."""

    status: int
    out: Path
    printed: str

    def scores(self) -> dict[str, Any]:
        return json.loads((self.out / 'scores.json').read_bytes())

    def failures(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / 'failures.jsonl').read_text().splitlines()]

    def track(self, name: str, kind: str = 'tracks') -> dict[str, Any]:
        return json.loads((self.out / f'{kind}/{name}.json').read_bytes())

    def results(self) -> dict[str, bytes]:
        """Everything that must be the same when the same is evaluated."""
        files = [path for kind in ('tracks', 'mixture', 'frames') for path in (self.out / kind).rglob('*.*')]
        tables = [self.out / name for name in ('table.txt', 'table.md', 'scores.json', 'failures.jsonl', 'scores.png')]
        return {str(path.relative_to(self.out)): path.read_bytes() for path in (*files, *tables)}


def evaluate(dataset: Path, out: Path, *options: str | Path) -> Evaluated:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main(['evaluate', str(dataset), '-o', str(out), '--no-progress', *map(str, options)])
    return Evaluated(status, out, printed.getvalue())


@pytest.fixture(scope='module')
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp('models') / 'small', SMALL)


def mono_song(seconds: float, seed: int) -> dict[str, np.ndarray]:
    """On the grid of 16-bit samples, so that files hold exactly this."""
    stems = {name: 0.5 * stem[:, :1] for name, stem in make_song(seconds, RATE, seed).items()}
    return {name: (np.round(stem * 32768) / 32768).astype(np.float32) for name, stem in stems.items()}


def mix(stems: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.array(list(stems.values())).sum(axis=0, dtype=np.float32)


def duo(seconds: float, seed: int) -> dict[str, np.ndarray]:
    """A song of two stems, which is scored faster."""
    stems = mono_song(seconds, seed)
    return {'vocals': stems.pop('vocals'), 'accompaniment': mix(stems)}


def with_mixture(stems: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**stems, 'mixture': mix(stems)}


def worsened(stems: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Estimates: each stem with a quarter of the mixture."""
    mixture = mix(stems)
    return {name: np.round((0.7 * stem + 0.25 * mixture) * 16384) / 16384 for name, stem in stems.items()}


@pytest.fixture(scope='module')
def ten_songs(tmp_path_factory) -> Path:
    """A data set with a subset `test` of ten songs, and one in `train`."""
    folder = tmp_path_factory.mktemp('ten') / 'songs'
    for number in range(SONGS):
        write_song(folder / f'test/Song {number}', with_mixture(mono_song(SECONDS + number / 4, number)), RATE)
    write_song(folder / 'train/Song x', with_mixture(mono_song(SECONDS, 99)), RATE)
    return folder


@pytest.fixture(scope='module')
def with_one_worker(ten_songs, model, tmp_path_factory) -> Evaluated:
    out = tmp_path_factory.mktemp('one') / 'out'
    return evaluate(ten_songs, out, '--model', model, '--workers', '1')


def test_the_table_stands_beside_the_papers(with_one_worker):
    assert with_one_worker.status == OK
    table = (with_one_worker.out / 'table.txt').read_text()
    assert with_one_worker.printed.startswith(table)
    assert 'done 10, skipped 0 (scored already), failed 0: ' in with_one_worker.printed
    lines = table.splitlines()
    assert lines[0] == 'songs (test): 10 tracks'
    names = [line[:22].split(None, 1) for line in lines[4:] if line.startswith(STEMS)]
    assert [stem for stem, _ in names] == list(STEMS)
    for stem in STEMS:
        row = next(index for index, line in enumerate(lines) if line.startswith(stem))
        rows = [line[8:].strip() for line in lines[row : row + 5]]
        assert [text.rsplit(None, 4)[0] for text in rows] == ['small', 'mixture', 'gain', 'paper, mask', 'paper, MWF']
        medians = with_one_worker.scores()
        for text, key in ((rows[0], 'median'), (rows[1], 'mixture')):
            assert text.split()[1:] == [f'{medians[key][stem][m]:.2f}' for m in ('SDR', 'SIR', 'SAR', 'ISR')]
        gain = medians['median'][stem]['SDR'] - medians['mixture'][stem]['SDR']
        assert medians['gain'][stem] == {'SDR': pytest.approx(gain)}
        assert rows[2].split()[1] == f'{gain:+.2f}'
    row = next(line.split() for line in lines if 'paper, mask' in line)
    assert row == ['paper,', 'mask', '6.55', '15.19', '6.44', '12.01']
    assert '| vocals | paper, MWF | 6.86 | 15.86 | 6.99 | 11.95 |' in (with_one_worker.out / 'table.md').read_text()
    assert (with_one_worker.out / 'scores.png').stat().st_size > 10_000


def test_medians_are_over_frames_then_over_tracks(with_one_worker):
    scores = with_one_worker.scores()
    tracks = {f'test/Song {n}': frame_medians(with_one_worker.track(f'test/Song {n}')) for n in range(SONGS)}
    for stem in STEMS:
        for metric in METRICS:
            values = [medians[stem][metric] for medians in tracks.values()]
            assert scores['median'][stem][metric] == pytest.approx(np.median(values))
            assert [scores['tracks'][name]['median'][stem][metric] for name in tracks] == values
    query = f"""
        select stem, median(value) from (
            select stem, track, median("SDR") as value from '{with_one_worker.out}/frames/**/*.parquet'
            where estimate = 'separation' group by all) group by all"""
    for stem, value in duckdb.connect().execute(query).fetchall():
        assert scores['median'][stem]['SDR'] == pytest.approx(value, abs=1e-5)


def test_two_workers_give_the_same(ten_songs, model, with_one_worker, tmp_path):
    found = evaluate(ten_songs, tmp_path / 'out', '--model', model, '--workers', '2')
    assert found.status == OK
    assert found.results() == with_one_worker.results()


def test_run_again_nothing_is_scored(ten_songs, model, tmp_path):
    write_song(tmp_path / 'set/A', mono_song(1.5, 1), RATE)
    write_song(tmp_path / 'set/B', mono_song(1.5, 2), RATE)
    first = evaluate(tmp_path / 'set', tmp_path / 'out', '--model', model)
    results, scores = first.results(), first.scores()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out/tracks').iterdir()}
    again = evaluate(tmp_path / 'set', tmp_path / 'out', '--model', model)
    assert 'done 0, skipped 2 (scored already), failed 0' in again.printed
    assert again.results() == results
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'out/tracks').iterdir()} == times
    other = evaluate(tmp_path / 'set', tmp_path / 'out', '--model', model, '--mwf')
    assert 'done 2, skipped 0' in other.printed
    assert 'small, MWF' in other.printed
    assert other.scores()['median'] != scores['median']
    assert other.scores()['mixture'] == scores['mixture']
    assert json.loads((tmp_path / 'out/run.json').read_bytes())['results']['method'] == {'mwf_iterations': 1}
    assert (
        'done 2, skipped 0'
        in evaluate(tmp_path / 'set', tmp_path / 'out', '--model', model, '--mwf', '--overwrite').printed
    )


@pytest.mark.slow
def test_killed_and_resumed(ten_songs, model, with_one_worker, tmp_path):
    out = tmp_path / 'out'
    command = [sys.executable, '-m', 'stembeam.pipeline.cli', 'evaluate', ten_songs, '-o', out, '--no-progress']
    command = [*map(str, command), '--model', str(model), '--workers', '2']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while len(list((out / '.stembeam/complete').glob('*/*.json'))) < 3:
            assert process.poll() is None, 'the run was over before it could be killed'
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    scored = len(list((out / '.stembeam/complete').glob('*/*.json')))
    assert 3 <= scored < SONGS
    assert not (out / 'table.txt').exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == OK, done.stderr
    assert f'done {SONGS - scored}, skipped {scored} (scored already), failed 0' in done.stdout
    assert done.stdout.startswith((with_one_worker.out / 'table.txt').read_text())
    assert Evaluated(done.returncode, out, done.stdout).results() == with_one_worker.results()


def test_estimates_are_scored_without_a_model(tmp_path):
    """In a process of its own, which must not load TensorFlow."""
    references = {f'Song {number}': duo(1.5, number) for number in range(2)}
    for number, (name, stems) in enumerate(references.items()):
        write_song(tmp_path / f'set/test/{name}', with_mixture(stems), RATE)
        write_song(tmp_path / ['mine', 'mine/test'][number] / name, worsened(stems), RATE, 'flac')
    arguments = ['evaluate', str(tmp_path / 'set'), '-o', str(tmp_path / 'out'), '--estimates', str(tmp_path / 'mine')]
    program = (
        'import sys; from stembeam.pipeline.cli import main; '
        f'status = main({[*arguments, "--sample-rate", str(RATE), "--no-progress"]!r}); '
        'print({"tensorflow", "keras"} & set(sys.modules)); sys.exit(status)'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == OK, done.stderr
    assert done.stdout.endswith('\nset()\n')
    assert done.stdout.startswith('set (test): 2 tracks\n\nstem ')
    assert '\nvocals         mine  ' in done.stdout
    for name, stems in references.items():
        stereo, estimates = (
            {stem: np.repeat(samples, 2, axis=1) for stem, samples in group.items()}
            for group in (stems, worsened(stems))
        )
        (expected,) = score_track(stereo, [estimates], RATE)
        found = json.loads((tmp_path / f'out/tracks/test/{name}.json').read_bytes())
        assert found == expected.to_museval()


def test_missing_estimates_are_named_and_the_rest_is_scored(tmp_path):
    for name in ('All', 'Some', 'None'):
        stems = duo(1.5, 1)
        write_song(tmp_path / f'set/{name}', stems, RATE)
        if name != 'None':
            estimates = worsened(stems)
            write_song(tmp_path / f'mine/{name}', estimates if name == 'All' else {'vocals': estimates['vocals']}, RATE)
    found = evaluate(tmp_path / 'set', tmp_path / 'out', '--estimates', tmp_path / 'mine', '--sample-rate', str(RATE))
    assert found.status == WITH_FAILURES
    assert [(row['track_id'], row['stage']) for row in found.failures()] == [('None', 'plan'), ('Some', 'evaluate')]
    reasons = [row['reason'] for row in found.failures()]
    assert reasons[0] == 'None: there are no estimates of it: add a folder of its name'
    assert reasons[1].startswith('Some: no estimate of accompaniment: ')
    assert found.failures()[0]['uri'] == str(tmp_path / 'set/None/accompaniment.wav')
    assert 'done 1, skipped 0 (scored already), failed 2' in found.printed
    assert reasons[1] in found.printed
    assert list(found.scores()['tracks']) == ['All']
    assert found.printed.startswith('set: 1 track\n')


def test_broken_files_cost_their_track_alone(tmp_path, model):
    for name in ('Good', 'Broken', 'Uneven'):
        write_song(tmp_path / f'set/{name}', mono_song(1.5, 3), RATE)
    (tmp_path / 'set/Broken/drums.wav').write_bytes(b'RIFF, but no music')
    uneven = tmp_path / 'set/Uneven/drums.wav'
    soundfile.write(uneven, soundfile.read(uneven)[0][:-5], RATE)
    found = evaluate(tmp_path / 'set', tmp_path / 'out', '--model', model)
    assert found.status == WITH_FAILURES
    broken, uneven = found.failures()
    assert (broken['track_id'], broken['error']) == ('Broken', 'TrackError')
    assert 'set/Broken/drums.wav: is not audio' in broken['reason']
    assert uneven['track_id'] == 'Uneven'
    assert 'different lengths' in uneven['reason']
    assert list(found.scores()['tracks']) == ['Good']


def test_without_any_scores_there_is_no_table(tmp_path, model):
    write_song(tmp_path / 'set/Broken', mono_song(1.5, 3), RATE)
    assert evaluate(tmp_path / 'set', tmp_path / 'out', '--model', model).status == OK
    (tmp_path / 'set/Broken/drums.wav').write_bytes(b'RIFF, but no music')
    found = evaluate(tmp_path / 'set', tmp_path / 'out', '--model', model)
    assert found.status == WITH_FAILURES
    assert found.printed.startswith('done 0, skipped 0 (scored already), failed 1: ')
    left = {str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*.*') if path.is_file()}
    assert left == {'failures.jsonl', 'run.json'}


def test_silence_has_no_scores(tmp_path, model):
    """A song without vocals has scores of the rest; where all is silent, a song has none."""
    stems = mono_song(2, 4)
    write_song(tmp_path / 'set/Instrumental', {**stems, 'vocals': 0 * stems['vocals']}, RATE)
    write_song(tmp_path / 'set/Silence', {name: 0 * samples for name, samples in stems.items()}, RATE)
    found = evaluate(tmp_path / 'set', tmp_path / 'out', '--model', model)
    assert found.status == WITH_FAILURES
    assert [row['track_id'] for row in found.failures()] == ['Silence']
    assert 'all references are silent' in found.failures()[0]['reason']
    assert found.scores()['median']['vocals'] == dict.fromkeys(METRICS)
    assert all(value is not None for value in found.scores()['median']['drums'].values())
    row = next(line for line in found.printed.splitlines() if line.startswith('vocals'))
    assert row.split() == ['vocals', 'small', '-', '-', '-', '-']


def test_a_stem_mp4_is_read_as_musdb18_has_them(tmp_path):
    """Five AAC streams: mixture, drums, bass, other, vocals. Scored are the streams as they decode."""
    stems = {name: np.repeat(samples, 2, axis=1) for name, samples in mono_song(2.2, 5).items()}
    song = with_mixture(stems)
    (tmp_path / 'musdb18/test').mkdir(parents=True)
    write_stem_mp4(
        tmp_path / 'musdb18/test/An Artist - A Song.stem.mp4',
        [song[name] for name in ('mixture', 'drums', 'bass', 'other', 'vocals')],
        44100,
    )
    estimates = worsened(stems)
    write_song(tmp_path / 'mine/An Artist - A Song', estimates, 44100)
    found = evaluate(tmp_path / 'musdb18', tmp_path / 'out', '--estimates', tmp_path / 'mine')
    assert found.status == OK
    assert found.printed.startswith('musdb18 (test): 1 track\n')
    (track,) = list_dataset(str(tmp_path / 'musdb18'))
    assert track.mixture is not None
    references = {name: read_source(track.stems[name], 44100) for name in STEMS}
    expected, mixture = score_track(
        references, [estimates, dict.fromkeys(STEMS, read_source(track.mixture, 44100))], 44100
    )
    assert found.track('test/An Artist - A Song') == expected.to_museval()
    assert found.track('test/An Artist - A Song', 'mixture') == mixture.to_museval()
    # The streams are the ones: a stem decodes to itself and to nothing else.
    for name in STEMS:
        likeness = {
            other: np.vdot(references[name][: len(s)], s[: len(references[name])]) for other, s in stems.items()
        }
        assert max(likeness, key=lambda other: abs(likeness[other]) / np.linalg.norm(stems[other])) == name


@pytest.mark.parametrize(
    ('subset', 'tracks'), [((), ['test/B']), (('--subset', 'train'), ['train/A']), (('--subset', 'all'), None)]
)
def test_subsets(tmp_path, subset, tracks):
    for name in ('train/A', 'test/B'):
        stems = duo(1.2, 6)
        write_song(tmp_path / f'set/{name}', stems, RATE)
        write_song(tmp_path / f'mine/{name}', worsened(stems), RATE)
    found = evaluate(
        tmp_path / 'set', tmp_path / 'out', '--estimates', tmp_path / 'mine', '--sample-rate', str(RATE), *subset
    )
    assert list(found.scores()['tracks']) == (tracks or ['test/B', 'train/A'])


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['SET'], 'no output folder'),
        (['-o', 'OUT'], '0 data sets are given'),
        (['SET', 'SET', '-o', 'OUT'], '2 data sets are given'),
        (['SET', '-o', 'SET'], 'both input and output folder'),
        (['nowhere', '-o', 'OUT', '--estimates', 'MINE'], 'does not exist'),
        (['SET', '-o', 'OUT', '--estimates', 'MINE', '--model', 'mini'], 'leave --model and the options'),
        (['SET', '-o', 'OUT', '--estimates', 'MINE', '--mwf'], 'leave --model and the options'),
        (['SET', '-o', 'OUT', '--model', 'mini', '--sample-rate', '8000'], '--sample-rate is for --estimates'),
        (['SET', '-o', 'OUT', '--estimates', 'OTHERS'], 'name their folders as the tracks'),
        (['SET', '-o', 'OUT', '--subset', 'valid', '--estimates', 'MINE'], "has no subset 'valid'"),
        (['SET', '-o', 'OUT', '--model', 'mini', '--stems', 'piano'], 'model mini: '),
        (['SET', '-o', 'OUT', '--window', '0', '--estimates', 'MINE'], '0 seconds'),
        (['SET', '-o', 'OUT', '--scorer', 'mine'], 'invalid choice'),
    ],
)
def test_bad_usage_is_one_line(tmp_path, capsys, arguments, said):
    write_song(tmp_path / 'set/A', duo(1, 6), RATE)
    write_song(tmp_path / 'mine/A', duo(1, 6), RATE)
    write_song(tmp_path / 'others/B', duo(1, 6), RATE)
    folders = {name: str(tmp_path / name.lower()) for name in ('SET', 'OUT', 'MINE', 'OTHERS')}
    assert main(['evaluate', *(folders.get(word, word) for word in arguments)]) == BAD_USAGE
    error = capsys.readouterr().err
    assert error.startswith('stembeam: ')
    assert said in error
    assert error.count('\n') == 1


def test_the_help_needs_nothing_heavy(capsys):
    assert main(['evaluate', '--help']) == OK
    help_text = capsys.readouterr().out
    for option in ('--estimates', '--subset', '--mwf', '--scorer', '--workers', '--model'):
        assert option in help_text


@pytest.mark.slow
def test_out_may_be_an_object_store_and_workers_processes(tmp_path, model):
    write_song(tmp_path / 'set/A', duo(1.5, 1), RATE)
    write_song(tmp_path / 'set/B', duo(1.5, 2), RATE)
    write_song(tmp_path / 'mine/A', worsened(duo(1.5, 1)), RATE)
    write_song(tmp_path / 'mine/B', worsened(duo(1.5, 2)), RATE)
    estimates = ['--estimates', str(tmp_path / 'mine'), '--sample-rate', str(RATE)]
    local = evaluate(
        tmp_path / 'set', tmp_path / 'out', *estimates, '--workers', '2', '--direct_running_mode', 'multi_processing'
    )
    assert local.status == OK
    store = fsspec.filesystem('memory')
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(['evaluate', str(tmp_path / 'set'), '-o', 'memory://evaluated', '--no-progress', *estimates]) == OK
    for name in ('tracks/A.json', 'mixture/B.json', 'frames/A.parquet', 'table.txt', 'scores.json', 'failures.jsonl'):
        assert store.cat_file(f'/evaluated/{name}') == (tmp_path / 'out' / name).read_bytes()
    store.rm('/evaluated', recursive=True)
