"""Requests of Dataflow jobs, as `stembeam separate --dry-run` tells them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from stembeam.pipeline.cli import main

CLOUD = ('--project', 'my-project', '--region', 'europe-west4', '--job_name', 'corpus-1')


def told(
    model: Path, *options: str, inputs: tuple[str, ...] = ('gs://music/a.flac',), out: str = 'gs://corpus/o'
) -> str:
    """What a dry run prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(['separate', *inputs, '-o', out, '--model', str(model), '--dry-run', *options]) == 0
    return printed.getvalue()


def request(model: Path, *options: str) -> dict[str, Any]:
    """The request of a dry run on Dataflow."""
    text = told(model, *CLOUD, *options)
    return json.JSONDecoder().raw_decode(text, text.index('request  {') + len('request  '))[0]
