"""The console script `tangent`: one function for each of its commands."""

import argparse
import sys
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError, TimeoutError

from app.cli import backup_commands as backups
from app.errors import NotReady
from app.files import private_folder
from app.settings import BadSettings, Settings, read, remarks
from tangent_composer.cli.refusal import Parser, Refusal
from tangent_composer.terminal import is_output_lost, one_line, say

IN_LOG = ("serve", "worker")  # commands that tell remarks in their log
FLAGS = ("host", "port", "data_dir", "database_url")  # that stand for settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status, 2 if its settings or files cannot be used."""
    try:
        flags = parser().parse_args(arguments)
        named = {name: getattr(flags, name, None) for name in FLAGS}
        if flags.command != "serve":
            named["host"] = "127.0.0.1"  # other commands do not listen, so they need no API key
        private_folder.create_privately()
        settings = read(**named)
        if flags.command not in IN_LOG:
            for remark in remarks():
                say(f"tangent: {one_line(remark)}", on_error=True)
        return COMMANDS[flags.command](settings, flags)
    except (BadSettings, Refusal) as error:
        reason = str(error)
    except NotReady as error:
        reason = error.detail
    except (DBAPIError, TimeoutError) as error:
        cause = getattr(error, "orig", error)
        reason = f"the database cannot be used, see TANGENT_DATABASE_URL: {cause}".strip()
    except BrokenPipeError:  # the reader of a list has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:
        reason = _of_file(error, settings.data_dir.absolute())
    say(f"tangent: {one_line(reason)}", on_error=True)
    return 2


def _of_file(error: OSError, data_dir: Path) -> str:
    """Return what cannot be used, by the name of its file; without one it is the data folder."""
    if is_output_lost():
        return f"standard output cannot be written: {error.strerror}"
    if isinstance(error.filename, str | Path):
        path = Path(error.filename).absolute()
        if not (path.is_relative_to(data_dir) or data_dir.is_relative_to(path)):
            return f"{error.filename} cannot be used: {error.strerror}"
    return f"the data folder cannot be used, see TANGENT_DATA_DIR: {error}"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from app.cli import access_parsers, settings_help
    from app.receipts.body import installed
    from tangent_composer.cli import verification

    made = Parser(
        prog="tangent",
        description="Serve image classifiers that can be added, weighted and subtracted.",
        epilog="Every setting is also a variable TANGENT_<NAME>; a flag overrides its variable.",
    )
    version = f"tangent {installed('tangent-composer')}"
    made.add_argument("--version", action="version", version=version, help="print the version")
    commands = made.add_subparsers(dest="command", required=True)
    as_written = argparse.RawDescriptionHelpFormatter
    shown: dict[str, Any] = {"formatter_class": as_written, "epilog": settings_help.listed()}
    serve = commands.add_parser("serve", help="run the API and a training worker", **shown)
    serve.add_argument("--host", help="address to listen on")
    serve.add_argument("--port", type=int, help="port to listen on; 0 picks a free port")
    serve.add_argument("--no-worker", action="store_true", help="run the API without a worker")
    worker = commands.add_parser("worker", help="run a training worker", **shown)
    worker.add_argument(
        "--parent", type=int, help=argparse.SUPPRESS
    )  # the worker ends with this process
    migrate = commands.add_parser("migrate", help="bring the database schema up to date")
    doctor = _add_doctor(commands)
    groups = (*backups.add_parsers(commands), *_add_spaces(commands), _add_verify(commands))
    groups += (*access_parsers.add_keys(commands), access_parsers.add_audit(commands))
    for command in (serve, worker, migrate, doctor, *groups):
        command.add_argument("--data-dir", type=Path, help="folder for the database and the blobs")
    demo = commands.add_parser("demo", help="run the demo against a running service")
    demo.add_argument("--url", default="http://127.0.0.1:8000", help="address of the service")
    verification.add_parser(commands)
    verification.add_component_parser(commands)
    return made


def _add_doctor(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    doctor = commands.add_parser("doctor", help="look whether database and files fit together")
    doctor.add_argument(
        "--settle", action="store_true", help="do what needs no decision: remove, move, bring back"
    )
    doctor.add_argument(
        "--scrub", action="store_true", help="read every file through, to find damage"
    )
    doctor.add_argument(
        "--remove",
        action="append",
        default=[],
        metavar="KEY",
        help="remove this file or folder of the quarantine; repeat for more",
    )
    return doctor


def _add_verify(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    verify = commands.add_parser(
        "verify-components",
        help="make components at linear scopes again from their images, and compare the bytes",
    )
    verify.add_argument("--sample", type=int, metavar="N", help="N of them, drawn at random")
    return verify


def _add_spaces(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    spaces = commands.add_parser("spaces", help="look after spaces whose backbone has changed")
    actions = spaces.add_subparsers(dest="action", required=True)
    list_ = actions.add_parser("list", help="open every space; say which does not open as it did")
    retrain = actions.add_parser(
        "retrain", help="take a space as it opens now, and train its components again"
    )
    retrain.add_argument("name", help="name of the space")
    return [list_, retrain]


def serve(settings: Settings, flags: argparse.Namespace) -> int:
    """Run the API until SIGTERM or SIGINT, migrating a new database first."""
    from app.backups import store_access

    store_access.prepare(settings)

    from app.cli.serve_command import serve as run  # which takes long, so after all refusals

    return run(settings, with_worker=not flags.no_worker)


def keys(settings: Settings, flags: argparse.Namespace) -> int:
    """Make, list or revoke API keys; the first may be made before there is a database."""
    from app.backups import store_access
    from app.cli import key_commands

    if flags.action != "create":
        store_access.check_schema(settings)
        return key_commands.run(settings, flags)
    key_commands.wanted(flags)  # refused before a database is made
    if store_access.prepare(settings):
        say(f"tangent: {store_access.newly_made(settings)}", on_error=True)
    return key_commands.run(settings, flags)


def audit(settings: Settings, flags: argparse.Namespace) -> int:
    """Print the audit log."""
    from app.backups.store_access import check_schema
    from app.cli import audit_command

    check_schema(settings)
    return audit_command.run(settings, flags)


def worker(settings: Settings, flags: argparse.Namespace) -> int:
    """Run a worker until SIGTERM or SIGINT."""
    from training_worker.worker import run

    run(settings, parent=flags.parent)
    return 0


def migrate(settings: Settings, flags: argparse.Namespace) -> int:
    """Create the tables or bring them up to date."""
    from app.database.audit import by_command
    from app.database.migrate import upgrade

    upgrade(settings, act=by_command("tangent migrate"))
    say("the database schema is up to date")
    return 0


def doctor(settings: Settings, flags: argparse.Namespace) -> int:
    """Print a line for each finding; return 1 if there is any. Act first if a flag says so."""
    from app.cli.doctor import examine, remove, scrub, settle

    done = remove(settings, flags.remove) if flags.remove else []
    done += settle(settings) if flags.settle else []
    done += scrub(settings) if flags.scrub else []
    for line in done:
        say(line)
    findings = examine(settings)
    for finding in findings:
        say(finding)
    if not findings:
        say("database and files fit together")
    return 1 if findings else 0


def spaces(settings: Settings, flags: argparse.Namespace) -> int:
    """List the spaces and return 1 if one does not open as it did; or train one again."""
    from app.backups.store_access import check_schema
    from app.cli.changed_spaces import examine, retrain

    check_schema(settings)
    if flags.action == "list":
        faults = 0
        for row, fault in examine(settings):
            faults += fault is not None
            say(f"{row.name} ({row.backbone}, {row.scope}): {fault or 'opens as it did'}")
        return 1 if faults else 0
    done = retrain(settings, flags.name)
    say(f"{len(done.queued)} components are queued to be trained again")
    if done.failed:
        say(f"{', '.join(done.failed)} cannot be: imported or derived; their errors say more")
    if done.compositions:
        say(f"compositions without their solved weights: {', '.join(done.compositions)}")
    return 0


def verify_component(settings: Settings, flags: argparse.Namespace) -> int:
    """Check the signature of a downloaded component's file."""
    from tangent_composer.cli.verification import run_component

    return run_component(flags)


def verify_components(settings: Settings, flags: argparse.Namespace) -> int:
    """Print a line for each component made again; return 1 if one differs from its file."""
    from app.backups.store_access import check_schema
    from app.files import folder_identity

    check_schema(settings)
    if flags.sample is not None and flags.sample < 1:
        raise BadSettings("--sample needs a number of components, at least 1")
    folder_identity.check(settings)

    from training_worker.recomputation import recompute  # loads torch

    found: list[bool | None] = []
    for outcome in recompute(settings, sample=flags.sample):
        say(f"{outcome.component_id} {outcome.text}")
        found.append(outcome.same)
    say(
        f"{len(found)} components were made again: {found.count(True)} are the same, "
        f"{found.count(False)} differ"
    )
    return 1 if False in found else 0


def demo(settings: Settings, flags: argparse.Namespace) -> int:
    """Run the demo against a running service."""
    from app.cli.demo import NoService, run

    try:
        return run(flags.url, api_key=settings.api_key)
    except NoService as error:
        raise Refusal(str(error)) from None


def verify_receipts(settings: Settings, flags: argparse.Namespace) -> int:
    """Check saved receipts; return 0 if all are unchanged, else 1 after a sentence per fault."""
    from tangent_composer.cli.verification import run

    return run(flags)


COMMANDS = {
    "serve": serve,
    "worker": worker,
    "migrate": migrate,
    "doctor": doctor,
    **backups.COMMANDS,
    "spaces": spaces,
    "keys": keys,
    "audit": audit,
    "demo": demo,
    "verify-receipts": verify_receipts,
    "verify-component": verify_component,
    "verify-components": verify_components,
}

if __name__ == "__main__":
    sys.exit(main())
