"""Server addresses, as a player writes them.

>>> parse("http://localhost:8080")
Address(tls=False, host='localhost', port=8080, prefix='')
>>> parse("https://[::1]/llm/v1/").url
'https://[::1]:443/llm'
"""

import ipaddress
import re
from urllib.parse import urlsplit

from tokex_gguf.values.record import record

_PORTS = {"http": 80, "https": 443}


class BadAddress(ValueError):
    """The text is no address of a server. The message is one line, without a password."""


@record
class Address:
    """The address of a server."""

    tls: bool
    host: str
    """A name, or an IP address without brackets."""
    port: int
    prefix: str
    """The start of all its paths; empty, or with a slash first."""

    @property
    def name(self) -> str:
        """Host and port, as they are shown."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address in normal form."""
        return f"{'https' if self.tls else 'http'}://{self.name}{self.prefix}"

    @property
    def local(self) -> bool:
        """Whether it is this machine, so that no network is involved."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse(text: str) -> Address:
    """Parses an address. Raises BadAddress."""
    if "@" in text:  # not quoted: it may have a password
        raise BadAddress("a server's address has no user and no password in it: a key comes from TOKEX_SERVER_KEY")
    if not re.fullmatch(r"[!-~]+", text):
        raise BadAddress("a server's address is plain ASCII without spaces, such as http://127.0.0.1:8080")
    scheme, separator, _ = text.partition("://")
    if not separator or scheme.lower() not in _PORTS:
        raise BadAddress(f"a server's address begins with http:// or https://, and not as {text[:60]} does")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:  # wrong brackets
        raise BadAddress(f"no address of a server: {text[:60]}") from None
    if not host or not re.fullmatch(r"\[[^\[\]]*\](:.*)?|[^\[\]]*", parts.netloc):
        raise BadAddress(f"an address without the name of a host: {text[:60]}")
    port = _port(parts.netloc, _PORTS[parts.scheme])
    if (":" in host and not _is_ip(host)) or not re.fullmatch(r"[a-z0-9._:-]{1,253}", host):
        raise BadAddress(f"no name of a host: {host[:60]}")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise BadAddress("a server's address ends with its path: there is no ? and no # in it")
    # Other programs take the address with /v1.
    return Address(parts.scheme == "https", host, port, parts.path.rstrip("/").removesuffix("/v1").rstrip("/"))


def _port(netloc: str, usual: int) -> int:
    rest = netloc.rpartition("]")[2] if netloc.startswith("[") else netloc
    _, colon, digits = rest.partition(":")
    if not colon or not digits:
        return usual
    if ":" in digits:
        raise BadAddress(f"an IPv6 address stands in brackets: http://[::1]:8080, and not {netloc[:60]}")
    if not re.fullmatch(r"[0-9]{1,5}", digits) or not 0 < int(digits) < 65536:
        raise BadAddress(f"a port is a number from 1 to 65535, and not {digits[:20]}")
    return int(digits)


def _is_ip(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False
