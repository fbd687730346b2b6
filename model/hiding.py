"""Texts that people and logs may see: what gives access to a store is hidden in them.

Text only, for whoever writes a message or a table. The one idea: it works on any text, so that the words of a library
that quotes the address it could not reach, or the key that it was given, are safe as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

_ACCOUNT = re.compile(r'(?<=://)[^/\s\'"]*@')
_QUERY_FIELD = re.compile(r'([?&;#][^=&;?#\s\'"]+=)([^&;#\s\'"]*)')
_SECRET_NAME = re.compile(r'sig|token|key|secret|pass|pwd|cred|auth|access|policy|code|session|jwt', re.IGNORECASE)


LEAST_LENGTH = 8  # of an option's value that is hidden: shorter ones are in every other word
_values: tuple[str, ...] = ()  # of options, that are hidden wherever they stand


def hide_values_of(options: Mapping[str, Any]) -> None:
    """From now on hide the values of these options of file systems that are named like keys, tokens and passwords.

    Args:
      options: by protocol, with whatever mappings are in them; replaces those of the last call.
    """
    global _values
    _values = tuple(sorted(set(_secret_values(options)), key=len, reverse=True))


def _secret_values(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secret_values(value)
        elif isinstance(value, str) and len(value) >= LEAST_LENGTH and _SECRET_NAME.search(str(name)):
            yield from [] if os.path.isabs(value) else [value]  # a path is that of a file with the key in it


def without_secrets(text: str) -> str:
    """Text of any length with what gives access hidden: in the URLs in it accounts before the host, and the values of
    query fields that are named like keys, tokens and signatures (as signed URLs of S3, Google and Azure have them);
    anywhere the values of `hide_values_of`.

    >>> without_secrets('cannot read https://me:pass@host/a.wav?v=2&X-Amz-Signature=abc')
    'cannot read https://***@host/a.wav?v=2&X-Amz-Signature=***'
    """
    for value in _values:
        text = text.replace(value, '***')
    if '://' not in text:
        return text
    text = _ACCOUNT.sub('***@', text)
    return _QUERY_FIELD.sub(lambda field: field[1] + ('***' if _SECRET_NAME.search(field[1]) else field[2]), text)
