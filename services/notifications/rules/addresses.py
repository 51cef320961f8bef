"""Where webhooks may go, and what a mail address may look like."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

# The standard library's `is_global` changed between patch releases and calls NAT64, 6to4 and multicast global,
# each of which can stand for an address inside: the lists are ours.
_REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host, reachable from every virtual machine in it
        "169.254.0.0/16",  # link-local, cloud metadata among it
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved and broadcast
    )
)
# Only 2000::/3 is global unicast: loopback, mapped, NAT64 (64:ff9b::/96), unique local, link-local and multicast
# addresses all lie outside it.
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

_MAX_URL = 2000
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}")
_LOCAL_PART = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MAIL = re.compile(rf"(?=.{{1,64}}@){_LOCAL_PART}@(?=.{{1,253}}$){_LABEL}(\.{_LABEL})+")


def is_public(address: str) -> bool:
    """Whether `address` is one that anybody on the internet could be asked to reach."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _REFUSED_V4)
    return parsed.scope_id is None and parsed in _GLOBAL_V6 and not any(parsed in network for network in _REFUSED_V6)


def url_objection(url: str, *, allow_private: bool) -> str | None:
    """Why `url` cannot be a webhook endpoint, before any name is resolved; `None` when it can."""
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return f"at most {_MAX_URL} printable ASCII characters without spaces"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        return "must begin with https://"
    if not host or not _HOST.fullmatch(host) or port == 0:
        return "must name a host, in ASCII"
    if parts.username is not None or parts.password is not None:
        return "must not carry a user name or password"
    if parts.fragment:
        return "must not have a fragment"
    if allow_private or not _is_literal(host):
        return None
    return None if is_public(host) else "must not be a private or reserved address"


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_mail_address(text: str) -> bool:
    """One plain mailbox of a domain with a dot: no display name, no quotes, no line break, ASCII only."""
    return len(text) <= 254 and _MAIL.fullmatch(text) is not None
