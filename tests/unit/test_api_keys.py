"""Who a key belongs to, and what the command makes of a keys file."""

import json
import logging
import os
import re
import stat
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.api_keys import ApiKey, KeyRing, Role, digest
from shared.api_keys.__main__ import EXIT_MISTAKE, main
from shared.api_keys.file import changing_keys, read_keys
from shared.api_keys.keys import WORDS
from shared.errors import InvalidKey, Misconfigured
from shared.settings import Settings
from tests.support.jobs import make_key

PLAIN = "a-key-that-nobody-may-see"
Command = Callable[[str], str]


class Refused(Exception):
    """The command ended with status 2; this is what it said on stderr."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def command(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command on the file and gives its stdout; raises `Refused`."""
    monkeypatch.setenv("PRINTWORKS_API_KEYS_FILE", str(file))

    def run(words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["api_keys", *words.split()])
        capsys.readouterr()
        try:
            main()
        except SystemExit as exc:
            raise (Refused if exc.code == EXIT_MISTAKE else AssertionError)(capsys.readouterr().err) from None
        return capsys.readouterr().out

    return run


def ring_of(file: Path) -> KeyRing:
    """One that looks at the file each time."""
    return KeyRing((), file, look_every_s=0)


def accepts(ring: KeyRing, key: str) -> bool:
    try:
        ring.identify(key)
    except InvalidKey:
        return False
    return True


def entry(**fields: object) -> dict[str, object]:
    return {"tenant": "studio", "sha256": digest(PLAIN), **fields}


def test_an_expired_key_is_refused_like_an_unknown_one() -> None:
    now = datetime.now(UTC)
    over, valid = make_key("a", expires_at=now), make_key("b", expires_at=now + timedelta(minutes=1))
    ring = KeyRing([over, valid])

    assert ring.identify("b") == valid
    refusals = []
    for key in ("a", "unknown"):
        with pytest.raises(InvalidKey) as caught:
            ring.identify(key)
        refusals.append(caught.value.detail)
    assert len(set(refusals)) == 1


def test_a_key_that_is_there_twice_is_valid_as_long_as_one_of_them() -> None:
    over = make_key("a", expires_at=datetime.now(UTC))
    assert accepts(KeyRing([over, make_key("a")]), "a")


def test_the_one_key_of_the_settings_is_an_admins() -> None:
    key = KeyRing.from_settings(Settings(api_key=PLAIN)).identify(PLAIN)

    assert (key.tenant, key.role, key.is_admin) == ("default", Role.ADMIN, True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tenant": "a b"}, "entry 1: tenant must be 1 to 64 letters"),
        ({"sha256": PLAIN}, "entry 1: sha256 must be the SHA-256"),
        ({"role": PLAIN}, "entry 1: role must be user, admin, peer"),
        ({"weight": 0}, "entry 1: weight must be a number above 0"),
        ({"priority": 11}, "entry 1: priority must be a whole number from 0 to 10"),
        ({"max_open_jobs": 0}, "entry 1: max_open_jobs must be a whole number of at least 1"),
        ({"max_requests_per_minute": 0}, "entry 1: max_requests_per_minute must be a whole number from 1 to"),
        ({"name": "two\nlines"}, "entry 1: name must be at most 64 characters"),
        ({"expires_at": "2030-01-31T12:00:00"}, "entry 1: expires_at must be a time in UTC"),
        ({"expires_at": "2030-01-31T12:00:00+02:00"}, "entry 1: expires_at must be a time in UTC"),
        ({PLAIN: True}, "entry 1: there is a field besides tenant, name"),
    ],
    ids=str,
)
def test_an_entry_that_cant_be_used_is_refused_with_a_sentence_that_repeats_nothing(
    file: Path, fields: dict[str, object], words: str
) -> None:
    file.write_text(json.dumps([entry(**fields)]))

    with pytest.raises(Misconfigured, match=re.escape(words)) as caught:
        read_keys(file)

    assert PLAIN not in caught.value.detail


def test_there_are_words_for_every_field_of_an_entry() -> None:
    assert list(WORDS) == list(ApiKey.model_fields)


def test_a_changed_file_is_taken_up(file: Path) -> None:
    file.write_text("[]")
    ring = ring_of(file)
    assert not accepts(ring, PLAIN)

    file.write_text(json.dumps([entry()]))
    assert accepts(ring, PLAIN)

    file.write_text("[]")
    assert not accepts(ring, PLAIN)


def test_the_file_is_looked_at_now_and_then_only(file: Path) -> None:
    file.write_text("[]")
    ring = KeyRing((), file, look_every_s=3600)

    file.write_text(json.dumps([entry()]))

    assert not accepts(ring, PLAIN)


@pytest.mark.parametrize("broken", [f'[{{"tenant": "{PLAIN}"', json.dumps([entry(sha256=PLAIN)]), None])
def test_a_broken_file_keeps_the_keys_and_is_logged_once(
    file: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(json.dumps([entry()]))
    ring = ring_of(file)

    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    assert [accepts(ring, PLAIN) for _ in range(3)] == [True] * 3
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert PLAIN not in json.dumps(record.__dict__, default=str)

    file.write_text("[]")
    assert not accepts(ring, PLAIN)


def test_the_keys_of_the_settings_stay_whatever_the_file_says(file: Path) -> None:
    file.write_text("[]")
    ring = KeyRing([make_key("a")], file, look_every_s=0)

    file.write_text(json.dumps([entry()]))

    assert accepts(ring, "a")
    assert accepts(ring, PLAIN)


def test_a_ring_is_safe_in_many_threads_and_never_sees_half_a_change(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(json.dumps([entry()]))
    ring = ring_of(file)

    def change() -> None:
        for i in range(30):
            with changing_keys(file) as keys:
                keys.append(make_key(f"tenant-{i}"))

    with ThreadPoolExecutor() as pool:
        changing = pool.submit(change)
        asked = [pool.submit(accepts, ring, PLAIN) for _ in range(300)]

    changing.result()
    assert all(answer.result() for answer in asked)
    assert accepts(ring, "tenant-29")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_new_key_is_all_of_stdout_and_not_in_the_file(command: Command, file: Path) -> None:
    key = command("add studio").removesuffix("\n")

    assert re.fullmatch(r"[\w-]{43}", key)
    assert accepts(ring_of(file), key)
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_is_made_with_all_that_is_said_about_it(command: Command, file: Path) -> None:
    command(
        "add boss --name laptop --admin --weight 2.5 --priority 3 --max-open-jobs 7 --expires 90d "
        "--max-requests-per-minute 600"
    )

    (key,) = read_keys(file)
    said = (key.tenant, key.name, key.role, key.weight, key.priority, key.max_open_jobs)
    assert said == ("boss", "laptop", Role.ADMIN, 2.5, 3, 7)
    assert key.max_requests_per_minute == 600
    assert key.created_at is not None
    assert key.expires_at == key.created_at + timedelta(days=90)


def test_a_key_of_which_nothing_is_said_is_a_users_without_limits(command: Command, file: Path) -> None:
    command("add studio")

    (key,) = read_keys(file)
    assert key == ApiKey(tenant="studio", sha256=key.sha256, created_at=key.created_at)
    assert not key.is_admin


def test_rotating_gives_a_key_like_the_old_one_which_ends_after_the_grace(
    command: Command, file: Path
) -> None:
    old = command("add studio --admin --weight 2 --expires 90d").strip()
    new = command("rotate studio --grace 1h").strip()

    ring = ring_of(file)
    before, after = ring.identify(old), ring.identify(new)
    changed = {"sha256", "created_at", "expires_at"}
    assert before.model_dump(exclude=changed) == after.model_dump(exclude=changed)
    assert after.created_at is not None
    assert after.expires_at == after.created_at + timedelta(days=90)
    assert before.expires_at == after.created_at + timedelta(hours=1)


def test_rotating_again_neither_prolongs_nor_shortens_a_life(command: Command, file: Path) -> None:
    command("add studio --expires 90d")
    command("rotate studio --grace 1h")
    _, first_end = (key.expires_at for key in read_keys(file))
    first_grace = read_keys(file)[0].expires_at
    assert first_end is not None

    command("rotate studio --grace 2h")

    oldest, _, newest = read_keys(file)
    assert oldest.expires_at == first_grace
    assert newest.expires_at is not None
    assert newest.expires_at >= first_end


def test_without_a_grace_the_old_key_ends_at_once(command: Command, file: Path) -> None:
    old = command("add studio").strip()
    new = command("rotate studio --grace 0s").strip()

    assert [accepts(ring_of(file), key) for key in (old, new)] == [False, True]


def test_rotating_by_id_leaves_the_tenants_other_keys_alone(command: Command, file: Path) -> None:
    laptop = command("add studio --name laptop").strip()
    command("add studio --name website")
    with pytest.raises(Refused, match="has keys that differ: rotate one by its id"):
        command("rotate studio")

    new = command(f"rotate {digest(laptop)[:8]} --grace 0s").strip()

    assert ring_of(file).identify(new).name == "laptop"
    assert [key.name for key in read_keys(file) if key.expires_at] == ["laptop"]


def test_a_key_with_an_end_beyond_all_dates_can_be_rotated(command: Command, file: Path) -> None:
    times = {"created_at": "2020-01-01T00:00:00Z", "expires_at": "9999-12-31T00:00:00Z"}
    file.write_text(json.dumps([entry(**times)]))

    new = command("rotate studio").strip()

    assert accepts(ring_of(file), new)


def test_a_revoked_key_is_gone(command: Command, file: Path) -> None:
    kept, revoked = command("add studio").strip(), command("add studio").strip()

    assert command(f"revoke {digest(revoked)[:8]}") == ""

    assert [accepts(ring_of(file), key) for key in (kept, revoked)] == [True, False]


def test_the_list_shows_no_more_of_a_key_than_its_id(command: Command, file: Path) -> None:
    keys = [command("add studio --name laptop --weight 2 --max-open-jobs 7"), command("add boss --admin")]
    file.write_text(file.read_text().replace('"expires_at": null', '"expires_at": "2020-01-01T00:00:00Z"', 1))

    listed = command("list")

    ids = [digest(key.strip())[:8] for key in keys]
    assert [line.split("  ") for line in re.sub("  +", "  ", listed).splitlines()[1:]] == [
        [ids[0], "studio", "laptop", "user", "2", "0", "7", "any", "2020-01-01 00:00:00 UTC (expired)"],
        [ids[1], "boss", "-", "admin", "1", "0", "any", "any", "never"],
    ]
    for key in keys:
        assert key.strip() not in listed
        assert digest(key.strip())[:9] not in listed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("add a/b", "tenant must be 1 to 64 letters, digits, dots, dashes and underscores."),
        ("add studio --weight 0", "weight must be a number above 0."),
        ("add studio --weight nan", "weight must be a number above 0."),
        ("add studio --weight inf", "weight must be a number above 0."),
        ("add studio --priority 11", "priority must be a whole number from 0 to 10."),
        ("add studio --max-open-jobs 0", "max_open_jobs must be a whole number of at least 1."),
        ("add studio --expires soon", "'soon' is no time: say 30s, 15m, 24h or 90d"),
        ("add studio --expires 0d", "a key must live for a while"),
        ("rotate nobody", "There is no such key: `list` shows their ids and tenants."),
        ("revoke 12345678", "There is no such key"),
        ("revoke", "the following arguments are required: ID"),
        ("make studio", "invalid choice: 'make'"),
        ("list --file none/keys.json", "none/keys.json: No such file or directory."),
        ("rotate studio --file none.json", "none.json: No such file or directory."),
    ],
)
def test_a_mistake_is_a_sentence_and_changes_nothing(
    command: Command,
    file: Path,
    words: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    command("add kept")
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))  # a file is locked before it is missed
    before = file.read_text()

    with pytest.raises(Refused, match=re.escape(sentence)):
        command(words)

    assert file.read_text() == before
    assert {path.name for path in file.parent.iterdir()} == {file.name, f".{file.name}.lock"}


def test_without_a_file_the_command_asks_for_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRINTWORKS_API_KEYS_FILE")

    with pytest.raises(Refused, match="Say which keys file"):
        command("list")


def test_a_broken_file_is_not_overwritten(command: Command, file: Path) -> None:
    file.write_text(PLAIN)

    with pytest.raises(Refused, match="Invalid JSON"):
        command("add studio")

    assert file.read_text() == PLAIN


def test_two_who_change_the_file_at_once_lose_nothing(file: Path) -> None:
    def add(tenant: str) -> None:
        with changing_keys(file, may_be_new=True) as keys:
            keys.append(make_key(tenant))

    tenants = {f"tenant-{i}" for i in range(40)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, tenants))

    assert {key.tenant for key in read_keys(file)} == tenants


def test_a_changed_file_still_belongs_to_its_owner(command: Command, file: Path) -> None:
    command("add studio")
    owner = 65534 if os.geteuid() == 0 else os.geteuid()  # root may change a file of another user's
    os.chown(file, owner, -1)

    command("add office")

    assert file.stat().st_uid == owner


def test_a_link_to_the_file_stays_one(command: Command, file: Path, tmp_path: Path) -> None:
    command("add studio")
    link = tmp_path / "link.json"
    link.symlink_to(file)

    command(f"add office --file {link}")

    assert link.is_symlink()
    assert len(read_keys(file)) == 2
