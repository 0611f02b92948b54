"""How commands call the services of a running mesh: under whose key, and what a refusal looks like."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import grpc
import typer

from services.mesh import running
from services.mesh.screen import fail


class Page(Protocol):
    next_page_token: str


T = TypeVar("T")
P = TypeVar("P", bound=Page)
State = Annotated[Path, typer.Option(help="Folder that the mesh keeps everything in.", envvar="TOLLWAY_STATE")]
Key = Annotated[str, typer.Option(help="API key; the development key without one.", envvar="TOLLWAY_API_KEY")]


def ran(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; a refusal, or no mesh at all, ends the command with its words."""
    try:
        return asyncio.run(work)
    except running.NotUp as error:
        fail(str(error))
    except grpc.aio.AioRpcError as error:
        fail(error.details() or error.code().name)


async def pages(ask: Callable[[str], Awaitable[P]]) -> AsyncIterator[P]:
    """Every page of a list; `ask` is given the token of each, '' first."""
    token = ""
    while True:
        page = await ask(token)
        yield page
        if not (token := page.next_page_token):
            return


def key_of(state: Path, key: str) -> str:
    """`key`, or the development key of the mesh on `state`."""
    file = running.dev_key_file(state)
    if not key and not file.exists():
        fail(f"there is no {file}: start a mesh with `tollway up`, or pass --key")
    return key or file.read_text().strip()
