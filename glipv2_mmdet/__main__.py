"""``python -m glipv2_mmdet``: the command line without an installed script."""

import sys

from glipv2_mmdet.cli import main

if __name__ == '__main__':
    sys.exit(main())
