from __future__ import annotations

import dataclasses

import pytest

from stembeam.model.configuration import ModelConfig
from stembeam.model.errors import UsageError
from stembeam.model.method import Method

from ..conftest import TINY


def test_the_default_is_spleeters_method() -> None:
    method = Method()
    method.check(TINY)
    assert method.to_json() == {}
    assert method.outputs(TINY) == method.networks(TINY) == TINY.instruments
    assert method.mask_extension(TINY) == 'average'
    assert method.overlap_frames(TINY) == 0


def test_the_record_of_a_method_names_what_differs_and_no_more() -> None:
    method = Method(stems=('other', 'drums'), mwf_iterations=2, overlap=0.25)
    assert method.to_json() == {'stems': ['drums', 'other'], 'mwf_iterations': 2, 'overlap': 0.25}
    assert Method(stems=('drums', 'other'), mwf_iterations=2, overlap=0.25).to_json() == method.to_json()
    assert Method(masks='direct', high_band='octave', residual=True).to_json() == {
        'masks': 'direct',
        'high_band': 'octave',
        'residual': True,
    }


def test_stems_come_out_in_the_models_order_and_the_residual_last() -> None:
    method = Method(stems=('other', 'vocals'), residual=True)
    method.check(TINY)
    assert method.outputs(TINY) == ('vocals', 'other', 'residual')
    assert method.networks(TINY) == TINY.instruments  # ratio masks need them all
    assert dataclasses.replace(method, masks='direct').networks(TINY) == ('vocals', 'other')


@pytest.mark.parametrize(('overlap', 'frames'), [(0.0, 0), (0.1, 6), (0.25, 16), (0.46, 29)])
def test_overlaps_are_whole_frames(overlap: float, frames: int) -> None:
    method = Method(overlap=overlap)
    method.check(TINY)
    assert method.overlap_frames(TINY) == frames


@pytest.mark.parametrize(
    ('method', 'extension'),
    [
        (Method(), 'average'),
        (Method(high_band='zeros'), 'zeros'),
        (Method(high_band='octave'), 'octave'),
        (Method(mwf_iterations=1), 'zeros'),  # as in Spleeter
        (Method(mwf_iterations=1, high_band='average'), 'average'),
    ],
)
def test_the_high_band_is_the_models_unless_it_is_given(method: Method, extension: str) -> None:
    method.check(TINY)
    assert method.mask_extension(TINY) == extension


SOFTMAX = dataclasses.replace(TINY, model_type='unet.softmax_unet')
WITH_RESIDUAL = dataclasses.replace(TINY, instruments=('vocals', 'residual'))


@pytest.mark.parametrize(
    ('method', 'config', 'message'),
    [
        (Method(stems=('piano',)), TINY, "stems names 'piano', which the model does not have: choose from vocals, dru"),
        (Method(stems=()), TINY, 'stems is empty: name at least one of vocals, drums, other'),
        (Method(stems=('vocals', 'vocals')), TINY, 'stems vocals, vocals names a stem twice: name each once'),
        (Method(residual=True), WITH_RESIDUAL, 'residual: the model has a stem of that name'),
        (Method(masks='hard'), TINY, "masks is 'hard': it must be one of ratio, direct"),
        (Method(high_band='copy'), TINY, "high_band is 'copy': it must be one of model, zeros, average, octave"),
        (Method(masks='direct'), SOFTMAX, 'masks is direct, but the networks of a softmax_unet model depend on each'),
        (Method(masks='direct', mwf_iterations=1), TINY, 'masks is direct, but the Wiener filter'),
        (Method(mwf_iterations=-1), TINY, 'mwf_iterations is -1: it must be 0'),
        (Method(mwf_iterations=1.5), TINY, 'mwf_iterations is 1.5: it must be a whole number'),  # type: ignore[arg-type]
        (Method(overlap=0.5), TINY, r'overlap is 0\.5: it must be at least 0 and below 0\.5'),
        (Method(overlap=-0.1), TINY, r'overlap is -0\.1: it must be at least 0'),
        (Method(overlap=float('nan')), TINY, 'overlap is nan: it must be'),
        (Method(overlap=0.49), TINY, r'overlap is 0\.49, 31 of the 64 frames of a chunk: it must be at most 0\.469'),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(method: Method, config: ModelConfig, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        method.check(config)
    assert '\n' not in str(caught.value)
