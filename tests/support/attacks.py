# ruff: noqa: RUF001 - some attacks are spelled in letters that look like Latin ones
"""URLs by which strangers try to make a server call where it may not: one table for all ways out.

`{port}` is the port of a canary on loopback that must never hear a byte, `inner.test` its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.internet import ALSO_PUBLIC, PUBLIC, Names

SITE = "http://site.test/pictures"


@dataclass(frozen=True)
class Attack:
    url: str
    names: Names = field(default_factory=dict)
    leads: Sequence[tuple[int, str]] = ()
    """Statuses and locations with which the public site answers, in turn."""


def _hosts(**hosts: str) -> dict[str, Attack]:
    return {
        name.replace("_", " "): Attack(f"http://{host}:{{port}}/pictures") for name, host in hosts.items()
    }


def _names(**names: Sequence[Sequence[str]]) -> dict[str, Attack]:
    return {
        name.replace("_", " "): Attack("http://name.test:{port}/pictures", {"name.test": answers})
        for name, answers in names.items()
    }


def _redirects(**leads: Sequence[tuple[int, str]]) -> dict[str, Attack]:
    names = {"site.test": [[PUBLIC]], "inner.test": [["127.0.0.1"]]}
    return {name.replace("_", " "): Attack(SITE, names, each) for name, each in leads.items()}


def _urls(**urls: str) -> dict[str, Attack]:
    return {
        name.replace("_", " "): Attack(url, {"inner.test": [["127.0.0.1"]]}) for name, url in urls.items()
    }


LITERALS = _hosts(
    loopback="127.0.0.1",
    loopback_elsewhere="127.8.8.8",
    decimal="2130706433",
    hexadecimal="0x7f000001",
    hexadecimal_parts="0x7f.0x0.0x0.0x1",
    octal="017700000001",
    octal_parts="0177.0.0.01",
    padded="00000177.0.0.1",
    one_short="127.1",
    two_short="127.0.1",
    mixed="0x7f.1",
    zero="0",
    unspecified="0.0.0.0",
    this_network="0.1.2.3",
    broadcast="255.255.255.255",
    ten="10.0.0.1",
    seventeen="172.31.255.254",
    home="192.168.0.1",
    carriers_NAT="100.64.0.1",
    benchmarking="198.18.0.1",
    protocols="192.0.0.170",
    documentation="192.0.2.1",
    multicast="224.0.0.1",
    multicast_far="239.255.255.250",
    reserved="240.0.0.1",
    metadata="169.254.169.254",
    metadata_in_decimal="2852039166",
    metadata_of_containers="169.254.170.2",
    metadata_of_Alibaba="100.100.100.200",
    metadata_of_Oracle="192.0.0.192",
    metadata_of_Azure="168.63.129.16",
    metadata_of_AWS_6="[fd00:ec2::254]",
    metadata_of_Google_6="[fd20:ce::254]",
    loopback_6="[::1]",
    loopback_6_in_full="[0:0:0:0:0:0:0:1]",
    unspecified_6="[::]",
    mapped="[::ffff:127.0.0.1]",
    mapped_in_hexadecimal="[::ffff:7f00:1]",
    mapped_metadata="[::ffff:a9fe:a9fe]",
    compatible="[::127.0.0.1]",
    translated="[::ffff:0:127.0.0.1]",
    six_to_four="[2002:7f00:1::]",
    six_to_four_of_Azures="[2002:a83f:8110::]",
    NAT64="[64:ff9b::7f00:1]",
    NAT64_of_metadata="[64:ff9b::169.254.169.254]",
    NAT64_local="[64:ff9b:1::7f00:1]",
    Teredo="[2001:0:53aa:64c:0:f5ff:80ff:fffe]",
    unique_local="[fd12:3456:789a::1]",
    link_local="[fe80::1]",
    link_local_with_zone="[fe80::1%25lo]",
    link_local_with_a_bare_zone="[fe80::1%lo]",
    public_with_zone="[2606:2800:21f::1%25lo]",
    loopback_with_zone="[::1%25lo]",
    site_local="[fec0::1]",
    multicast_6="[ff02::1]",
    documentation_6="[2001:db8::1]",
    documentation_6_new="[3fff::1]",
    discard="[100::1]",
    localhost="localhost",
    localhost_with_a_dot="localhost.",
    below_localhost="anything.localhost",
    loud_localhost="LOCALHOST",
    loopback_with_a_dot="127.0.0.1.",
    circled_digits="①②⑦.⓪.⓪.①",
    full_width_digits="１２７.0.0.1",
    ideographic_dots="127。0。0。1",
    half_width_dots="127｡0｡0｡1",
    circled_localhost="ⓛocalhost",
    percent_encoded="%31%32%37.0.0.1",
    percent_encoded_dots="127%2e0%2e0%2e1",
    one_part_too_many="127.0.0.1.1",
)
NAMES = _names(
    private=[["127.0.0.1"]],
    private_6=[["::1"]],
    mapped=[["::ffff:127.0.0.1"]],
    NAT64=[["64:ff9b::7f00:1"]],
    public_and_private=[[PUBLIC, "127.0.0.1"]],
    private_and_public=[["10.0.0.1", PUBLIC]],
    public_and_private_6=[[PUBLIC, ALSO_PUBLIC, "::1"]],
    all_and_unspecified=[[PUBLIC, "0.0.0.0"]],
    # the check is told another address than the connection would be
    rebinding=[[PUBLIC], ["127.0.0.1"]],
    rebinding_late=[[PUBLIC], [PUBLIC], ["127.0.0.1"]],
    rebinding_after_an_address_that_fails=[[ALSO_PUBLIC], ["127.0.0.1"]],
) | {
    "Googles metadata": Attack(
        "http://metadata.google.internal/computeMetadata", {"metadata.google.internal": [["169.254.169.254"]]}
    ),
    "an address in its name": Attack(
        "http://127.0.0.1.nip.test:{port}/pictures", {"127.0.0.1.nip.test": [["127.0.0.1"]]}
    ),
    "by https": Attack("https://name.test:{port}/pictures", {"name.test": [["127.0.0.1"]]}),
    "a name with a dot": Attack("http://name.test.:{port}/pictures", {"name.test": [["127.0.0.1"]]}),
    "a bucket in the host": Attack(
        "http://pictures.s3.name.test:{port}", {"pictures.s3.name.test": [["127.0.0.1"]]}
    ),
}
INNER = "http://127.0.0.1:{port}/pictures"
REDIRECTS = _redirects(
    moved_permanently=[(301, INNER)],
    found=[(302, INNER)],
    see_other=[(303, INNER)],
    temporary=[(307, INNER)],
    permanent=[(308, INNER)],
    chain=[(302, SITE), (307, "http://site.test/next"), (308, INNER)],
    to_a_name=[(302, "http://inner.test:{port}/")],
    without_a_scheme=[(302, "//127.0.0.1:{port}/")],
    without_a_scheme_to_a_name=[(307, "//inner.test:{port}/")],
    backslashes=[(302, "\\\\127.0.0.1:{port}\\")],
    to_https=[(302, "https://127.0.0.1:{port}/")],
    to_decimal=[(302, "http://2130706433:{port}/")],
    to_metadata=[(302, "http://169.254.169.254/latest/meta-data")],
    to_a_file=[(302, "file:///etc/passwd")],
    to_gopher=[(302, "gopher://127.0.0.1:{port}/_x")],
    with_credentials=[(302, "http://me:pw@127.0.0.1:{port}/")],
    to_no_url=[(302, "http://[::1")],
    for_ever=[(302, SITE)] * 40,
)
ODD = _urls(
    file="file:///etc/passwd",
    file_of_a_host="file://127.0.0.1/etc/passwd",
    gopher="gopher://127.0.0.1:{port}/_PING",
    ftp="ftp://127.0.0.1:{port}/pictures",
    dict="dict://127.0.0.1:{port}/x",
    ldap="ldap://127.0.0.1:{port}/x",
    jar="jar:http://127.0.0.1:{port}/x!/y",
    unix="unix:///var/run/docker.sock",
    http_by_unix="http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    websocket="ws://127.0.0.1:{port}/pictures",
    data_of_text="data:text/plain,pictures",
    no_scheme="127.0.0.1:{port}/pictures",
    no_scheme_with_slashes="//127.0.0.1:{port}/pictures",
    no_slashes="http:127.0.0.1:{port}/pictures",
    one_slash="http:/127.0.0.1:{port}/pictures",
    three_slashes="http:///127.0.0.1:{port}/pictures",
    backslashes="http:\\\\127.0.0.1:{port}\\pictures",
    no_host="http://",
    no_host_but_a_port="http://:{port}/pictures",
    a_user="http://me@inner.test:{port}/pictures",
    a_user_and_a_password="http://me:pw@inner.test:{port}/pictures",
    an_empty_user="http://@inner.test:{port}/pictures",
    a_public_host_as_user="http://site.test@127.0.0.1:{port}/pictures",
    a_public_host_as_user_and_a_port="http://site.test:80@127.0.0.1:{port}/pictures",
    two_users="http://a@site.test@127.0.0.1:{port}/pictures",
    a_user_behind_a_backslash="http://127.0.0.1:{port}\\@site.test/pictures",
    a_host_behind_a_backslash="http://site.test\\@127.0.0.1:{port}/pictures",
    a_fragment_with_a_user="http://127.0.0.1:{port}#@site.test/pictures",
    a_query_with_a_user="http://127.0.0.1:{port}?@site.test/pictures",
    a_space_in_the_host="http://127.0.0.1 .site.test:{port}/pictures",
    a_tab_in_the_host="http://127.0.\t0.1:{port}/pictures",
    a_line_break_in_the_host="http://127.0.0.1\r\n:{port}/pictures",
    a_line_break_in_the_path="http://inner.test:{port}/ HTTP/1.1\r\nX: y",
    a_NUL_in_the_host="http://127.0.0.1\x00.site.test:{port}/pictures",
    an_escape_in_the_host="http://127.0.0.1\x1b.site.test:{port}/pictures",
    a_line_separator="http://127.0.0.1\u2028:{port}/pictures",
    a_zero_width_space="http://127.0.0.1\u200b:{port}/pictures",
    a_letter_that_turns="http://\u202e1.0.0.721:{port}/pictures",
    an_encoded_slash="http://127.0.0.1%2f.site.test:{port}/pictures",
    an_encoded_at="http://site.test%40127.0.0.1:{port}/pictures",
    brackets_around_four="http://[127.0.0.1]:{port}/pictures",
    brackets_around_a_name="http://[inner.test]:{port}/pictures",
    an_open_bracket="http://[::1:{port}/pictures",
    port_zero="http://inner.test:0/pictures",
    port_of_five_digits_too_high="http://inner.test:65536/pictures",
    port_of_letters="http://inner.test:http/pictures",
    port_below_zero="http://inner.test:-1/pictures",
    port_in_full_width="http://127.0.0.1:８０/pictures",
    two_ports="http://127.0.0.1:{port}:80/pictures",
    two_dots="http://inner..test:{port}/pictures",
    a_dot_first="http://.127.0.0.1:{port}/pictures",
    a_long_name="http://" + "a." * 200 + "test:{port}/pictures",
    a_long_part="http://" + "a" * 64 + ".test:{port}/pictures",
    a_very_long_name="http://" + "a" * 7_000 + ":{port}/pictures",
)


ATTACKS = {
    f"{kind}: {name}": attack
    for kind, attacks in {"address": LITERALS, "name": NAMES, "redirect": REDIRECTS, "odd": ODD}.items()
    for name, attack in attacks.items()
}
