"""`--features-only`: the features of a whole run, without its stem files."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import soundfile

from stembeam.pipeline.exit_status import BAD_USAGE, OK

from ..conftest import noise
from .runs import files_below, separate


def test_the_same_features_and_no_stems(tmp_path: Path, tiny_model: Path, capsys):
    for name, seconds in (('short', 1), ('long', 5)):
        soundfile.write(tmp_path / f'{name}.wav', noise(seconds), 44100)
    inputs = [str(tmp_path / 'short.wav'), str(tmp_path / 'long.wav')]
    options = ['--chunks-per-segment', '2']
    whole = separate(inputs, tmp_path / 'whole', tiny_model, *options)
    lean = separate(inputs, tmp_path / 'lean', tiny_model, *options, '--features-only')
    assert lean.status == whole.status == OK
    assert not any('stems' in name for name in files_below(lean.out))
    assert 'stems' not in lean.printed
    assert lean.rows('features/tracks-*') == whole.rows('features/tracks-*')
    for table in ('short', 'long'):
        path = f'features/frames/{table}.parquet'
        assert pq.read_table(lean.out / path).equals(pq.read_table(whole.out / path))
    assert [row['stems'] for row in lean.rows('manifest-*')] == [[], []]
    assert 'skipped 2' in separate(inputs, tmp_path / 'lean', tiny_model, *options, '--features-only').printed
    assert separate(inputs, tmp_path / 'no', tiny_model, '--features-only', '--no-features').status == BAD_USAGE
    assert 'leave one of them out' in capsys.readouterr().err
