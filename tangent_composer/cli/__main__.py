"""The command line, run as `python -m tangent_composer.cli`."""

import sys

from tangent_composer.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
