"""`--dry-run`: what a run would do, told without writing, fetching or starting anything, and without a network.

Local inputs are listed as a run would list them. Of remote ones only what their addresses say is known: a URL with the
extension of an audio file is one track, anything else would have to be asked for.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..model.hiding import without_secrets
from ..model.store import is_unfetched
from ..transforms.addresses import AUDIO_EXTENSIONS, extension_of, split_url, to_uri
from ..transforms.folders import has_magic
from ..transforms.job import SeparateJob
from ..transforms.listing import Listing, read_listing
from ..transforms.listing_files import ListingFiles
from ..transforms.manifest import Tables
from ..transforms.records import Track
from .checks import check_places, check_reachable, make_job
from .clock import clock
from .dataflow import is_dataflow
from .durations import measure_durations
from .runners import Placement
from .separate import build_separate

SAMPLE = 100  # tracks whose headers are read to say how long they all are


def split_inputs(inputs: list[str]) -> tuple[list[str], list[str]]:
    """(inputs that are known without a network, others)."""
    known: list[str] = []
    unknown: list[str] = []
    for text in inputs:
        uri = to_uri(text)
        is_known = split_url(uri) is None or (extension_of(uri) in AUDIO_EXTENSIONS and not has_magic(uri))
        (known if is_known else unknown).append(text)
    return known, unknown


def tell(options: argparse.Namespace, placement: Placement, staged_models: str) -> str:
    """The lines of a dry run.

    Args:
      options: ours, checked.
      placement: where the run would happen.
      staged_models: where the model would be put for workers elsewhere, relative to OUT.

    Raises:
      UsageError: whatever would keep the run from beginning, as far as it can be seen from here.
    """
    known, unknown = split_inputs(options.inputs)
    listing = read_listing(known, exclude=[to_uri(options.output).rstrip('/')]) if known else None
    tracks = listing.tracks if listing else []
    job = make_job(options, placement.streams)
    check_places(tracks, job)
    if not placement.is_local:
        check_reachable(tracks, options)
    lines = [
        f'tracks   {_tracks(listing, unknown)}',
        *([f'audio    {_audio(tracks)}'] if tracks and _are_local(tracks) else []),
        f'model    {_model(job)}',
        f'stems    {", ".join(job.instruments)} as {job.format}, {job.output_rate} Hz',
        f'method   {json.dumps(dict(job.method.to_json())) if job.method.to_json() else "as Spleeter"}',
        f'features {"yes" if job.features else "no"}',
        f'output   {job.storage.root}',
        f'runner   {_runner(options, placement)}',
        f'options  {json.dumps(_chosen(options))}',
    ]
    if is_dataflow(options.runner):
        lines += ['request  ' + json.dumps(request(job, tracks, placement, staged_models), indent=1)]
    return without_secrets('\n'.join([*lines, 'dry run: nothing was written or started']))


def request(job: SeparateJob, tracks: list[Track], placement: Placement, staged_models: str) -> dict[str, Any]:
    """The request of the Dataflow job, with what stembeam itself stages for the workers."""
    from .job_request import dataflow_request

    tables, files = Tables(job, 1, {}), ListingFiles.empty(len(tracks))
    found = dataflow_request(placement, lambda pipeline: build_separate(pipeline, files, job, tables, in_order=False))
    found['staged'].append(job.storage.url(f'{staged_models}/{_fingerprint(job)}'))
    return found


def _fingerprint(job: SeparateJob) -> str:
    return '<fingerprint>' if is_unfetched(job.model) else job.model.fingerprint


def _are_local(tracks: list[Track]) -> bool:
    return all(split_url(track.uri) is None for track in tracks)


def _tracks(listing: Listing | None, unknown: list[str]) -> str:
    count = len(listing.tracks) if listing else 0
    left = sum(listing.ignored.values()) if listing else 0
    more = [f'{left} other files left alone'] if left else []
    more += [f'not looked at without the network: {" ".join(unknown)}'] if unknown else []
    return '; '.join([str(count), *more])


def _audio(tracks: list[Track]) -> str:
    found = measure_durations(tracks, SAMPLE)
    about = '' if found.looked_at == found.tracks else f'about, from the headers of {found.looked_at} tracks: '
    bad = f', {found.unreadable} of them cannot be read' if found.unreadable else ''
    return f'{about}{clock(found.seconds)}{bad}'


def _model(job: SeparateJob) -> str:
    if is_unfetched(job.model):
        return f'{job.model.name}, which the run would fetch'
    return f'{job.model.name}, sha256 {job.model.fingerprint}'


def _runner(options: argparse.Namespace, placement: Placement) -> str:
    if placement.is_local:
        return f'this machine, {placement.streams} at a time'
    return options.runner


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """Our options that are not what they are by default."""
    from .options import separate_parser

    defaults = vars(separate_parser().parse_args([]))
    aside = ('inputs', 'output', 'dry_run')
    return {name: value for name, value in vars(options).items() if name not in aside and value != defaults.get(name)}
