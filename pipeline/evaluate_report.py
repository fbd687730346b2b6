"""What an evaluation tells in the end: the table beside the paper's, the picture, and the medians of every track."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..model.evaluation.figure import draw_scores
from ..model.evaluation.scores import frame_medians
from ..model.evaluation.tables import GAIN, Table, make_table, to_json, track_medians
from ..transforms.addresses import name_parts, to_uri
from ..transforms.completion import read_record, record_path
from ..transforms.score_files import MIXTURE, SEPARATION, track_files
from ..transforms.scoring import EvaluateJob
from ..transforms.storage import Storage
from .evaluate_tracks import ALL

TABLE_TEXT, TABLE_MARKDOWN, SCORES, FIGURE = 'table.txt', 'table.md', 'scores.json', 'scores.png'


def write_report(scored: Sequence[str], job: EvaluateJob, options: argparse.Namespace) -> Table | None:
    """Write the table, the picture and the medians of all tracks; returns the table, None if nothing is scored."""
    storage = job.storage
    if not scored:
        for path in (TABLE_TEXT, TABLE_MARKDOWN, SCORES, FIGURE):
            storage.remove(path)
        return None
    found = {
        kind: {name: frame_medians(json.loads(storage.read_bytes(track_files(name)[kind]))) for name in scored}
        for kind in (SEPARATION, MIXTURE)
    }
    medians = {kind: track_medians(tracks.values()) for kind, tracks in found.items()}
    title, label = _title(scored, options), _label(job, options)
    table = make_table(title, label, medians[SEPARATION], medians[MIXTURE], job.window)
    records = {name: read_record(storage, record_path(name)) or {} for name in scored}
    write_json(
        storage,
        SCORES,
        {
            'title': title,
            'estimate': label,
            'notes': table.notes(),
            'median': medians[SEPARATION],
            'mixture': medians[MIXTURE],
            'gain': {row.stem: dict(row.values) for row in table.rows if row.estimate == GAIN},
            'tracks': {
                name: {
                    'median': found[SEPARATION][name],
                    'mixture': found[MIXTURE][name],
                    'length_differences': records[name].get('length_differences', {}),
                }
                for name in scored
            },
        },
    )
    storage.write_bytes(TABLE_TEXT, table.text().encode())
    storage.write_bytes(TABLE_MARKDOWN, table.markdown().encode())
    storage.write_bytes(FIGURE, draw_scores(title, label, *(list(tracks.values()) for tracks in found.values())))
    return table


def _title(scored: Sequence[str], options: argparse.Namespace) -> str:
    name = name_parts(to_uri(options.inputs[0]))[-1]
    subset = {track_id.partition('/')[0] for track_id in scored if '/' in track_id}
    part = f' ({subset.pop()})' if len(subset) == 1 and options.subset != ALL else ''
    return f'{name}{part}: {len(scored)} track{"s" if len(scored) > 1 else ""}'


def _label(job: EvaluateJob, options: argparse.Namespace) -> str:
    """What the rows of the separation are called."""
    if job.model is None:
        return name_parts(to_uri(options.estimates))[-1]
    method = job.method.to_json()
    iterations = method.pop('mwf_iterations', 0)
    said = [] if not iterations else ['MWF' if iterations == 1 else f'MWF x{iterations}']
    said += [f'{name} {" ".join(value) if isinstance(value, list) else value}' for name, value in method.items()]
    return ', '.join([job.model.name.rstrip('/').rpartition('/')[2], *said])


def write_json(storage: Storage, path: str, value: Mapping[str, Any]) -> None:
    """Write a JSON file; NaN becomes null."""
    storage.write_bytes(path, json.dumps(to_json(value), indent=1).encode())
