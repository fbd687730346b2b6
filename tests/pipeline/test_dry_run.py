from __future__ import annotations

import os

import numpy as np
import soundfile

from .dataflow_jobs import told


def test_a_local_run(tmp_path, tiny_model, monkeypatch):
    music = tmp_path / 'music'
    music.mkdir()
    for name, seconds in (('a', 60), ('b', 3600)):
        soundfile.write(music / f'{name}.flac', np.zeros((8000 * seconds, 1), np.int16), 8000)
    (music / 'cover.jpg').touch()
    before = sorted(os.walk(tmp_path))
    out = str(tmp_path / 'out')
    lines = told(tiny_model, '--workers', '3', '--mwf', '-c', 'flac', inputs=(str(music),), out=out).splitlines()
    assert sorted(os.walk(tmp_path)) == before
    said = dict(line.split(None, 1) for line in lines)
    assert said['tracks'] == '2; 1 other files left alone'
    assert said['audio'] == '1:01:00'
    assert said['model'].startswith(f'{tiny_model}, sha256 ')
    assert said['stems'] == 'vocals, drums, other as flac, 44100 Hz'
    assert said['method'] == '{"mwf_iterations": 1}'
    assert (said['output'], said['runner']) == (out, 'this machine, 3 at a time')
    assert said['options'] == f'{{"model": "{tiny_model}", "mwf": true, "format": "flac", "workers": 3}}'
    assert lines[-1] == 'dry run: nothing was written or started'


def test_a_model_that_is_not_here_stays_there(tmp_path):
    store, song = tmp_path / 'store', tmp_path / 'a.wav'
    soundfile.write(song, np.zeros((100, 2), np.int16), 8000)
    text = told('spleeter:2stems', '--model-store', str(store), inputs=(str(song),), out=str(tmp_path / 'out'))  # type: ignore[arg-type]
    assert 'model    2stems, which the run would fetch\n' in text
    assert 'stems    vocals, accompaniment as wav' in text
    assert not store.exists()
