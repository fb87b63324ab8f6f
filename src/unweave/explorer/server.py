"""The explorer's server: one page, the run's numbers as binary, a WebSocket for questions."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import socket
import struct
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..terminal import told
from .batcher import Batcher
from .gate import LOCAL, App, Gate, Scope, Send
from .matching import described
from .session import Session

if TYPE_CHECKING:
    import uvicorn

MOST_CODES = 64
"""Rows of codes in one question."""

LARGEST_CODE = 1e9

LONGEST_MESSAGE = 2**20
"""Bytes of one question: a selection of 100,000 items."""

LONGEST_END = 2.0
"""Seconds that whoever ends a server waits for it."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of messages that are no JSON, of a wrong type, or nested without end."""

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
"""The page's files by their endings."""


Number = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
"""A question's number, which an answer in bytes begins with."""

Item = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
"""An item's number; those that no item has are passed over."""


class Decode(msgspec.Struct, tag="decode", tag_field="ask", forbid_unknown_fields=True):
    """Decode codes; the answer is the question's number and the pictures, as bytes."""

    id: Number
    codes: list[list[float]]
    channel: str = ""
    run: int = 0


class Select(msgspec.Struct, tag="select", tag_field="ask", forbid_unknown_fields=True):
    """Tell what a selection of items has in common."""

    id: Number
    items: list[Item]


class Name(msgspec.Struct, tag="name", tag_field="ask", forbid_unknown_fields=True):
    """Keep a unit's name."""

    id: Number
    unit: str
    name: str
    note: str = ""


Question = Decode | Select | Name


class Explorer:
    """The answers to a page's questions.

    Args:
        session: The run.
        other: A run beside it, over the same items.
    """

    def __init__(self, session: Session, other: Session | None = None) -> None:
        self.session, self.other = session, other
        self.sessions = [session] if other is None else [session, other]
        self._fast = ThreadPoolExecutor(1, "decode")
        self._slow = ThreadPoolExecutor(1, "measure")
        self.decoded = [Batcher(one.decode, self._fast) for one in self.sessions]
        self._pages = itertools.count()

    def app(self) -> Starlette:
        """Return the routes."""
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/run.json", self.run),
                Route("/page/{name}", self.page),
                Route("/codes", self.codes),
                Route("/codes/other", self.codes_of_other),
                Route("/labels", self.labels),
                Route("/item/{number}", self.item),
                Route("/bounds/{name}", self.bounds),
                Route("/plane/{site}/{kind}", self.plane),
                WebSocketRoute("/ask", self.ask),
            ],
            middleware=[Middleware(_Answered)],
        )

    # -- files and arrays --------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """Return a file of the page."""
        name = request.path_params.get("name", "index.html")
        place = resources.files(__package__).joinpath("page")
        known = {file.name: file for file in place.iterdir()}
        kind = KINDS.get(name.rpartition(".")[2])
        if name not in known or kind is None:
            return PlainTextResponse("no such file\n", 404)
        return Response(known[name].read_bytes(), media_type=kind)

    async def run(self, request: Request) -> Response:
        """Return what the page begins with."""
        return JSONResponse(await self._slowly(described, self.session, self.other))

    async def codes_of_other(self, request: Request) -> Response:
        """Return the codes of the run beside it."""
        if self.other is None:
            return PlainTextResponse("no run stands beside this one\n", 404)
        return _binary(self.other.codes)

    async def codes(self, request: Request) -> Response:
        """Return the items' codes as float32, row by row."""
        return _binary(self.session.codes)

    async def labels(self, request: Request) -> Response:
        """Return the items' factors as float32, row by row; −1 where missing."""
        return _binary(self.session.data.factors)

    async def item(self, request: Request) -> Response:
        """Return the picture of an item."""
        number, n = request.path_params["number"], len(self.session.data)
        is_number = number.isdecimal() and len(number) <= len(str(n))
        if not is_number or int(number) >= n:
            return PlainTextResponse(f"items are 0 to {n - 1}\n", 404)
        picture = await self._slowly(self.session.item, int(number))
        return Response(picture, media_type="application/octet-stream")

    async def bounds(self, request: Request) -> Response:
        """Return each item's ELBO or reconstruction log-density."""
        name = request.path_params["name"]
        if name not in ("elbo", "recon"):
            return PlainTextResponse("expected elbo or recon\n", 404)
        found = await self._slowly(lambda: self.session.bounds)
        return _binary(found[name])

    async def plane(self, request: Request) -> Response:
        """Return a site's codes in the plane."""
        site, kind = request.path_params["site"], request.path_params["kind"]
        known = [known.name for known in self.session.sites]
        if site not in known or kind not in ("pca", "tsne"):
            return PlainTextResponse(f"expected pca or tsne of {', '.join(known)}\n", 404)
        try:
            return _binary(await self._slowly(self.session.plane, site, kind))
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", 422)

    async def _slowly(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._slow, call, *arguments)

    # -- questions ---------------------------------------------------------------------------------

    async def ask(self, socket: WebSocket) -> None:
        """Answer a page's questions until it goes."""
        await socket.accept()
        page = next(self._pages)
        decoder = msgspec.json.Decoder(Question)
        tasks = set[asyncio.Task[None]]()
        try:
            while True:
                try:
                    question = decoder.decode(await _received(socket))
                except UNREADABLE as error:
                    await socket.send_json({"id": None, "error": str(error)})
                    continue
                if len(tasks) > MOST_CODES:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.create_task(self._answer(socket, page, question))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except WebSocketDisconnect:
            pass
        finally:
            for task in tasks:
                task.cancel()

    async def _answer(self, socket: WebSocket, page: int, question: Question) -> None:
        answers: dict[type, Callable[..., Awaitable[Any]]] = {
            Decode: self._decode,
            Select: self._select,
            Name: self._name,
        }
        try:
            answer = await answers[type(question)](page, question)
        except Exception as error:  # a page waits for an answer
            answer = {"error": told(error)}
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the page may have gone
            if isinstance(answer, bytes):
                await socket.send_bytes(struct.pack("<I", question.id) + answer)
            elif answer is not None:
                await socket.send_json({"id": question.id, **answer})

    async def _decode(self, page: int, question: Decode) -> bytes | None:
        if not 0 <= question.run < len(self.sessions):
            raise ValueError(f"no run {question.run}; there are {len(self.sessions)}")
        session = self.sessions[question.run]
        columns = len(session.units)
        rows = len(question.codes)
        if not 0 < rows <= MOST_CODES or any(len(row) != columns for row in question.codes):
            raise ValueError(f"expected 1 to {MOST_CODES} rows of {columns} codes")
        codes = np.asarray(question.codes)
        if not np.abs(codes).max() < LARGEST_CODE:
            raise ValueError(f"expected finite codes, below {LARGEST_CODE:g}")
        asker = (page, question.channel)
        items = await self.decoded[question.run](asker, codes.astype(np.float32))
        return None if items is None else session.pictures(items)

    async def _select(self, page: int, question: Select) -> dict[str, Any]:
        n = len(self.session.data)
        chosen = np.asarray(question.items, dtype=np.int64)
        inside = np.zeros(n, dtype=bool)
        inside[chosen[(chosen >= 0) & (chosen < n)]] = True
        if inside.all() or not inside.any():
            raise ValueError("expected a selection of some items, and not of all")
        found: dict[str, Any] = await self._slowly(self.session.selected, inside)
        return found

    async def _name(self, page: int, question: Name) -> dict[str, Any]:
        unit, name, note = question.unit, question.name.strip(), question.note.strip()
        return {"names": await self._slowly(self.session.rename, unit, name, note)}


class _Answered:
    """An app whose errors are answers in one line."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            await PlainTextResponse(f"{told(error)}\n", 500)(scope, receive, send)


async def _received(socket: WebSocket) -> str | bytes:
    """Return the next message, which a page sends as text; others may send the same as bytes."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text: str | None = message.get("text")
    data: bytes = message.get("bytes") or b""
    return data if text is None else text


def _binary(values: NDArray[Any]) -> Response:
    body = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return Response(body, media_type="application/octet-stream")


def serve(explorer: Explorer, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer until Ctrl-C, which ends the process, whatever it is asked or measures.

    Args:
        explorer: The answers.
        host: The address to bind; beyond this machine's own, a token is asked for.
        port: The port; 0 takes a free one.
        ready: Called with the page's address once it answers.

    Raises:
        OSError: If the port is taken.
    """
    token = None if host in LOCAL else secrets.token_urlsafe(16)
    server = _server(Gate(explorer.app(), host, token))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    bound = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{bound}/" + (f"?token={token}" if token else ""))

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = server.force_exit = True

    async def answer() -> None:
        await server.serve([listening])
        sys.stdout.flush()
        os._exit(0)  # a t-SNE that is being made would be waited for

    server.handle_exit = end  # type: ignore[assignment, method-assign]
    asyncio.run(answer())


def in_background(explorer: Explorer) -> tuple[str, Callable[[], None]]:
    """Answer in a thread, as a frame of pages on this machine may show it.

    Returns:
        The page's address, and a function that ends the server.
    """
    host = LOCAL[0]
    server = _server(Gate(explorer.app(), host, is_framed=True))
    listening = socket.create_server((host, 0))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()

    def end() -> None:
        server.should_exit = server.force_exit = True
        thread.join(LONGEST_END)

    return f"http://{host}:{listening.getsockname()[1]}/", end


def _server(app: Gate) -> uvicorn.Server:
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            lifespan="off",
            ws_max_size=LONGEST_MESSAGE,
            server_header=False,
        )
    )
