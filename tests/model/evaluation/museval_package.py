"""museval itself, as its users call it, to compare with."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest


@pytest.fixture(scope='session')
def museval() -> ModuleType:
    """The package, without its data set reader, which would want the programs of FFmpeg."""
    with pytest.MonkeyPatch.context() as patch:
        if 'museval' not in sys.modules:
            patch.setitem(sys.modules, 'musdb', ModuleType('musdb'))
        return importlib.import_module('museval')
