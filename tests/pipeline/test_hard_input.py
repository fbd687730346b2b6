from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from stembeam.pipeline.exit_status import WITH_FAILURES

from ..conftest import TINY, noise
from ..transforms.audio_files import corrupt, write
from .corpus import Corpus, write_corpus
from .runs import Run, files_below, separate

STEMS = set(TINY.instruments)


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('corpus')


@pytest.fixture(scope='module')
def corpus(home: Path) -> Corpus:
    return write_corpus(home / 'in')


@pytest.fixture(scope='module')
def strays(home: Path) -> set[str]:
    """Files that the run wrote or changed outside OUT, filled by `run`."""
    return set()


@pytest.fixture(scope='module')
def run(home: Path, corpus: Corpus, tiny_model: Path, strays: set[str]) -> Run:
    """Everything; two chunks per segment, so that the longer tracks have several."""
    for name in ('cwd', 'temporary'):
        (home / name).mkdir()
    before = files_below(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home / 'cwd')
        patch.setattr(tempfile, 'tempdir', str(home / 'temporary'))
        run = separate(corpus.inputs, home / 'out', tiny_model, '--chunks-per-segment', '2')
    after = {name: state for name, state in files_below(home).items() if not name.startswith('out/')}
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # TensorFlow keeps the source code of traced functions until the process ends.
    strays.update(name for name in changed if not name.startswith('temporary/__autograph_generated_file'))
    return run


def test_says_that_there_were_failures(run: Run, corpus: Corpus):
    assert run.status == WITH_FAILURES
    assert f'done {len(corpus.good)}, skipped 0 (complete already), failed {len(corpus.bad)}: ' in run.printed
    assert f'... and {len(corpus.bad) - 5} more' in run.printed
    told = json.loads((run.out / 'run.json').read_text())
    assert (told['done'], told['skipped'], told['failed']) == (len(corpus.good), 0, len(corpus.bad))
    assert told['audio'] == pytest.approx(sum(good.stem_samples for good in corpus.good.values()) / 44100)


def test_every_failure_is_one_row_that_says_what_is_wrong(run: Run, corpus: Corpus):
    rows = {row['uri']: row for row in run.failures()}
    assert Counter(row['uri'] for row in run.failures()) == Counter(list(corpus.bad))
    for uri, reason in corpus.bad.items():
        assert re.search(reason, rows[uri]['reason']), rows[uri]
        assert '\n' not in rows[uri]['reason']
        assert rows[uri]['stage'] in ('plan', 'decode', 'write')
        assert rows[uri]['error'] == 'TrackError'


def test_every_other_track_has_stems_of_the_right_length(run: Run, corpus: Corpus):
    for uri, good in corpus.good.items():
        paths = run.stems(uri)
        assert set(paths) == STEMS
        lengths = {name: soundfile.info(path).frames for name, path in paths.items()}
        assert lengths == dict.fromkeys(STEMS, good.stem_samples), uri


def test_every_other_track_is_in_the_manifest_once(run: Run, corpus: Corpus):
    rows = run.rows('manifest-*.parquet')
    assert Counter(row['uri'] for row in rows) == Counter(list(corpus.good))
    assert len({row['track_id'] for row in rows}) == len(rows)
    for row in rows:
        good = corpus.good[row['uri']]
        assert (row['status'], row['num_samples']) == ('done', good.stem_samples)
        assert (row['input_sample_rate'], row['sample_rate']) == (good.sample_rate, 44100)
        assert dict(row['stem_samples']) == dict.fromkeys(STEMS, good.stem_samples)


def test_every_other_track_has_its_features(run: Run, corpus: Corpus):
    manifest = run.by_uri()
    expected = {(manifest[uri]['track_id'], stem) for uri in corpus.good for stem in [*STEMS, 'mixture']}
    found = [(row['track_id'], row['stem']) for row in run.rows('features/tracks-*.parquet')]
    assert Counter(found) == Counter(expected)
    for uri, good in corpus.good.items():
        table = pq.read_table(run.out / manifest[uri]['frames'], columns=['track_id', 'stem'])
        assert set(table['track_id'].to_pylist()) == {manifest[uri]['track_id']}
        assert Counter(table['stem'].to_pylist()) == dict.fromkeys([*STEMS, 'mixture'], 1 + good.stem_samples // 1024)


def test_stems_are_of_the_right_track(run: Run, corpus: Corpus):
    """With mask_extension "average" the stems add up to the mixture."""
    compared = 0
    for uri, good in corpus.good.items():
        if uri.endswith('.wav') and good.sample_rate == 44100 and 'beyond full scale' not in uri:
            mixture = soundfile.read(uri, dtype='float32', always_2d=True)[0][:, :2]
            np.testing.assert_allclose(sum(run.read(uri).values()), mixture, atol=2e-4, err_msg=uri)
            compared += 1
    assert compared > 20


def test_no_file_is_in_out_that_no_table_names(run: Run, corpus: Corpus):
    manifest = run.rows('manifest-*.parquet')
    named = {path for row in manifest for _, path in row['stems']} | {row['frames'] for row in manifest}
    assert len(named) == 4 * len(corpus.good)
    visible = {name for name in files_below(run.out) if not name.startswith('.stembeam/')}
    shards = '00000-of-00001'
    tables = {f'manifest-{shards}.parquet', f'features/tracks-{shards}.parquet', f'failures-{shards}.jsonl'}
    assert visible == named | tables | {'run.json'}


def test_nothing_unfinished_is_left(run: Run):
    for folder in ('tmp', 'parts'):
        assert list((run.out / '.stembeam' / folder).glob('**/*')) == []


def test_nothing_was_written_outside_out(run: Run, strays: set[str]):
    assert strays == set()


def test_truncated_files_work_when_they_may_be_short(home: Path, corpus: Corpus, tiny_model: Path):
    options = ('--allow-truncated', '--chunks-per-segment', '2', '--no-features')
    run = separate([*corpus.truncated], home / 'truncated', tiny_model, *options)
    assert (run.status, run.failures()) == (0, [])
    for uri, whole in corpus.truncated.items():
        stems = run.read(uri)
        (length,) = {len(stem) for stem in stems.values()}
        assert 0.6 * len(whole) - 2 * 4608 < length <= 0.6 * len(whole) + 1152, uri
        np.testing.assert_allclose(sum(stems.values()), whole[:length], atol=2e-4, err_msg=uri)
    assert not (run.out / 'features').exists()


def test_levels_that_an_encoder_cannot_take_cost_one_row(tmp_path: Path, tiny_model: Path):
    """LAME ends the whole process over them, FFmpeg's AAC encoder never ends."""
    loud = write(tmp_path / 'loud.wav', 'wav-float', 1e9 * noise(1), 44100)
    fine = write(tmp_path / 'fine.wav', 'wav-float', 100 * noise(1), 44100)
    for name in ('mp3', 'm4a'):
        run = separate([loud, fine], tmp_path / name, tiny_model, '--format', name, '--no-features')
        assert run.status == WITH_FAILURES
        assert [(row['uri'], row['stage']) for row in run.failures()] == [(loud, 'write')]
        assert f'full scale, which {name} cannot hold' in run.printed
        assert f'  {loud}: ' in run.printed
        assert list(run.by_uri()) == [fine]


def test_levels_that_overflow_cost_one_row_and_no_warning(tmp_path: Path, tiny_model: Path):
    loud = [write(tmp_path / f'{level:g}.wav', 'wav-float', level * noise(1), 44100) for level in (1e19, 1e38)]
    fine = write(tmp_path / 'fine.wav', 'wav-float', noise(1), 44100)
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        for options in ([], ['--overlap', '0.25', '--residual']):
            run = separate([*loud, fine], tmp_path / f'out{len(options)}', tiny_model, '--no-features', *options)
            assert sorted((row['uri'], row['stage']) for row in run.failures()) == [(uri, 'write') for uri in loud]
            assert run.printed.count('comes out with NaN or infinity: the input is far beyond full scale') == 2
            assert list(run.by_uri()) == [fine]


@pytest.mark.parametrize('chunks', ['1', '3', '100'])
def test_however_a_track_is_cut_it_fails_once(tmp_path: Path, tiny_model: Path, chunks: str):
    samples = noise(12)
    samples[-5, 0] = np.nan
    nan = write(tmp_path / 'nan.wav', 'wav-float', samples, 44100)
    damaged = corrupt(write(tmp_path / 'damaged.flac', 'flac', noise(12), 44100))
    run = separate([nan, damaged], tmp_path / 'out', tiny_model, '--chunks-per-segment', chunks)
    assert Counter((row['uri'], row['stage']) for row in run.failures()) == {(nan, 'decode'): 1, (damaged, 'decode'): 1}
    assert not (run.out / 'stems').exists()
    assert list((run.out / '.stembeam').glob('parts/**/*')) == []
    assert run.rows('manifest-*.parquet') == run.rows('features/tracks-*.parquet') == []
