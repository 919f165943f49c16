"""Run the demo on a service of its own, or on a running service with `--url`."""

import argparse
import shutil
import signal
import sys
from pathlib import Path

from app.cli.demo.client import NoService
from app.cli.demo.job import run
from app.cli.demo.service import LOG, NotStarted, end_of, started, temporary_folder
from tangent_composer.samples import digits


def main() -> int:
    """Run the demo; return 0 if all its claims are true."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # runs the blocks that clean up
    parser = argparse.ArgumentParser(prog="python -m app.cli.demo", description=__doc__)
    parser.add_argument("--url", help="use the running service at this address")
    parser.add_argument("--api-key", help="API key of the running service")
    parser.add_argument("--keep", action="store_true", help="keep the service running afterwards")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        help="only write the images of the demo to this folder",
    )
    args = parser.parse_args()
    if args.write:
        print(digits.write(args.write))
        return 0
    if args.url:
        try:
            return run(args.url, api_key=args.api_key)
        except NoService as error:
            print(error, file=sys.stderr)
            return 2
    return run_alone(keep=args.keep)


def run_alone(*, keep: bool = False) -> int:
    """Start a fresh service, run the demo on it, and end it unless `keep` is set."""
    folder, status, stays = temporary_folder(), 1, False
    print("Starting a fresh service …", flush=True)
    try:
        with started(folder, keep=keep) as url:
            status = run(url, service_stays=keep)
            stays = keep
        if status != 0:
            print(f"End of the service's log:\n{end_of(folder / LOG)}", file=sys.stderr)
    except NotStarted as error:
        print(error, file=sys.stderr)
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
