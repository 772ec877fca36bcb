"""Recognising private addresses, which a server on the web must not lead this machine to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# The only IPv6 range that IANA has allocated as global unicast (RFC 4291, 2.4; registry ipv6-address-space).
GLOBAL_UNICAST = IPv6Network("2000::/3")
# NAT64 has an IPv4 address in the last 32 bits (RFC 6052). Its local-use prefix 64:ff9b:1::/48 (RFC 8215) is private.
NAT64 = IPv6Network("64:ff9b::/96")


class PrivateAddressError(Exception):
    """A host has an address that does not belong to the public internet."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(host, address)
        self.host = host
        self.address = address


def is_private(address: str) -> bool:
    """Whether an IP address is anything but a public address of a single host: private, loopback, multicast …

    An IPv6 address that contains an IPv4 address (mapped, 6to4, NAT64) is judged by the latter.

    Args:
        address: an address of either version, as text; an IPv6 address may have a scope.
    Raises:
        ValueError: it is not an IP address.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        carried = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in NAT64:
            carried = IPv4Address(int(parsed) & 0xFFFF_FFFF)
        if carried is None:
            return parsed not in GLOBAL_UNICAST or not parsed.is_global
        parsed = carried
    return not parsed.is_global or parsed.is_multicast or parsed.is_reserved


def is_loopback(host: str) -> bool:
    """Whether a host is written as this machine's loopback address or ``localhost``; nothing is looked up."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_private_name(host: str) -> bool:
    """Whether a host is written as a private address or ``localhost`` (RFC 6761, 6.3); nothing is looked up."""
    try:
        return is_private(host.strip("[]").rstrip("."))
    except ValueError:
        return host.rstrip(".").rpartition(".")[2].lower() == "localhost"
