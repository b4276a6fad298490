"""Connections to hosts of strangers' addresses: public ones only, but for hosts that the user allows by name.

A name is resolved once, what it resolves to is checked, and that address is connected to: a name that means another
address a moment later (DNS rebinding) gains nothing.
"""

import ipaddress
import socket
from collections.abc import Collection

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UnsafeHostError(ValueError):
    """The host is on this machine, in a private network, or in one that is reserved."""


def connect(host: str, port: int, allowed: Collection[str], timeout_s: float) -> socket.socket:
    """Connect to a host.

    Args:   host: name or address, without the brackets of IPv6. allowed: names and addresses that may be anywhere.
    Raises: UnsafeHostError: none of its addresses may be connected to. OSError: it is not known, or does not answer.
    """
    found = list(dict.fromkeys(entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    may_be_anywhere = is_allowed(host, allowed)
    addresses = [str(one) for one in found if may_be_anywhere or one in allowed or is_public(str(one))]
    if not addresses:
        raise UnsafeHostError(
            f"host {host[:100]} is at {', '.join(map(str, found[:3]))}: this machine, or a private or reserved "
            f"network; if that is meant, --allow-hosts {host[:100]}"
        )
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout_s)
        except OSError as error:
            failure = error
    raise failure or OSError(f"{host} has no address")


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Does the user allow a host by its name?"""
    return host.lower().rstrip(".") in {name.lower().rstrip(".") for name in allowed}


def is_public(address: str) -> bool:
    """Is it an address in the public internet, not of one machine, one network, or many receivers?"""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast for one in (ip, *_embedded(ip)))


def _embedded(ip: _Address) -> list[_Address]:
    """IPv4 addresses that an IPv6 address leads to."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    found: list[_Address | None] = [ip.ipv4_mapped, ip.sixtofour, ip.teredo[1] if ip.teredo else None]
    if ip in _NAT64:
        found.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [one for one in found if one is not None]
