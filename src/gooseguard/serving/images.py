"""Image URLs of a request to image parts: `data:` URLs always, remote ones only if the operator allows it.

A server that fetches what strangers name can be made to read its own network. So an address is looked up
here, refused unless it is public, and connected to as it was looked up: the name is not asked for twice. Each
redirect goes the same way. Size and time are limited. Errors never repeat a URL.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import msgspec

from gooseguard.codec.image_format import decode_data_url, make_image_part
from gooseguard.core.content import Modality, Part
from gooseguard.core.errors import ConfigError, ContentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from urllib.parse import SplitResult

    import httpx2

    from gooseguard.core.scorer import Scorer
    from gooseguard.serving.config import ImagesConfig

PORTS = {"http": 80, "https": 443}
"""Schemes that are fetched, and the only port of each."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that a gateway makes IPv4 ones of. Source: RFC 6052, section 2.1."""


class ImageUrl(msgspec.Struct, frozen=True):
    """Where an image is."""

    url: str
    """http(s), or a data URL."""


async def read_parts(
    given: Sequence[str | ImageUrl], scorer: Scorer, config: ImagesConfig
) -> tuple[dict[int, Part], dict[int, str]]:
    """Make parts of texts and of image URLs.

    Returns:
        Place to part, in order, and place to why an image is not among them: it cannot be had, is no image,
        or `scorer` reads none. Where nothing at all could be read, the one part is an image without bytes,
        which no scorer judges.

    Raises:
        ContentError: a text holds a lone surrogate.
    """
    reader = ImageReader(config)
    parts: dict[int, Part] = {}
    missing: dict[int, str] = {}
    for place, one in enumerate(given):
        if isinstance(one, str):
            parts[place] = Part.from_text(one)
        elif Modality.IMAGE not in scorer.modalities:
            # Nothing is fetched: no model reads it.
            missing[place] = f"this is an image; {scorer.name} reads text only, so it was not judged"
        else:
            try:
                parts[place] = await reader.read(one.url)
            except ContentError as error:
                missing[place] = str(error)
    return parts or {0: Part(Modality.IMAGE, b"", "application/octet-stream")}, missing


def is_public(address: str) -> bool:
    """Tell whether an IP address is of the public internet, whatever it is wrapped in.

    Source: the registries of IANA, as Python's `ipaddress` has them.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None or ip in TRANSLATED:
            return False
    return ip.is_global and not ip.is_multicast


async def resolve(host: str, port: int) -> list[str]:
    """Look up the addresses of a host; an address is its own."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class ImageReader:
    """Turns URLs into image parts."""

    def __init__(
        self,
        config: ImagesConfig,
        is_allowed: Callable[[str], bool] = is_public,
        ports: dict[str, int] | None = None,
        look_up: Callable[[str, int], Awaitable[Sequence[str]]] = resolve,
    ) -> None:
        """Take limits; the rest are stand-ins for the internet, in tests."""
        self._config = config
        self._is_allowed = is_allowed
        self._ports = ports or PORTS
        self._look_up = look_up

    async def read(self, url: str) -> Part:
        """Give the image that a URL names, decoded once on a thread, so that a bad one is told from the rest.

        Raises:
            ContentError: it cannot be had, is too large, or no image.
        """
        most = self._config.size_bytes
        if url[:5].lower() == "data:":
            return await self._checked(decode_data_url(url, most))
        if not self._config.remote:
            raise ContentError(
                "the image is at a remote URL, which this server does not fetch; send it as a data URL"
            )
        try:
            async with asyncio.timeout(self._config.timeout_s):
                data = await self._fetch(url)
        except TimeoutError:
            raise ContentError(
                f"the image did not arrive within {self._config.timeout_s:g} s; send it as a data URL"
            ) from None
        return await self._checked(data)

    async def _checked(self, data: bytes) -> Part:
        part = make_image_part(data, max_bytes=self._config.size_bytes)
        await asyncio.to_thread(_decode, data)
        return part

    async def _fetch(self, url: str) -> bytes:
        # Only here: an extra, which a server that fetches nothing does without.
        import httpx2  # noqa: PLC0415

        # Neither proxies nor credentials of the environment.
        async with httpx2.AsyncClient(trust_env=False, timeout=self._config.timeout_s) as client:
            for _ in range(self._config.redirects + 1):
                try:
                    target = await self._get(client, url)
                except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
                    raise ContentError(
                        f"the image could not be fetched ({type(error).__name__}); send it as a data URL"
                    ) from None
                if isinstance(target, bytes):
                    return target
                url = urljoin(url, target)
        raise ContentError(f"the image is behind more than {self._config.redirects} redirects")

    async def _get(self, client: httpx2.AsyncClient, url: str) -> bytes | str:
        """Give what a URL holds, or where it redirects to."""
        parts = self._check(url)
        host, port = parts.hostname or "", self._ports[parts.scheme]
        addresses = await self._look_up(host, port)
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise ContentError("the image's host is no public address; it was not fetched")
        address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        request = client.build_request(
            "GET",
            f"{parts.scheme}://{address}:{port}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}",
            headers={"host": parts.netloc, "accept": "image/*", "accept-encoding": "identity"},
            # What the certificate must be of: the name, not the address.
            extensions={"sni_hostname": host},
        )
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            if response.status_code in REDIRECTS and "location" in response.headers:
                return str(response.headers["location"])
            if response.status_code != 200:
                raise ContentError(
                    f"the image's host answered {response.status_code}, expected 200; send it as a data URL"
                )
            return await self._body(response)
        finally:
            await response.aclose()

    async def _body(self, response: httpx2.Response) -> bytes:
        most = self._config.size_bytes
        chunks: list[bytes] = []
        n_bytes = 0
        async for chunk in response.aiter_raw():
            n_bytes += len(chunk)
            if n_bytes > most:
                raise ContentError(f"the image has more than {most} bytes; send a smaller one")
            chunks.append(chunk)
        return b"".join(chunks)

    def _check(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ContentError("the image's URL is none; expected https://… or data:…") from None
        if parts.scheme not in self._ports or not parts.hostname:
            raise ContentError("the image's URL is of no known scheme; expected https://… or data:…")
        if parts.username is not None or port not in (None, self._ports[parts.scheme]):
            raise ContentError("the image's URL has a user or a port; expected neither")
        return parts


def _decode(data: bytes) -> None:
    """Decode an image, frame by frame, and keep nothing."""
    # Only here: needs Pillow, which whoever runs a model that sees has.
    from gooseguard.codec.image import read_frames  # noqa: PLC0415

    for _ in read_frames(data):
        pass


def check_remote(config: ImagesConfig) -> None:
    """Check that what fetches is installed, where the operator wants it.

    Raises:
        ConfigError: it is not.
    """
    if not config.remote:
        return
    if find_spec("httpx2") is None:
        raise ConfigError("images.remote needs httpx2; run: pip install 'gooseguard[remote]'")
