"""The command that changes a keys file: `python -m shared.api_keys`.

Prints on stdout a new key, or the table of `list`, and nothing else. Gateways see the change by themselves.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from shared.api_keys import changes
from shared.api_keys.arguments import make_parser
from shared.api_keys.file import changing_keys, read_keys
from shared.api_keys.keys import ApiKey
from shared.errors import Misconfigured, PrintworksError
from shared.settings import Settings

EXIT_MISTAKE = 2
TITLES = ("id", "tenant", "name", "role", "weight", "priority", "max open jobs", "per minute", "expires")


def main() -> None:
    given = make_parser().parse_args()
    try:
        COMMANDS[given.command](given, given.file or _configured_file())
    except PrintworksError as exc:
        _tell(exc.detail)
        sys.exit(EXIT_MISTAKE)


def _configured_file() -> Path:
    file = Settings.load().api_keys_file
    if file is None:
        raise Misconfigured("Say which keys file: --file keys.json, or set PRINTWORKS_API_KEYS_FILE.")
    return file


def _add(given: argparse.Namespace, file: Path) -> None:
    fields = {name: value for name, value in vars(given).items() if name in ApiKey.model_fields}
    with changing_keys(file, may_be_new=True) as keys:
        new = changes.add(keys, fields, _now(), given.expires)
    _hand_over(new)


def _rotate(given: argparse.Namespace, file: Path) -> None:
    with changing_keys(file) as keys:
        new, ending = changes.rotate(keys, given.which, _now(), given.grace)
    for key in ending:
        _tell(f"Key {key.key_id} of {key.tenant}: expires {_end(key)}.")
    _hand_over(new)


def _revoke(given: argparse.Namespace, file: Path) -> None:
    with changing_keys(file) as keys:
        revoked = changes.revoke(keys, given.key_id)
    _tell(f"Key {revoked.key_id} of {revoked.tenant}: revoked.")


def _list(_: argparse.Namespace, file: Path) -> None:
    rows = [TITLES, *map(_row, read_keys(file))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")


def _row(key: ApiKey) -> Sequence[str]:
    return (
        key.key_id,
        key.tenant,
        key.name or "-",
        key.role,
        f"{key.weight:g}",
        str(key.priority),
        _most(key.max_open_jobs),
        _most(key.max_requests_per_minute),
        _end(key),
    )


def _most(limit: int | None) -> str:
    return "any" if limit is None else str(limit)


def _end(key: ApiKey) -> str:
    if key.expires_at is None:
        return "never"
    moment = f"{key.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{moment} (expired)" if key.is_expired(_now()) else moment


def _hand_over(new: changes.NewKey) -> None:
    _tell(f"Key {new.entry.key_id} of {new.entry.tenant}, expires {_end(new.entry)}. It is shown only now:")
    sys.stdout.write(f"{new.secret.get_secret_value()}\n")


def _tell(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


COMMANDS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "add": _add,
    "rotate": _rotate,
    "revoke": _revoke,
    "list": _list,
}

if __name__ == "__main__":
    main()
