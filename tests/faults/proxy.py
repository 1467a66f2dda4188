"""A TCP proxy that breaks what goes through it, as networks do."""

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Self

HOST = "127.0.0.1"
CHUNK = 65_536
CALL_S = 10.0
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to a port, and breaks them on request; a context manager with a thread of its own.

    Args:
        target: the port on 127.0.0.1 that is forwarded to.

    Attributes:
        port: where to connect instead.
        broken: how many connections were broken so far.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: set[_Link] = set()
        self.broken = 0
        self.latency_s = 0.0
        self.refuses = False
        self.is_silent = False
        self.reset_after: int | None = None
        self.lost_reply_to: bytes | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, HOST, 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.mend()
        self.cut()
        self._server.close()
        self._call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    def cut(self) -> None:
        """Reset every connection."""
        self._call(self._reset_all())

    def mend(self) -> None:
        """Forward whole and at once again; what was silent is cut, for its bytes are gone."""
        was_silent = self.is_silent
        self.latency_s, self.refuses, self.is_silent = 0.0, False, False
        self.reset_after, self.lost_reply_to = None, None
        if was_silent:
            self.cut()

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    async def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, writer)
        if self.refuses:
            link.reset()
            return
        self._links.add(link)
        try:
            upstream, link.server = await asyncio.open_connection(HOST, self._target)
            await asyncio.gather(self._forward(link, reader, link.server), self._reply(link, upstream, writer))
        except OSError:
            pass
        finally:
            self._links.discard(link)
            link.reset()

    async def _forward(self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            link.asked = data if self.lost_reply_to and self.lost_reply_to in data else link.asked
            await self._pass_on(link, data, writer)
        link.reset()

    async def _reply(self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            if self.lost_reply_to and link.asked is not None:
                self.lost_reply_to = None
                self.broken += 1
                link.reset()
                return
            await self._pass_on(link, data, writer)
        link.reset()

    async def _pass_on(self, link: "_Link", data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if self.is_silent:
            return
        if self.reset_after is not None:
            data, self.reset_after = data[: self.reset_after], self.reset_after - len(data)
        writer.write(data)
        await writer.drain()
        if self.reset_after is not None and self.reset_after <= 0:
            self.reset_after = None
            self.broken += 1
            link.reset()


class _Link:
    """One connection through the proxy: its two sockets."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.asked: bytes | None = None

    def reset(self) -> None:
        """End both sides at once, without a goodbye."""
        for writer in (self.client, self.server):
            if writer is None or writer.transport.is_closing():
                continue
            own = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
