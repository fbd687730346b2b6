"""The table of an evaluation: medians, gain, the paper's rows, and both ways to write it."""

from __future__ import annotations

import math

from stembeam.model.evaluation.paper import MASK, MWF, NOTE
from stembeam.model.evaluation.tables import make_table, to_json, track_medians


def values(sdr: float, sir: float = 1.0, sar: float = 2.0, isr: float = 3.0) -> dict[str, float]:
    return {'SDR': sdr, 'SIR': sir, 'SAR': sar, 'ISR': isr}


def test_medians_over_tracks_leave_out_what_has_no_score():
    tracks = [
        {'vocals': values(1.0), 'drums': values(5.0)},
        {'vocals': values(3.0), 'drums': values(math.nan)},
        {'vocals': values(8.0)},
    ]
    assert track_medians(tracks) == {'vocals': values(3.0), 'drums': values(5.0)}
    assert math.isnan(track_medians([{'vocals': values(math.nan)}])['vocals']['SDR'])


def test_the_text_has_the_papers_rows_below_ours():
    table = make_table(
        'songs (test): 3 tracks',
        'mini',
        {'vocals': values(4.25, math.nan), 'piano': values(-1.0)},
        {'vocals': values(-2.5), 'piano': values(-6.0)},
        window=1.0,
    )
    assert (
        table.text()
        == """\
songs (test): 3 tracks

stem    estimate        SDR     SIR    SAR     ISR

vocals  mini           4.25       -   2.00    3.00
        mixture       -2.50    1.00   2.00    3.00
        gain          +6.75       -      -       -
        paper, mask    6.55   15.19   6.44   12.01
        paper, MWF     6.86   15.86   6.99   11.95

piano   mini          -1.00    1.00   2.00    3.00
        mixture       -6.00    1.00   2.00    3.00
        gain          +5.00       -      -       -

BSSEval v4, dB: median over frames of 1 s, then over tracks. mixture: itself taken as the estimate.
gain: median SDR of the separation minus median SDR of the mixture.
The paper's numbers are for musdb18's test set (50 songs): compare with them what was scored on the same songs.
"""
    )


def test_markdown_is_a_table():
    table = make_table('a|b', 'mini|2', {'bass': values(1.0)}, {'bass': values(0.0)}, window=0.5)
    lines = table.markdown().splitlines()
    assert lines[0] == '### a\\|b'
    assert lines[2:6] == [
        '| stem | estimate | SDR | SIR | SAR | ISR |',
        '|---|---|---:|---:|---:|---:|',
        '| bass | mini\\|2 | 1.00 | 1.00 | 2.00 | 3.00 |',
        '| bass | mixture | 0.00 | 1.00 | 2.00 | 3.00 |',
    ]
    assert '| bass | paper, MWF | 5.51 | 10.30 | 5.96 | 9.61 |' in lines
    assert 'over frames of 0.5 s' in table.markdown()


def test_without_a_stem_of_the_papers_there_is_no_word_of_it():
    table = make_table('x', 'y', {'piano': values(1.0)}, {'piano': values(0.0)}, window=1.0)
    assert NOTE not in table.text()
    assert 'paper' not in table.markdown()


def test_the_papers_numbers():
    assert {stem: list(row.values()) for stem, row in MASK.items()} == {
        'vocals': [6.55, 15.19, 6.44, 12.01],
        'bass': [5.10, 10.01, 5.15, 9.18],
        'drums': [5.93, 12.24, 5.78, 10.50],
        'other': [4.24, 7.86, 4.63, 9.83],
    }
    assert {stem: list(row.values()) for stem, row in MWF.items()} == {
        'vocals': [6.86, 15.86, 6.99, 11.95],
        'bass': [5.51, 10.30, 5.96, 9.61],
        'drums': [6.71, 13.67, 6.54, 10.69],
        'other': [4.55, 8.16, 4.88, 9.87],
    }


def test_nan_is_null_in_json():
    assert to_json({'a': {'b': math.nan, 'c': 1.5}, 'd': math.inf, 'e': 'text'}) == {
        'a': {'b': None, 'c': 1.5},
        'd': None,
        'e': 'text',
    }
