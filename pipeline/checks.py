"""From the options of `separate` to a listing and a job, with everything checked that can be wrong before a run begins.

Every problem is a UsageError of one line; nothing has been written then.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..model.errors import UsageError
from ..model.features.columns import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from ..model.method import Method
from ..model.store import ModelFiles, find_unfetched, is_unfetched, resolve_model
from ..transforms.addresses import shown, split_url, to_uri
from ..transforms.formats import check_format, find_format, output_rate
from ..transforms.job import SeparateJob
from ..transforms.listing import Listing, read_listing
from ..transforms.naming import check_distinct, check_pattern
from ..transforms.records import Track
from ..transforms.storage import PRIVATE, Storage
from .dataflow import inference_hints, is_dataflow
from .options import method_of
from .stores import guard_web, put_in_force


def check_asked(options: argparse.Namespace) -> None:
    """A look at whatever can be wrong in the options themselves. Raises UsageError."""
    if not options.output:
        raise UsageError('no output folder: name one with -o')
    put_in_force(options)
    if options.filename_format is not None:
        check_pattern(options.filename_format)
    find_format(options.format)
    root = Storage.at(options.output).root
    if root in (to_uri(text).rstrip('/') for text in options.inputs):
        raise UsageError(f'{root} is both input and output folder: choose another with -o, one in it will do')


def read_inputs(options: argparse.Namespace) -> Listing:
    """The listing. Raises UsageError."""
    root = Storage.at(options.output).root
    listing = read_listing(options.inputs, exclude=[root], allow_local=options.allow_local_inputs)
    guard_web(listing.trusted_hosts)
    return listing


def check_reachable(tracks: Sequence[Track], options: argparse.Namespace) -> None:
    """UsageError if workers elsewhere could not read an input or write to OUT, because they are on this machine.

    Machines of other runners than Dataflow's may share a disk; a path is believed then if OUT is one too.
    """
    out = Storage.at(options.output)
    if out.is_local and is_dataflow(options.runner):
        raise UsageError(
            f'workers of {options.runner} cannot write to {out.root}, a folder of this machine: give gs://...'
        )
    local = None if out.is_local else next((track.uri for track in tracks if split_url(track.uri) is None), None)
    if local is not None:
        raise UsageError(
            f'workers of {options.runner} cannot read {shown(local)}, a file of this machine: '
            f'copy the inputs to a place like {out.root} and name them there'
        )


def make_job(options: argparse.Namespace, streams: int) -> SeparateJob:
    """The job that options describe; its model is fetched if it is not here, unless this is a dry run.

    Raises:
      UsageError: whatever is wrong with model, method or format; nothing has been written then.
      RunError: the model cannot be fetched.
    """
    model, method = find_model(options.model, options)
    config = model.config
    rate = output_rate(options.format, config.sample_rate, options.sample_rate)
    bitrate = check_format(options.format, options.bitrate, rate, config.channels)
    if options.features_only and not options.features:
        raise UsageError('--features-only with --no-features leaves nothing to do: leave one of them out')
    if options.features and not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise UsageError(
            f'features of stems at {rate} Hz are not defined, only from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz: '
            'choose another --sample-rate, or --no-features'
        )
    if not is_unfetched(model):
        model.check()
    if options.decoder == 'tfio':
        from ..transforms.tfio_decoding import check_tfio

        check_tfio()
    return SeparateJob(
        storage=Storage.at(options.output),
        model=model,
        method=method,
        format=options.format,
        bitrate=bitrate,
        output_rate=rate,
        features=options.features,
        keep_stems=not options.features_only,
        offset=options.offset,
        duration=options.duration,
        layout=options.layout,
        filename_format=options.filename_format,
        allow_truncated=options.allow_truncated,
        decoder=options.decoder,
        overwrite=options.overwrite,
        chunks_per_segment=options.chunks_per_segment,
        batch_size=options.batch_size,
        streams=streams,
        hints=tuple(inference_hints(options).items()),
    )


def find_model(name: str, options: argparse.Namespace) -> tuple[ModelFiles, Method]:
    """A model, fetched if it is not here, and how the options say that it is used.

    Raises:
      UsageError: an unknown model, files that are missing, or a method that the model cannot be used with.
      RunError: the model cannot be fetched.
    """
    model = (
        find_unfetched(name, options.model_store) if getattr(options, 'dry_run', False) else None
    ) or resolve_model(name, store=options.model_store, mirror=options.model_mirror, progress=options.progress)
    method = method_of(options)
    try:
        method.check(model.config)
    except UsageError as error:
        raise UsageError(f'model {model.name}: {error}') from error
    return model, method


def check_places(tracks: Sequence[Track], job: SeparateJob) -> None:
    """UsageError if two stems would be one file, or a stem would overwrite an input or what is ours."""
    check_distinct(tracks, job.pattern, job.instruments, job.stem_format.codec)
    _check_inputs_are_kept(tracks, job)
    _check_ours_is_kept(tracks, job)


def _check_inputs_are_kept(tracks: Sequence[Track], job: SeparateJob) -> None:
    """UsageError if a stem would overwrite an input, which only one in the output folder can come to."""
    within = {track.uri for track in tracks if track.uri.startswith(f'{job.storage.root}/')}
    for track in tracks if within else ():
        for name in job.instruments:
            url = job.storage.url(job.stem_file(track.track_id, name))
            if url in within:
                raise UsageError(
                    f'the input {shown(url)} would be overwritten by a stem: choose another folder with -o'
                )


def _check_ours_is_kept(tracks: Sequence[Track], job: SeparateJob) -> None:
    """UsageError if a stem would go among the records of the run: in Spleeter's layout a name might lead it there."""
    if job.placing.folder:
        return
    for track in tracks:
        path = job.stem_file(track.track_id, job.instruments[0])
        if path.startswith(f'{PRIVATE}/'):
            raise UsageError(
                f'the stems of {shown(track.uri)} would go to {shown(path)}, where records of the run are: '
                'choose another --filename-format, or --layout stembeam'
            )
