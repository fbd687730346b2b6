"""Texts that people and logs may see: what gives access to a store is hidden in them.

Text only, for whoever writes a message. The one idea: it works on any text with URLs in it, so that the words of a
library that quotes the address it could not reach are safe as well.
"""

from __future__ import annotations

import re

_ACCOUNT = re.compile(r'(?<=://)[^/\s\'"]*@')
_QUERY_FIELD = re.compile(r'([?&;][^=&;?#\s\'"]+=)([^&;#\s\'"]*)')
_SECRET_NAME = re.compile(r'sig|token|key|secret|pass|pwd|cred|auth|access|policy|code|session|jwt', re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Text of any length with what gives access hidden in the URLs in it: accounts before the host, and the values of
    query fields that are named like keys, tokens and signatures (as signed URLs of S3, Google and Azure have them).

    >>> without_secrets('cannot read https://me:pass@host/a.wav?v=2&X-Amz-Signature=abc')
    'cannot read https://***@host/a.wav?v=2&X-Amz-Signature=***'
    """
    if '://' not in text:
        return text
    text = _ACCOUNT.sub('***@', text)
    return _QUERY_FIELD.sub(lambda field: field[1] + ('***' if _SECRET_NAME.search(field[1]) else field[2]), text)
