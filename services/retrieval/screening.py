"""What the guard says of a document before it is searchable: by tenant, personal data stays, is masked, or keeps it out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tollway.chat.v1 import chat_pb2 as chat
from tollway.guard.v1 import guard_pb2, guard_pb2_grpc

from services.retrieval.documents import Document
from services.retrieval.formats import Unreadable

EVERYBODY = "*"
PIECE = 16_000
"""Characters of a message to the guard."""


class Pii(StrEnum):
    KEEP = "keep"
    """Passages are masked when they are read, as prompts are."""
    MASK = "mask"
    """Placeholders for good: nobody gets the values back."""
    REFUSE = "refuse"


@dataclass(slots=True)
class Screening:
    guard: guard_pb2_grpc.GuardServiceStub
    policies: Mapping[str, Pii] = field(default_factory=dict)
    """By tenant, `*` for all others."""

    async def screened(self, tenant: str, document: Document, metadata: tuple[tuple[str, str], ...]) -> Document:
        """The document as the tenant's policy lets it in.

        Raises:
            Unreadable: the policy refuses it.
            grpc.aio.AioRpcError: the guard does not answer; nothing is let in unseen.
        """
        policy = self.policies.get(tenant, self.policies.get(EVERYBODY, Pii.KEEP))
        if policy is Pii.KEEP:
            return document
        said, sealed = list[str](), b""
        for piece in _pieces(document.text):
            message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=piece)])
            request = guard_pb2.InspectPromptRequest(
                messages=[message], sealed_map=sealed, origin=guard_pb2.ORIGIN_DOCUMENT
            )
            seen = await self.guard.InspectPrompt(request, metadata=metadata)
            if seen.masked and policy is Pii.REFUSE:
                kinds = sorted({one.type for one in seen.findings})
                raise Unreadable(f"it holds personal data, which the tenant's policy keeps out: {', '.join(kinds)}")
            sealed = seen.sealed_map
            said.append(seen.messages[0].parts[0].text if seen.masked else piece)
        return document.saying("".join(said))


def _pieces(text: str) -> Iterator[str]:
    """Cut between paragraphs where there are any, so that no value is cut in two."""
    start = 0
    while len(text) - start > PIECE:
        for mark in ("\n\n", "\n", " "):
            if (stop := text.rfind(mark, start + PIECE // 2, start + PIECE)) > 0:
                break
        else:
            stop = start + PIECE
        yield text[start:stop]
        start = stop
    yield text[start:]
