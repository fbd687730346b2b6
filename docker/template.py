"""What the launcher of the Flex Template runs, with the template's parameters as --name=value."""

from __future__ import annotations

import sys

from stembeam.pipeline.flex import main

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
