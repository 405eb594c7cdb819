"""Who may talk to whom: every connection that the cluster needs, and no other."""

import ipaddress
from itertools import product

import pytest

from shared.addresses import is_public
from tests.support.chart import ALL, Rendered, Values, joined, render
from tests.support.policies import Network, Place

STUDIO = "studio"
PORTS = (53, 80, 443, 5555, 6379, 8000, 8080, 9100, 26379)
PROMETHEUS = Place({"app": "prometheus"}, "monitoring")
INGRESS = Place({"app": "ingress"}, "ingress")
DNS = Place({"k8s-app": "kube-dns"}, "kube-system")
NODE_DNS = Place(address="169.254.20.10")
INTERNET = Place(address="203.0.113.7")
INTERNET_6 = Place(address="2001:db8::7")
PRIVATE = [
    Place(address=each) for each in ("10.1.2.3", "192.168.1.1", "169.254.169.254", "fd00::1", "127.0.0.1")
]
STRANGER = Place({"app": "other"}, STUDIO)
"""Of the same namespace, and of no policy of ours."""

CLIENTS = ("gateway", "worker-gpu", "dispatcher", "flower")
CALLERS = ("gateway", "worker-gpu", "dispatcher", "preload")


def network(rendered: Rendered) -> tuple[Network, dict[str, Place]]:
    """With one pod of each kind."""
    pods = {
        name.removeprefix("pw-printworks-"): Place(pod["metadata"]["labels"], STUDIO)
        for name, pod in rendered.pods().items()
    }
    pods["preload"] = pods.pop(next(name for name in pods if name.startswith("preload")))
    return Network(rendered.of_kind("NetworkPolicy"), STUDIO), pods


def everything(pods: dict[str, Place]) -> dict[str, Place]:
    others = {"prometheus": PROMETHEUS, "ingress": INGRESS, "dns": DNS, "node-dns": NODE_DNS}
    others |= {"internet": INTERNET, "internet-6": INTERNET_6, "stranger": STRANGER}
    others |= {f"private-{place.address}": place for place in PRIVATE}
    return pods | others


def needed(name: str) -> set[tuple[str, str, int]]:
    """Of all that `everything` names; DNS asks by UDP too."""
    outside = {"prometheus", "ingress", "stranger", "internet", "internet-6"}
    outside |= {f"private-{place.address}" for place in PRIVATE} | {"dns", "node-dns"}
    ways = {(each, "redis", 6379) for each in CLIENTS}
    ways |= {(each, "gateway", 8000) for each in outside}
    ways |= {("prometheus", each, 9100) for each in ("worker-gpu", "worker-cpu", "dispatcher")}
    ways |= {("prometheus", "flower", 5555)}
    ways |= {("worker-cpu", "redis", 6379)}
    for each in (*CALLERS, "worker-cpu"):
        ways |= set(product((each,), ("internet", "internet-6"), (80, 443)))
    for each in (*CALLERS, "worker-cpu", "flower"):
        ways |= {(each, "dns", 53), (each, "node-dns", 53)}
    return {way for way in ways if name in ("", way[0])}


def test_what_is_needed_goes_through_and_nothing_else() -> None:
    found, pods = network(render(ALL))
    places, ours = everything(pods), set(pods)

    let = {
        (source, target, port)
        for (source, start), (target, end), port in product(places.items(), places.items(), PORTS)
        if source != target and {source, target} & ours and found.lets(start, end, port)
    }

    assert let == needed("")


def test_names_are_asked_by_both_protocols() -> None:
    found, pods = network(render(ALL))

    asking = {name for name, pod in pods.items() if found.lets(pod, DNS, 53, "UDP")}

    assert asking == {*CALLERS, "worker-cpu", "flower"}


def test_gateways_can_be_closed_to_all_but_the_ingress() -> None:
    closed = {"networkPolicy": {"gatewayFrom": [_namespace("ingress")]}}
    found, pods = network(render(joined(ALL, closed)))

    assert found.lets(INGRESS, pods["gateway"], 8000)
    assert found.lets(PROMETHEUS, pods["gateway"], 8000)  # it reads /metrics there
    assert not found.lets(STRANGER, pods["gateway"], 8000)
    assert not found.lets(INTERNET, pods["gateway"], 8000)


@pytest.mark.parametrize("mode", ["external", "sentinel"])
def test_another_redis_is_reached_where_it_is(mode: str) -> None:
    values: Values = {
        "redis": {
            "mode": mode,
            "external": {"url": {"value": "rediss://r:6380/0"}},
            "sentinel": {"hosts": ["s:26379"], "master": "main"},
        },
        "networkPolicy": {"redisTo": [_namespace("redis")]},
    }
    found, pods = network(render(joined(ALL, values)))
    there, elsewhere = Place({"app": "redis"}, "redis"), Place({"app": "redis"}, "other")

    for port, client in product((6379, 6380, 26379), (*CLIENTS, "worker-cpu")):
        assert found.lets(pods[client], there, port)
        assert not found.lets(pods[client], elsewhere, port)
    assert not found.lets(pods["preload"], there, 6379)


def test_another_redis_may_be_anywhere_unless_it_is_said_where() -> None:
    values: Values = {"redis": {"mode": "external", "external": {"url": {"value": "redis://10.1.2.3/0"}}}}
    found, pods = network(render(joined(ALL, values)))

    assert found.lets(pods["gateway"], PRIVATE[0], 6379)
    assert not found.lets(pods["gateway"], PRIVATE[0], 443)


def test_what_is_in_a_private_network_can_be_let_through() -> None:
    rule = {"to": [_namespace("tracing")], "ports": [{"protocol": "TCP", "port": 4318}]}
    found, pods = network(render(joined(ALL, {"networkPolicy": {"extraEgress": [rule]}})))
    collector = Place({"app": "collector"}, "tracing")

    reaching = {name for name, pod in pods.items() if found.lets(pod, collector, 4318)}

    assert reaching == {*CALLERS, "worker-cpu"}


def test_releases_of_one_namespace_are_closed_to_each_other() -> None:
    first, second = render(ALL), render(ALL, name="other")
    policies = [*first.of_kind("NetworkPolicy"), *second.of_kind("NetworkPolicy")]
    gateway = Place(second.pods()["other-printworks-gateway"]["metadata"]["labels"], STUDIO)
    redis = Place(first.pods()["pw-printworks-redis"]["metadata"]["labels"], STUDIO)

    assert not Network(policies, STUDIO).lets(gateway, redis, 6379)


def test_addresses_that_lead_into_private_networks_are_not_the_internet() -> None:
    found, pods = network(render(ALL))
    private = (
        *("10.0.0.1", "100.64.0.1", "172.31.255.1", "192.168.0.1", "169.254.169.254", "168.63.129.16"),
        *(
            "fc00::1",
            "fe80::1",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
        ),
    )

    for address in private:
        assert not is_public(ipaddress.ip_address(address))
        assert not found.lets(pods["worker-gpu"], Place(address=address), 443), address


def test_no_address_that_clients_may_name_is_closed() -> None:
    """The project itself says which are public."""
    (policy,) = (
        each for each in render(ALL).of_kind("NetworkPolicy") if "outwards" in each["metadata"]["name"]
    )
    blocks = [end["ipBlock"] for end in policy["spec"]["egress"][0]["to"]]

    assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "::/0"]
    for block in blocks:
        for each in map(ipaddress.ip_network, block["except"]):
            assert each.subnet_of(ipaddress.ip_network(block["cidr"]))  # type: ignore[arg-type]
            for address in (each[0], each[each.num_addresses // 2], each[-1]):
                assert not is_public(address), address


def _namespace(name: str) -> Values:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
