"""The console script, run as `python -m app.cli`."""

import sys

from tangent_composer.garbage import search_seldom

if __name__ == "__main__":
    search_seldom()
    from app.cli.commands import main  # loads much, so not before

    sys.exit(main())
