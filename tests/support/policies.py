"""What NetworkPolicies let through: a small reading of them, for one namespace's pods and for addresses."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = dict[str, Any]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """A pod, or an address outside the cluster."""

    labels: Labels = field(default_factory=dict)
    namespace: str = ""
    address: str = ""


@dataclass(frozen=True)
class Network:
    """Policies of one namespace."""

    policies: Sequence[Policy]
    namespace: str

    def lets(self, source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
        """Both ends must agree."""
        goes_out = self._lets("Egress", source, target, port, protocol)
        return goes_out and self._lets("Ingress", target, source, port, protocol)

    def _lets(self, way: str, pod: Place, other: Place, port: int, protocol: str) -> bool:
        """A pod that no policy chooses is open; else one of those that choose it must let it through."""
        if pod.namespace != self.namespace:
            return True
        choosing = [each["spec"] for each in self.policies if self._is_chosen(each["spec"], way, pod)]
        rules = [rule for spec in choosing for rule in spec.get(way.lower(), ())]
        ends = "to" if way == "Egress" else "from"
        return not choosing or any(
            self._has_port(rule, port, protocol) and self._has_end(rule.get(ends), other) for rule in rules
        )

    def _is_chosen(self, spec: Policy, way: str, pod: Place) -> bool:
        return way in spec["policyTypes"] and _matches(spec["podSelector"], pod.labels)

    def _has_port(self, rule: Policy, port: int, protocol: str) -> bool:
        ports = rule.get("ports")
        return not ports or {"port": port, "protocol": protocol} in ports

    def _has_end(self, ends: Sequence[Policy] | None, other: Place) -> bool:
        return not ends or any(self._is_end(end, other) for end in ends)

    def _is_end(self, end: Policy, other: Place) -> bool:
        if block := end.get("ipBlock"):
            return bool(other.address) and _is_in(block, other.address)
        if other.address:
            return False
        selector = end.get("namespaceSelector")
        name = {"kubernetes.io/metadata.name": other.namespace}
        is_there = other.namespace == self.namespace if selector is None else _matches(selector, name)
        return is_there and _matches(end.get("podSelector", {}), other.labels)


def _matches(selector: Policy, labels: Labels) -> bool:
    expressions = selector.get("matchExpressions", ())
    assert all(each["operator"] == "In" for each in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


def _is_in(block: Policy, address: str) -> bool:
    ip = ipaddress.ip_address(address)
    excepted = any(ip in ipaddress.ip_network(each) for each in block.get("except", ()))
    return ip in ipaddress.ip_network(block["cidr"]) and not excepted
