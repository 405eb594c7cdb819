"""Which addresses a client may make us connect to."""

import asyncio
import ipaddress

import httpx
import pytest

from shared.addresses import is_public
from shared.errors import RefusedAddress
from shared.outbound import Outbound, check_url
from tests.support.receiver import running_receiver


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "example.com/hook",
        "http://",
        "http://exa mple.com/",
        "http://user:secret@example.com/",
        "http://localhost/",
        "http://api.localhost/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://224.0.0.1/",
        "http://example.com:99999/",
        "http://[::1/",
    ],
)
def test_a_url_that_is_not_public_is_refused_before_any_look_up(url: str) -> None:
    with pytest.raises(RefusedAddress):
        check_url(url, ())


@pytest.mark.parametrize("url", ["https://example.com/hook?secret=1", "http://93.184.216.34:8080/x"])
def test_a_public_url_passes(url: str) -> None:
    check_url(url, ())


def test_a_private_host_passes_if_the_operator_allows_it() -> None:
    check_url("http://127.0.0.1:9000/hook", ("127.0.0.1",))


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("127.0.0.1", False), ("2001:4860:4860::8888", True), ("::1", False)],
)
def test_public_addresses_are_told_from_private_ones(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


async def post(url: str, allowed: tuple[str, ...]) -> int:
    async with Outbound(allowed).client() as client:
        return (await client.post(url)).status_code


def test_a_name_that_resolves_to_a_private_address_is_refused_at_the_connection() -> None:
    with running_receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        with pytest.raises(RefusedAddress):
            asyncio.run(post(url, ()))

        assert receiver.requests == []


def test_an_allowed_name_is_reached_with_its_own_host_header_and_query() -> None:
    """`localhost` may have an IPv6 address first, where nobody listens: the next one is tried."""
    with running_receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost") + "?secret=a%20b&x"

        assert asyncio.run(post(url, ("localhost",))) == httpx.codes.OK

    (request,) = receiver.requests
    assert request.headers["host"].startswith("localhost:")
    assert request.path == "/hook?secret=a%20b&x"
