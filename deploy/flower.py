"""What flower is started with: it is open to its own machine only, unless it asks who is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.errors import Misconfigured
from shared.settings import is_loopback

ADDRESS, PORT = "127.0.0.1", 5555
COLUMNS = "name,kwargs,state,result,received,started,runtime,worker"
"""Of its list: a job's id is in `kwargs`, what became of it in `result`."""


@dataclass(frozen=True)
class FlowerOptions:
    """By flower's own variables, FLOWER_ADDRESS and so on."""

    address: str
    port: int
    variables: dict[str, str] = field(repr=False)
    """Its environment; a password is there and nowhere else."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "FlowerOptions":
        """Raises `Misconfigured`."""
        variables = {
            name: value for name, value in environment.items() if value or not name.startswith("FLOWER_")
        }
        address, port = variables.pop("FLOWER_ADDRESS", ADDRESS), variables.pop("FLOWER_PORT", str(PORT))
        if not (port.isascii() and port.isdigit() and int(port) < 2**16):
            raise Misconfigured(f"FLOWER_PORT must be a port's number, not {port!r}.")
        if _asks_who_is_there(variables):
            return cls(address, int(port), _shown(variables))
        if not is_loopback(address):
            raise Misconfigured(
                f"flower would be open to the world at {address}: set FLOWER_BASIC_AUTH to user:password, or "
                "FLOWER_AUTH_PROVIDER and FLOWER_AUTH, or let it listen on 127.0.0.1."
            )
        # without a password any page that a browser here shows could give orders
        return cls(
            address,
            int(port),
            _shown(variables | {"FLOWER_UNAUTHENTICATED_API": "true", "FLOWER_READ_ONLY": "true"}),
        )


def _shown(variables: Mapping[str, str]) -> dict[str, str]:
    return {"FLOWER_TASKS_COLUMNS": COLUMNS, **variables}


def _asks_who_is_there(variables: Mapping[str, str]) -> bool:
    """Raises `Misconfigured` if FLOWER_BASIC_AUTH is not what flower takes."""
    if basic := variables.get("FLOWER_BASIC_AUTH"):
        for credentials in basic.split(","):
            user, _, password = credentials.partition(":")
            if not (user and password):
                raise Misconfigured(
                    "FLOWER_BASIC_AUTH must be user:password; several are separated by commas."
                )
    return bool(basic or (variables.get("FLOWER_AUTH") and variables.get("FLOWER_AUTH_PROVIDER")))
