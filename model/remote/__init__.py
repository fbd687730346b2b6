"""Files behind URLs: how a file system of fsspec is opened, with which options, and how often a request is tried.

For those who read or write anything that is not on this machine; RemoteFile is what reads a file, block by block. The
one idea: whatever drivers (gcsfs, s3fs, ...) do about trouble by themselves is turned off here, so that there is one
place that tries again, waits, counts and gives up.
"""

from .files import READ_BYTES, VERSION_KEYS, RangeReader, RemoteFile
from .filesystems import missing_package, open_filesystem
from .hosts import is_private_host
from .options import StoreOptions, current_options, current_retries, install_options, read_options
from .retrying import GaveUp, Retries, is_forbidden, is_transient, retries_of_this_thread, retrying, told

__all__ = [
    'READ_BYTES',
    'VERSION_KEYS',
    'GaveUp',
    'RangeReader',
    'RemoteFile',
    'Retries',
    'StoreOptions',
    'current_options',
    'current_retries',
    'install_options',
    'is_forbidden',
    'is_private_host',
    'is_transient',
    'missing_package',
    'open_filesystem',
    'read_options',
    'retries_of_this_thread',
    'retrying',
    'told',
]
