"""The kinds of error that stembeam raises on purpose, by what they stop: a run before it starts, one track, or the run.

Every message is one line with three parts: what, where (the file or field), what to do.
"""

from __future__ import annotations


class StembeamError(Exception):
    """Base of all errors that are meant for the user: the message says everything, a traceback would add nothing."""


class UsageError(StembeamError):
    """The run cannot start as it was asked for: bad option, listing, model or configuration."""


class TrackError(StembeamError):
    """One track cannot be processed; it becomes a row of the failure table and the run goes on."""


class RunError(StembeamError):
    """The run cannot go on, whatever the track: a full disk, an output store that refuses."""
