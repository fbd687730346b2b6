"""Which hosts belong to the machine or network that asks: loopback, private and link-local addresses, and their names.

Stands on ipaddress. Cloud machines hand out credentials at such addresses (169.254.169.254), so what a listing from
elsewhere names must not lead there (OWASP: Server-Side Request Forgery).
"""

from __future__ import annotations

import ipaddress
import socket
import unicodedata

_NAT64 = ipaddress.ip_network('64:ff9b::/96')  # an IPv4 address in its last four bytes (RFC 6052)
_PRIVATE_ENDS = ('.localhost', '.local', '.localdomain', '.internal', '.intranet', '.home.arpa')


def is_private_address(text: str) -> bool:
    """Whether an IP address, in whatever notation a C library takes, is not one of the public internet.

    Raises:
      ValueError: it is no IP address.
    """
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(text.partition('%')[0])
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(text))  # '127.1', '0x7f000001', '2130706433'
        except (OSError, UnicodeError) as error:
            raise ValueError(f'{text} is no IP address') from error
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return not address.is_global or address.is_multicast


def is_private_host(host: str) -> bool:
    """Whether a host, as a URL names it, is of this machine or network as far as its name tells; asks no network.

    >>> is_private_host('169.254.169.254'), is_private_host('metadata.google.internal'), is_private_host('example.org')
    (True, True, False)
    """
    name = unicodedata.normalize('NFKC', host).lower().strip('[]').rstrip('.')
    try:
        return is_private_address(name)
    except ValueError:
        return '.' not in name or name.endswith(_PRIVATE_ENDS)
