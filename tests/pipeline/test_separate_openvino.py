"""A whole run with the networks in OpenVINO: the stems of TensorFlow, by a process that never loads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stembeam.model.separator import Separator

from ..conftest import noise

CODE = """
import sys
from stembeam.pipeline.cli import main
status = main(sys.argv[1:])
print([name for name in ('tensorflow', 'keras', 'openvino', 'openvino_telemetry') if name in sys.modules], status)
"""


def test_a_run_with_openvino_loads_no_tensorflow_and_calls_nobody(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip('openvino')
    song = noise(7)
    soundfile.write(tmp_path / 'song.wav', song, 44100, subtype='FLOAT')
    arguments = ['separate', tmp_path / 'song.wav', '-o', tmp_path / 'out', '-p', tiny_model, '--engine', 'openvino']
    options = ['-c', 'wav-float', '--chunks-per-segment', '2', '--workers', '2']
    run = subprocess.run(
        [sys.executable, '-c', CODE, *map(str, arguments), *options], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "['openvino'] 0"
    expected = Separator.load(tiny_model).separate(song, 44100)
    for name, stem in expected.items():
        found, _ = soundfile.read(tmp_path / f'out/stems/song/{name}.wav', dtype='float32')
        np.testing.assert_allclose(found, stem, atol=1e-5)
        assert stem.std() > 0.01
