"""What carries messages to a server and back: over HTTP, or over the pipes of a process."""

from typing import Protocol

from services.tools.wires.messages import Message


class Wire(Protocol):
    async def ask(self, message: Message, version: str, within_s: float, about: dict[str, str]) -> Message:
        """The answer to a request, a JSON-RPC response or error. `about` are headers that tell of it. Cancelled, the server is told.

        Raises:
            SessionOver: what was agreed in `version` is forgotten there, and nothing was done.
            Failure: one of `faults`.
        """

    async def tell(self, message: Message, version: str) -> None:
        """Says what needs no answer.

        Raises:
            Failure: one of `faults`.
        """

    def forget(self) -> None:
        """What was agreed is no more."""

    async def close(self) -> None: ...
