"""The measuring of GPUs, on a CPU, and the limits that it is told next to, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark import gpu, roofline
from benchmark.roofline import CHIPS, FOUR_STEMS, Part
from stembeam.model.configuration import ModelConfig


@pytest.mark.slow
def test_a_quick_run_without_a_gpu_measures_everything(tiny_model: Path, tmp_path: Path) -> None:
    words = ['--quick', '--device-only', '--batch', '1', '--model', str(tiny_model)]
    assert gpu.main([*words, '-o', str(tmp_path / 'out'), '--build', str(tmp_path / 'build')]) == 0
    document = json.loads((tmp_path / 'out/gpu.json').read_text())
    found = {row['name']: row for row in document['rows'] if row['quantity'] == 'speed'}
    assert {f'device {part}, {streams}' for part in ('path', 'path and features') for streams in
            ('1 thread', '2 threads', '3 threads')} <= set(found)  # fmt: skip
    assert all(row['median'] > 0 for row in found.values())
    rates = {row['name'] for row in document['rows'] if row['quantity'] == 'rate'}
    assert {'matrix product, float32', 'U-Nets, float32', 'U-Nets, TF32 where there is any'} <= rates
    assert document['about']['difference'] < 1e-6  # no TF32 on a CPU, but threads may add in another order
    text = (tmp_path / 'out/gpu.md').read_text()
    assert '| U-Nets, float32 |' in text
    assert 'spectral rows of features' in text


def test_a_known_chip_is_set_against_its_data_sheet() -> None:
    assert gpu.chip_of('NVIDIA H100 80GB HBM3') == CHIPS[2]
    assert gpu.chip_of('Tesla T4') == CHIPS[0]
    assert gpu.chip_of('') is None
    rows = [
        gpu.Row('gpu', f'{name}, {precision}', 'rate', (rate,))
        for precision, rate in (('float32', 40_000.0), ('TF32 where there is any', 300_000.0))
        for name in ('matrix product', 'U-Nets')
    ]
    about = {'gpu': 'NVIDIA H100', 'device': 'GPU:0', 'date': 'today', 'cores': 16, 'command': 'this',
             'difference': 1e-4, 'failures': {'a command': 'exit status 1'}}  # fmt: skip
    text = gpu.markdown(rows, about)
    assert '| U-Nets, float32 | 4e+04 | 4e+04 to 4e+04 | GFLOP/s | 100% | 60% |' in text
    assert '| 100% | 61% |' in text
    assert '**Not measured: a command: exit status 1**' in text


def test_limits_by_hand() -> None:
    part = Part('some', 6.69e10, 'float32', 3.35e9)
    assert part.milliseconds(CHIPS[2]) == pytest.approx((1.0, 1.0))
    assert part.milliseconds(CHIPS[2], tensor_cores=True) == pytest.approx((66.9 / 494, 1.0))
    assert roofline.networks(FOUR_STEMS).flop == pytest.approx(4.104e9, rel=1e-3)
    frames = 5 * 44100 / 1024
    features = roofline.features(FOUR_STEMS)
    assert 2.5 * 2048 * 11 * frames < features.flop < 3 * 2.5 * 2048 * 11 * frames
    up, down = roofline.transfers(FOUR_STEMS)
    assert up == pytest.approx(44100 * 2 * 4, rel=0.01)
    assert down == pytest.approx(4 * 44100 * 2 * 2 + frames * 158 * 4, rel=0.02)  # seams as floats


def test_the_page_on_scaling_shows_the_limits() -> None:
    page = Path(__file__).resolve().parents[2] / 'docs/scaling.md'
    if not page.exists():
        pytest.skip('the tests run away from the source tree')
    assert '\n'.join(roofline.table()) in page.read_text(encoding='utf-8')


def test_the_limits_of_a_smaller_model_are_higher() -> None:
    def limit(config: ModelConfig) -> float:
        line = next(line for line in roofline.table(config) if 'float32**' in line)
        return float(line.split('|')[-2].split('x')[0].replace(',', ''))

    assert limit(ModelConfig(('vocals', 'other'))) > 1.5 * limit(FOUR_STEMS)
