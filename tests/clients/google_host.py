"""Google's host name on this machine: a proxy that answers as commentanalyzer.googleapis.com.

It ends TLS with a certificate of its own and hands every byte on to our server, as an operator's DNS entry
and reverse proxy would. Knows nothing of HTTP beyond CONNECT and that TLS ended here.
"""

import asyncio
import ssl
import threading

import trustme

HOST = "commentanalyzer.googleapis.com"


class GoogleHost:
    """A running proxy; `environment` is what a client needs to be led to it."""

    def __init__(self, port, folder):
        self._target = port
        authority = trustme.CA()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST, "127.0.0.1").configure_cert(self._context)
        bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers = [
            self._call(asyncio.start_server(self._connect, "127.0.0.1", 0)),
            self._call(asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._context)),
        ]
        addresses = [server.sockets[0].getsockname() for server in self._servers]
        proxy, tls = (f"http://{host}:{port}" for host, port in addresses)
        self.environment = {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            # Of httpx, of requests and of httplib2.
            "SSL_CERT_FILE": str(bundle),
            "REQUESTS_CA_BUNDLE": str(bundle),
            "HTTPLIB2_CA_CERTS": str(bundle),
        }
        # The HTTP library of the Node client speaks TLS to its proxy at once, and asks for the whole URL.
        self.node_environment = {"https_proxy": tls, "NODE_EXTRA_CA_CERTS": str(bundle)}

    def close(self):
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self):
        for server in self._servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _connect(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(f"CONNECT {HOST}:443 ".encode()), head
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.start_tls(self._context)
        await self._pass_on(reader, writer)

    async def _pass_on(self, reader, writer):
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(
                _copy(reader, there_writer, b"x-forwarded-proto: https\r\n"), _copy(there_reader, writer)
            )
        except (ConnectionError, ssl.SSLError):
            # The client is done.
            pass
        finally:
            writer.close()


async def _copy(source, target, header=b""):
    """Copy to the end; a header is put into each request, which these clients send in one piece."""
    while data := await source.read(65536):
        if header and data.startswith((b"GET ", b"POST ")):
            line, _, rest = data.partition(b"\r\n")
            data = line + b"\r\n" + header + rest
        target.write(data)
        await target.drain()
    target.close()
