"""`python -m app.demo`: the demo on a service of its own, or on a running one with `--url`."""

import argparse
import shutil
import signal
import sys
from pathlib import Path

from app.demo import digits
from app.demo.job import run
from app.demo.service import LOG, NotStarted, end_of, started, temporary_folder


def main() -> int:
    """The demo's exit status: 0 if all that it claims was found true."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of the blocks that clean up
    parser = argparse.ArgumentParser(prog="python -m app.demo", description=__doc__)
    parser.add_argument("--url", help="address of a running service, instead of starting one")
    parser.add_argument("--api-key", help="the running service's key")
    parser.add_argument("--keep", action="store_true", help="leave the started service up")
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="write the digits there; no demo"
    )
    args = parser.parse_args()
    if args.write:
        digits.write(args.write)
        return 0
    if args.url:
        return run(args.url, api_key=args.api_key)
    return run_alone(keep=args.keep)


def run_alone(*, keep: bool = False) -> int:
    """The demo on a fresh service that is started for it."""
    folder, status, stays = temporary_folder(), 1, False
    print("starting a fresh service …", flush=True)
    try:
        with started(folder, keep=keep) as url:
            status = run(url)
            stays = keep
        if status != 0:
            print(f"The service's log ends:\n{end_of(folder / LOG)}", file=sys.stderr)
    except NotStarted as error:
        print(error, file=sys.stderr)
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
