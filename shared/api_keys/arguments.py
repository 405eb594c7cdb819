"""The words that `python -m shared.api_keys` understands. What they do is in `__main__.py`."""

import argparse
import re
from datetime import timedelta
from pathlib import Path

from shared.api_keys.keys import Role

GRACE = timedelta(hours=24)
DURATION = re.compile(r"(\d{1,5})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def make_parser() -> argparse.ArgumentParser:
    """Ends the process with status 2 for words that it does not understand."""
    parser = argparse.ArgumentParser(prog="python -m shared.api_keys", description="Changes a keys file.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    anywhere = argparse.ArgumentParser(add_help=False)
    anywhere.add_argument("--file", type=Path, help="the keys file; by default PRINTWORKS_API_KEYS_FILE")

    _describe(commands.add_parser("add", parents=[anywhere], help="make a key"))
    rotating = commands.add_parser("rotate", parents=[anywhere], help="put a new key like it in its place")
    rotating.add_argument("which", metavar="TENANT|ID")
    _add_grace(rotating)
    revoking = commands.add_parser("revoke", parents=[anywhere], help="refuse a key from now on")
    revoking.add_argument("key_id", metavar="ID")
    commands.add_parser("list", parents=[anywhere], help="show all keys, by their ids")
    return parser


def _describe(adding: argparse.ArgumentParser) -> None:
    """What is not said is left out: the defaults are those of `ApiKey`."""
    adding.argument_default = argparse.SUPPRESS
    adding.add_argument("tenant", metavar="TENANT", help="whose jobs and pictures they are")
    adding.add_argument("--name", help="tells people which of the tenant's keys it is")
    adding.add_argument("--admin", dest="role", action="store_const", const=Role.ADMIN, help="may manage too")
    adding.add_argument("--peer", dest="role", action="store_const", const=Role.PEER, help="another server's")
    adding.add_argument("--weight", type=float, help="share of the GPUs beside other tenants (1)")
    adding.add_argument("--priority", type=int, help="head start of its jobs, 0 to 10 (0)")
    adding.add_argument("--max-open-jobs", metavar="N", type=int, help="most jobs that wait or run (any)")
    per_minute = "most requests of any kind in a minute (any)"
    adding.add_argument("--max-requests-per-minute", metavar="N", type=int, help=per_minute)
    adding.add_argument("--expires", metavar="TIME", type=_life, default=None, help="15m, 24h, 90d (never)")


def _add_grace(rotating: argparse.ArgumentParser) -> None:
    words = "for how long the old key is valid yet: 0s, 30m (24h)"
    rotating.add_argument("--grace", metavar="TIME", type=_duration, default=GRACE, help=words)


def _duration(text: str) -> timedelta:
    found = DURATION.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: say 30s, 15m, 24h or 90d")
    return timedelta(seconds=int(found[1]) * SECONDS[found[2]])


def _life(text: str) -> timedelta:
    if not (life := _duration(text)):
        raise argparse.ArgumentTypeError("a key must live for a while: say 15m, 24h or 90d")
    return life
