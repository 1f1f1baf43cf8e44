"""Which IP addresses are public: what `image_url` may be fetched from, whatever form the address is written in."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# The IANA special-purpose registries, kept here because `is_global` has changed between Python releases.
_SPECIAL_4 = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
_GLOBAL_6 = ip_network("2000::/3")
_SPECIAL_6 = [
    ip_network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")  # Teredo and ORCHID, documentation, 6to4
]
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address, as `getaddrinfo` gives it, is one of the public internet.

    IPv4 within IPv6 (mapped, NAT64) is judged as IPv4; what tunnels IPv4 elsewhere (6to4, Teredo) is not public.
    """
    ip = ip_address(address.partition("%")[0])
    if "%" in address:
        return False
    if isinstance(ip, IPv6Address):
        return _is_public_6(ip)
    return _is_public_4(ip)


def _is_public_6(ip: IPv6Address) -> bool:
    if ip.ipv4_mapped is not None:
        return _is_public_4(ip.ipv4_mapped)
    if ip in _NAT64:
        return _is_public_4(IPv4Address(int(ip) & 0xFFFFFFFF))
    return ip in _GLOBAL_6 and not any(ip in network for network in _SPECIAL_6)


def _is_public_4(ip: IPv4Address) -> bool:
    return not any(ip in network for network in _SPECIAL_4)
