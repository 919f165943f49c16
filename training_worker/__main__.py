"""`python -m training_worker`: the worker alone, as `tangent worker` starts it."""

import argparse
import sys
from pathlib import Path

from app.settings import BadSettings, read
from training_worker.worker import run


def main(arguments: list[str] | None = None) -> int:
    """Work until a signal to end; return 2 if the settings or the database do not allow it."""
    parser = argparse.ArgumentParser(prog="training_worker", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder of database and blobs")
    parser.add_argument("--parent", type=int, help="process id to end with")
    flags = parser.parse_args(arguments)
    try:
        # It does not listen, whatever address is set for the API beside it.
        run(read(host="127.0.0.1", data_dir=flags.data_dir), parent=flags.parent)
    except BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
