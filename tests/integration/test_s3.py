"""Finished files in a bucket: a real S3 server that refuses as Amazon's does."""

import logging
import time
import traceback
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from shared.errors import BadRequest
from shared.storage import CONTENT_TYPES, S3Storage, S3Target, StorageAway
from shared.storage.bucket import Patience
from tests.support.certificates import tls_for
from tests.support.receiver import running_receiver
from tests.support.s3 import ALL_RIGHTS, DOCUMENTED_RIGHTS, LOCAL, S3Server, running_s3

A_UUID = "6acf249e-7aa7-4281-9640-a7f5a3086a04"
DAY_S = 24 * 3600.0
HASTE = Patience(connect_s=1, read_s=0.3, attempts=2)
TWICE = Patience(connect_s=5, read_s=20, attempts=2)


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


def storage_of(s3: S3Server, **changes: str) -> S3Storage:
    return S3Storage(s3.target(**changes), DAY_S, LOCAL, TWICE)


def public_storage_of(s3: S3Server) -> S3Storage:
    return storage_of(s3, public_url=public_url(s3))


def public_url(s3: S3Server) -> str:
    return f"{s3.endpoint}/{s3.bucket}/generations/"


def new_name(suffix: str = ".png", folder: str = "") -> str:
    return f"{folder}{uuid.uuid4()}-0{suffix}"


@pytest.mark.parametrize(("suffix", "content_type"), CONTENT_TYPES.items(), ids=CONTENT_TYPES)
def test_a_file_can_be_read_by_its_public_link(s3: S3Server, suffix: str, content_type: str) -> None:
    storage, name = public_storage_of(s3), new_name(suffix)

    storage.write(name, b"first")
    storage.write(name, b"content")

    answer = httpx.get(public_url(s3) + name)
    assert answer.content == b"content"
    assert answer.headers["content-type"] == content_type
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert list(s3.contents()) == [f"generations/{name}"]


def test_a_temporary_file_is_cached_no_longer_than_it_lives(s3: S3Server) -> None:
    storage, name = public_storage_of(s3), new_name(folder="temp/")

    storage.write(name, b"content")

    assert httpx.get(public_url(s3) + name).headers["cache-control"] == "public, max-age=86400"


def test_a_large_video_is_uploaded_in_parts(s3: S3Server) -> None:
    storage, name = public_storage_of(s3), new_name(".mp4")
    video = bytes(range(256)) * (20 * 1024 * 4)

    storage.write(name, video)

    assert s3.actions.count("PutObject") > 3
    answer = httpx.get(public_url(s3) + name)
    assert answer.content == video
    assert answer.headers["content-type"] == "video/mp4"


def test_without_a_public_url_only_a_signed_link_reads_the_file_until_it_ends(s3: S3Server) -> None:
    storage, name = storage_of(s3), new_name()
    storage.write(name, b"content")
    other = new_name()
    storage.write(other, b"other")

    link, ended = storage.presigned(name, 60), storage.presigned(name, 0)

    answer = httpx.get(link)
    assert answer.content == b"content"
    assert answer.headers["content-type"] == "image/png"
    refused = [link.replace(name, other), link.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), ended]
    refused.append(public_url(s3) + name)
    assert [httpx.get(url).status_code for url in refused] == [HTTPStatus.FORBIDDEN] * len(refused)
    assert "PutObjectAcl" not in s3.actions


def test_no_link_is_signed_for_longer_than_s3_takes(s3: S3Server) -> None:
    assert "X-Amz-Expires=604800&" in storage_of(s3).presigned(new_name(), 365 * DAY_S)


@pytest.mark.parametrize("name", ["x.png", "../x.png", f"{A_UUID}-init", f"other/{A_UUID}-0.png"])
def test_a_name_that_is_not_ours_becomes_no_key(s3: S3Server, name: str) -> None:
    storage = storage_of(s3)

    with pytest.raises(ValueError, match="not a name of ours"):
        storage.write(name, b"")
    with pytest.raises(ValueError, match="not a name of ours"):
        storage.presigned(name, 60)


def test_a_bucket_that_takes_no_acls_is_asked_for_one_only_once(s3: S3Server) -> None:
    s3.takes_acls = False
    storage = public_storage_of(s3)

    for _ in range(3):
        storage.write(new_name(), b"content")

    assert s3.actions == ["PutObject", "PutObjectAcl", "PutObject", "PutObject", "PutObject"]
    assert len(s3.contents()) == 3


def test_a_video_too_gets_into_a_bucket_that_takes_no_acls(s3: S3Server) -> None:
    s3.takes_acls = False

    public_storage_of(s3).write(new_name(".mp4"), b"x" * 9_000_000)

    assert [len(content) for content in s3.contents().values()] == [9_000_000]


def test_credentials_that_may_set_no_acl_are_asked_again_each_time(s3: S3Server) -> None:
    s3.rights = ALL_RIGHTS - {"PutObjectAcl"}
    storage = public_storage_of(s3)
    storage.write(new_name(), b"content")
    s3.rights = ALL_RIGHTS

    name = new_name()
    storage.write(name, b"content")

    assert httpx.get(public_url(s3) + name).status_code == HTTPStatus.OK


def test_a_bucket_that_does_all_is_checked_without_a_word_or_a_trace(s3: S3Server) -> None:
    assert public_storage_of(s3).check() == ()
    assert storage_of(s3, image_directory="").check() == ()
    assert s3.contents() == {}


def test_the_documented_rights_are_enough_but_temporary_files_then_need_a_rule(s3: S3Server) -> None:
    s3.rights = DOCUMENTED_RIGHTS

    (tip,) = public_storage_of(s3).check()

    assert "lifecycle rule for generations/temp/" in tip


@pytest.mark.parametrize("missing", ["PutObjectAcl", "ListBucket"])
def test_a_right_that_can_be_done_without_is_told(s3: S3Server, missing: str) -> None:
    s3.rights = ALL_RIGHTS - {missing}

    (tip,) = public_storage_of(s3).check()

    assert ("public ACLs" if missing == "PutObjectAcl" else "s3:ListBucket") in tip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"aws_access_key_id": "AKIAUNKNOWN"}, "S3 does not know these credentials"),
        ({"aws_secret_access_key": "wrong"}, "S3 does not know these credentials"),
        ({"region_name": "us-west-2"}, "is not in us-west-2: send its region_name"),
        ({"endpoint_url": "{endpoint}/nowhere"}, "There is no bucket 'nowhere'"),
        ({"endpoint_url": "https{endpoint}/{bucket}"}, "certificate"),
    ],
    ids=["key id", "secret", "region", "bucket", "tls"],
)
def test_a_target_that_cant_be_used_is_refused_with_what_to_change(
    s3: S3Server, changes: dict[str, str], sentence: str
) -> None:
    fields = {"endpoint": s3.endpoint, "bucket": s3.bucket}
    named = {name: value.format(**fields).replace("httpshttp", "https") for name, value in changes.items()}

    with pytest.raises(BadRequest, match=sentence):
        storage_of(s3, **named).check()


@pytest.mark.parametrize(
    ("certified", "is_taken"), [("localhost", True), ("elsewhere.test", False)], ids=["its name", "another"]
)
def test_a_server_is_known_by_its_name_wherever_it_is_reached(
    s3: S3Server, certified: str, is_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` may have an IPv6 address first, where nobody listens: the next one is tried."""
    s3.stop()
    s3.tls = tls_for(certified, tmp_path / "trusted.pem")
    s3.start()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "trusted.pem"))
    details = s3.details(endpoint_url=f"https://localhost:{s3.port}/{s3.bucket}")
    storage = S3Storage(S3Target.given(details, ("localhost",)), DAY_S, ("localhost",), TWICE)

    if is_taken:
        assert storage.check() == ()
    else:
        with pytest.raises(BadRequest, match="certificate"):
            storage.check()


@pytest.mark.parametrize(("right", "what"), [("PutObject", "write"), ("GetObject", "read")])
def test_a_missing_right_is_named(s3: S3Server, right: str, what: str) -> None:
    s3.rights = ALL_RIGHTS - {right}

    with pytest.raises(BadRequest, match=rf"may not {what} objects in the bucket.*s3:{right}"):
        storage_of(s3).check()


def test_a_server_that_is_busy_refuses_or_is_away_is_told_apart(s3: S3Server) -> None:
    storage = storage_of(s3)

    s3.failing = "SlowDown"
    with pytest.raises(BadRequest, match="answers with errors at the moment"):
        storage.check()
    s3.failing = "QuotaExceeded"
    with pytest.raises(BadRequest, match=r"refused to write an object .* with the code QuotaExceeded"):
        storage.check()
    s3.stop()
    with pytest.raises(BadRequest, match="can't be reached from here"):
        storage.check()


def test_a_web_server_is_no_s3(s3: S3Server) -> None:
    with running_receiver() as other, pytest.raises(BadRequest, match="does not speak S3"):
        storage_of(s3, endpoint_url=other.url).check()


def test_a_failed_check_still_removes_what_it_wrote(s3: S3Server) -> None:
    s3.rights = ALL_RIGHTS - {"GetObject"}

    with pytest.raises(BadRequest):
        storage_of(s3).check()

    assert s3.contents() == {}


def test_whatever_s3_refuses_it_is_away_until_it_takes_files_again(s3: S3Server) -> None:
    storage, name = storage_of(s3), new_name()
    reasons = []
    for rights, failing in (((), ""), (ALL_RIGHTS, "InternalError"), (ALL_RIGHTS, "")):
        s3.rights, s3.failing = frozenset(rights), failing
        if not failing and rights:
            s3.stop()
        with pytest.raises(StorageAway) as away:
            storage.write(name, b"content")
        reasons.append(away.value.reason)

    s3.start()
    storage.write(name, b"content")

    assert reasons == ["AccessDenied", "InternalError", "EndpointConnectionError"]
    assert s3.contents() == {f"generations/{name}": b"content"}


def test_a_server_that_never_answers_is_noticed(s3: S3Server) -> None:
    storage = S3Storage(s3.target(), DAY_S, LOCAL, HASTE)
    s3.silence_s = 5
    began = time.monotonic()

    with pytest.raises(StorageAway, match="ReadTimeoutError"):
        storage.write(new_name(), b"content")

    assert time.monotonic() - began < 5


def test_only_temporary_files_of_ours_end(s3: S3Server) -> None:
    storage, kept, temporary = storage_of(s3), new_name(), new_name(folder="temp/")
    elsewhere = storage_of(s3, image_directory="generations/temp")
    for name in (kept, temporary):
        storage.write(name, b"content")
    elsewhere.write(kept.replace(".png", ".jpg"), b"somebody else's")
    s3.put("generations/temp/notes.txt", b"somebody else's")
    before = set(s3.contents())

    assert storage.remove_expired(time.time() + DAY_S - 60) == 0
    assert set(s3.contents()) == before
    assert storage.remove_expired(time.time() + 1.02 * DAY_S) == 2

    assert f"generations/{kept}" in s3.contents()
    assert "generations/temp/notes.txt" in s3.contents()
    assert f"generations/{temporary}" not in s3.contents()


def test_more_temporary_files_end_than_s3_lists_at_once(s3: S3Server) -> None:
    names = [new_name(folder="temp/") for _ in range(1203)]
    for name in names:
        s3.put(f"generations/{name}", b"content")

    assert storage_of(s3).remove_expired(time.time() + 2 * DAY_S) == len(names)
    assert s3.contents() == {}
    assert s3.actions.count("DeleteObject") == 2


@pytest.mark.parametrize("missing", ["ListBucket", "DeleteObject"])
def test_temporary_files_that_cant_be_removed_are_told_of(s3: S3Server, missing: str) -> None:
    storage = storage_of(s3)
    storage.write(new_name(folder="temp/"), b"content")
    s3.rights = ALL_RIGHTS - {missing}

    with pytest.raises(StorageAway, match="AccessDenied"):
        storage.remove_expired(time.time() + 2 * DAY_S)


def test_credentials_are_nowhere_to_be_seen(s3: S3Server, caplog: pytest.LogCaptureFixture) -> None:
    """The server's own messages hold the key's id."""
    caplog.set_level(logging.INFO)
    storage, target = storage_of(s3, aws_secret_access_key="planted-secret"), s3.target()
    seen = [repr(storage), str(vars(storage)), repr(target)]

    for step in (storage.check, lambda: storage.write(new_name(), b""), lambda: storage.remove_expired(0)):
        try:
            step()
        except (BadRequest, StorageAway) as exc:
            seen += [str(exc), repr(exc), "".join(traceback.format_exception(exc))]

    everything = "\n".join((*seen, caplog.text))
    assert len(seen) == 12
    assert "planted-secret" not in everything
    assert s3.secret_access_key not in everything
    assert s3.access_key_id not in everything
