"""The scores of tracks against museval.evaluate, and their JSON against museval's own."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import jsonschema
import numpy as np
import pandas as pd
import pytest

from stembeam.model.errors import TrackError, UsageError
from stembeam.model.evaluation import scores
from stembeam.model.evaluation.bsseval import METRICS
from stembeam.model.evaluation.scores import TrackScores, frame_medians, nan_median, score_track
from stembeam.model.evaluation.tables import track_medians
from stembeam.pipeline.example import make_song

from .museval_package import museval  # noqa: F401

RATE = 8000


def song(seconds: float = 4, seed: int = 1) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """References of a generated song, mono, and imperfect estimates."""
    stems = {name: stem[:, :1] for name, stem in make_song(seconds, RATE, seed).items()}
    mixture = sum(stems.values())
    rng = np.random.default_rng(seed)
    return stems, {
        name: (stem + 0.2 * mixture + 0.01 * rng.standard_normal(stem.shape)).astype(np.float32)
        for name, stem in stems.items()
    }


def by_museval(package, references, estimates) -> np.ndarray:
    sdr, isr, sir, sar = package.evaluate(
        np.stack(list(references.values())), np.stack([estimates[name] for name in references]), win=RATE, hop=RATE
    )
    return np.stack([{'SDR': sdr, 'ISR': isr, 'SIR': sir, 'SAR': sar}[name] for name in METRICS])


@pytest.mark.parametrize(('scorer', 'atol'), [('stembeam', 1e-4), ('museval', 0)])
def test_a_generated_song_has_the_scores_that_museval_gives_it(museval, scorer, atol):  # noqa: F811
    references, estimates = song()
    (found,) = score_track(references, [estimates], RATE, scorer=scorer)
    assert found.stems == ('vocals', 'drums', 'bass', 'other')
    assert found.values.shape == (4, 4, 4)
    assert np.isfinite(found.values).all()
    np.testing.assert_allclose(found.values, by_museval(museval, references, estimates), rtol=0, atol=atol)


@pytest.mark.parametrize('difference', [-3000, 3000])
def test_estimates_of_other_length_are_cut_or_padded_as_museval_does(museval, difference):  # noqa: F811
    references, estimates = song()
    length = 4 * RATE + difference
    estimates = {name: np.resize(estimate, (length, 1)) for name, estimate in estimates.items()}
    (found,) = score_track(references, [estimates], RATE)
    np.testing.assert_allclose(found.values, by_museval(museval, references, estimates), rtol=0, atol=1e-4)


def test_sets_of_estimates_are_scored_by_themselves():
    references, estimates = song(2)
    mixture = np.sum(list(references.values()), axis=0)
    together = score_track(references, [estimates, dict.fromkeys(references, mixture)], RATE)
    alone = score_track(references, [dict.fromkeys(references, mixture)], RATE)
    np.testing.assert_array_equal(together[1].values, alone[0].values)
    assert (together[0].metric('SDR') > together[1].metric('SDR')).all()


def test_a_stem_that_is_silent_throughout_has_no_scores_and_changes_none():
    references, estimates = song(2)
    without = {name: signal for name, signal in references.items() if name != 'bass'}
    references['bass'] = np.zeros_like(references['bass'])
    (found,) = score_track(references, [estimates], RATE)
    (others,) = score_track(without, [estimates], RATE)
    assert np.isnan(found.values[:, 2]).all()
    np.testing.assert_array_equal(np.delete(found.values, 2, axis=1), others.values)


def test_what_cannot_be_scored_is_named():
    references, estimates = song(1)
    with pytest.raises(TrackError, match='all references are silent'):
        score_track({name: 0 * signal for name, signal in references.items()}, [estimates], RATE)
    with pytest.raises(TrackError, match='the estimate of drums is silent from start to end, its reference is not'):
        score_track(references, [{**estimates, 'drums': 0 * estimates['drums']}], RATE)
    with pytest.raises(TrackError, match=r'differ in their samples \(vocals 7990, drums 8000'):
        score_track({**references, 'vocals': references['vocals'][10:]}, [estimates], RATE)


@pytest.fixture
def some_scores() -> TrackScores:
    """Two stems with two frames, values that round, one undefined and one infinite."""
    values = np.array([[1.2345678, 2], [math.nan, -4.000004]])
    return TrackScores(('vocals', 'other'), 1.0, 0.5, np.stack([values, values + 1, [[math.inf, 0], [1, 2]], -values]))


def test_json_is_what_museval_writes(museval, some_scores):  # noqa: F811
    store = museval.TrackStore('a song', win=1.0, hop=0.5)
    for index, name in enumerate(some_scores.stems):
        store.add_target(name, {metric: some_scores.metric(metric)[index].tolist() for metric in METRICS})
    ours, theirs = json.dumps(some_scores.to_museval()), json.loads(store.json)
    assert theirs['targets'][0]['frames'][0]['metrics']['SDR'] == 1.23457
    assert json.dumps(json.loads(ours)) == json.dumps(theirs)  # as text, where NaN is NaN
    jsonschema.validate(json.loads(ours), store.schema)


def test_medians_are_those_of_museval(museval, tmp_path, some_scores):  # noqa: F811
    (tmp_path / 'test').mkdir()
    other = some_scores._replace(values=some_scores.values + 3)
    written = [scored.to_museval() for scored in (some_scores, other, some_scores)]
    for number, content in enumerate(written):
        (tmp_path / f'test/song {number}.json').write_text(json.dumps(content))
    store = museval.EvalStore()
    store.add_eval_dir(tmp_path)
    theirs = store.agg_frames_tracks_scores()
    ours = track_medians(frame_medians(content) for content in written)
    for stem in some_scores.stems:
        for metric in METRICS:
            expected = theirs[stem][metric]
            assert ours[stem][metric] == (pytest.approx(expected) if not pd.isna(expected) else expected)
    assert ours['vocals']['SDR'] == pytest.approx((1.23457 + 2) / 2)
    assert ours['other']['SDR'] == -4.0


def test_the_median_of_nothing_is_nan():
    assert math.isnan(nan_median([]))
    assert math.isnan(nan_median([math.nan]))
    assert nan_median([math.nan, 4, 1, 2]) == 2


def test_museval_is_loaded_without_its_package_which_wants_ffmpeg():
    program = (
        'import sys; from stembeam.model.evaluation.scores import load_museval; '
        'print(load_museval().bss_eval.__name__, {"museval", "musdb", "stempeg", "tensorflow"} & set(sys.modules))'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == 'bss_eval set()\n'


def test_without_museval_there_is_a_line_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(scores.importlib.machinery.PathFinder, 'find_spec', lambda name: None)
    references, estimates = song(1)
    with pytest.raises(UsageError, match=r"pip install 'stembeam\[evaluate\]'"):
        score_track(references, [estimates], RATE, scorer='museval')
