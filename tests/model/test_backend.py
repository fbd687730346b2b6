import subprocess
import sys

COUNTED = """
import sys
import stembeam.model.backend
print(sorted({'sklearn', 'matplotlib', 'keras'} & sys.modules.keys()))
import keras, matplotlib
print(matplotlib.__name__)
"""


def test_packages_that_keras_has_no_need_of_are_left_out_and_can_be_imported_later():
    found = subprocess.run([sys.executable, '-c', COUNTED], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["['keras']", 'matplotlib']
