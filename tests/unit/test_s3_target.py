"""What a client may name as its S3 bucket, and how that is kept."""

import pytest
from pydantic import SecretStr

from shared.errors import BadRequest, Misconfigured
from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import S3Details, S3Target
from shared.storage.endpoint import endpoint_of

KEY_ID, SECRET = "AKIAPLANTED0KEY0ID", "planted/secret+of=the+bucket"
SENT = {
    "endpoint_url": "https://stable-diffusion-api.s3.amazonaws.com",
    "region_name": "us-east-1",
    "image_directory": "generations",
    "public_url": "https://cdn2.stablediffusionapi.com/generations/",
    "aws_access_key_id": KEY_ID,
    "aws_secret_access_key": SECRET,
}
KNOWN_HOSTS = ("stable-diffusion-api.s3.amazonaws.com", "minio.test")
"""Hosts that are not looked up."""
SEALER = Sealer(Settings(secret_key=SecretStr("a key of the tests")))


def given(**changes: str) -> S3Target:
    return S3Target.given(S3Details.model_validate(SENT | changes), KNOWN_HOSTS)


def test_the_documented_example_names_the_bucket_the_keys_and_the_links() -> None:
    target = given()

    assert (target.endpoint_url, target.bucket) == ("https://s3.amazonaws.com", "stable-diffusion-api")
    assert not target.path_style
    assert target.key("a.png") == "generations/a.png"
    assert f"{target.files_url}/a.png" == "https://cdn2.stablediffusionapi.com/generations/a.png"


@pytest.mark.parametrize(
    ("url", "bucket", "found"),
    [
        ("https://b-1.s3.amazonaws.com", "", ("https://s3.amazonaws.com", "b-1", False)),
        ("https://b-1.s3.amazonaws.com/", "b-1", ("https://s3.amazonaws.com", "b-1", False)),
        ("https://b-1.s3.eu-west-1.amazonaws.com", "", ("https://s3.eu-west-1.amazonaws.com", "b-1", False)),
        ("https://b-1.s3-eu-west-1.amazonaws.com", "", ("https://s3-eu-west-1.amazonaws.com", "b-1", False)),
        (
            "https://B-1.s3.dualstack.eu-west-1.amazonaws.com",
            "",
            ("https://s3.dualstack.eu-west-1.amazonaws.com", "b-1", False),
        ),
        ("https://my.pics.s3.amazonaws.com", "", ("https://s3.amazonaws.com", "my.pics", True)),
        ("https://s3.us-west-2.amazonaws.com/b-1", "", ("https://s3.us-west-2.amazonaws.com", "b-1", False)),
        ("https://s3.us-west-2.amazonaws.com", "b-1", ("https://s3.us-west-2.amazonaws.com", "b-1", False)),
        (
            "https://pics.nyc3.digitaloceanspaces.com",
            "",
            ("https://nyc3.digitaloceanspaces.com", "pics", False),
        ),
        (
            "https://nyc3.digitaloceanspaces.com/pics",
            "",
            ("https://nyc3.digitaloceanspaces.com", "pics", True),
        ),
        (
            f"https://{'a1' * 16}.r2.cloudflarestorage.com/pics/",
            "",
            (f"https://{'a1' * 16}.r2.cloudflarestorage.com", "pics", True),
        ),
        ("http://minio.test:9000/pics", "", ("http://minio.test:9000", "pics", True)),
        ("http://minio.test:9000", "pics", ("http://minio.test:9000", "pics", True)),
        ("http://minio.s3.test:9000", "pics", ("http://minio.s3.test:9000", "pics", True)),
        ("http://[2001:db8::1]:9000/pics", "", ("http://[2001:db8::1]:9000", "pics", True)),
    ],
)
def test_the_bucket_is_found_in_the_host_or_the_path_or_beside_the_endpoint(
    url: str, bucket: str, found: tuple[str, str, bool]
) -> None:
    assert endpoint_of(url, bucket) == found


@pytest.mark.parametrize(
    ("url", "bucket", "sentence"),
    [
        ("https://minio.test", "", "must hold the bucket"),
        ("https://s3.amazonaws.com", "", "must hold the bucket"),
        ("https://minio.test/pics/generations", "", "nothing else may follow"),
        ("https://minio.test/pics?x=1", "", "nothing else may follow"),
        ("https://minio.test/pics#x", "", "nothing else may follow"),
        ("https://minio.test/pics", "others", "in more than one way: others, pics"),
        ("https://pics.s3.amazonaws.com/generations", "", "in more than one way: generations, pics"),
        ("https://minio.test/..", "", "can't be the name of a bucket"),
        ("https://minio.test/a%2f..", "", "can't be the name of a bucket"),
        ("https://minio.test", "a..b", "can't be the name of a bucket"),
        ("https://minio.test", "x", "can't be the name of a bucket"),
        ("https://minio.test", "a/b", "can't be the name of a bucket"),
    ],
)
def test_an_endpoint_that_names_no_bucket_or_two_is_refused(url: str, bucket: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        endpoint_of(url, bucket)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"endpoint_url": "ftp://minio.test/pics"}, "endpoint_url must be an http or https URL"),
        ({"endpoint_url": "minio.test/pics"}, "endpoint_url must be an http or https URL"),
        ({"endpoint_url": "https://me:pw@minio.test/pics"}, "endpoint_url must not hold a user name"),
        ({"endpoint_url": "http://169.254.169.254/pics"}, "endpoint_url must be a public address"),
        ({"endpoint_url": "http://127.0.0.1:9000/pics"}, "endpoint_url must be a public address"),
        ({"endpoint_url": "http://\u24dbocalhost/pics"}, "endpoint_url must name its host by letters"),
        ({"endpoint_url": "http://b\u00fccher.test/pics"}, "endpoint_url must name its host by letters"),
        ({"endpoint_url": "http://minio_1.test/pics"}, "endpoint_url must name its host by letters"),
        ({"endpoint_url": "https://nothere.invalid/pics"}, "there is no host 'nothere.invalid'"),
        ({"public_url": "javascript:alert(1)"}, "public_url must be an http or https URL"),
        ({"public_url": "https://me:pw@cdn.test/"}, "public_url must not hold a user name"),
        ({"public_url": "http://10.0.0.1/"}, "public_url must be a public address"),
        ({"public_url": "https://cdn.test/?file="}, "public_url must be a URL that a file's name"),
        ({"region_name": "us-east-1/s3"}, "region_name must be"),
        ({"image_directory": "../other"}, "image_directory must be"),
        ({"image_directory": "a/../b"}, "image_directory must be"),
        ({"image_directory": "a//b"}, "image_directory must be"),
        ({"image_directory": "a\\b"}, "image_directory must be"),
        ({"image_directory": "a?b"}, "image_directory must be"),
        ({"image_directory": "a" * 201}, "image_directory must be"),
        ({"aws_access_key_id": ""}, "aws_access_key_id must be sent"),
        ({"aws_access_key_id": "AKIA EXAMPLE"}, "aws_access_key_id must be sent"),
        ({"aws_secret_access_key": "line\nbreak"}, "aws_secret_access_key must be sent"),
    ],
)
def test_what_can_not_be_a_target_is_refused_with_a_sentence(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        given(**changes)

    assert sentence in refused.value.detail
    assert SECRET not in refused.value.detail


@pytest.mark.parametrize("sent", ["", "/", "our/pictures", "/our/pictures/"])
def test_the_image_directory_has_no_slashes_at_its_ends(sent: str) -> None:
    target = given(image_directory=sent)

    assert target.key("a.png") == "/".join(filter(None, (sent.strip("/"), "a.png")))


def test_without_a_public_url_links_are_not_public() -> None:
    assert given(public_url="").files_url == ""


def test_a_sealed_target_is_opened_as_it_was_and_shows_nothing() -> None:
    target = given()

    token = target.sealed(SEALER)

    assert S3Target.unsealed(token, SEALER) == target
    assert not any(word in token for word in (KEY_ID, SECRET, target.bucket))


def test_a_target_that_was_sealed_elsewhere_is_not_opened() -> None:
    other = Sealer(Settings(secret_key=SecretStr("another key")))

    with pytest.raises(Misconfigured, match="PRINTWORKS_SECRET_KEY"):
        S3Target.unsealed(given().sealed(other), SEALER)
    with pytest.raises(Misconfigured, match="send update_s3 again"):
        S3Target.unsealed(SEALER.seal('{"secret_access_key": "planted"}'), SEALER)


@pytest.mark.parametrize(
    "show", [str, repr, S3Target.model_dump_json, lambda target: str(target.model_dump())]
)
def test_a_target_never_shows_its_credentials(show: object) -> None:
    assert callable(show)

    shown = show(given())

    assert "s3.amazonaws.com" in shown
    assert KEY_ID not in shown
    assert SECRET not in shown
