"""`file_search` of Responses: an answer rests on vector stores, and says on which of their files."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.jobs.v1 import jobs_pb2

from services.edge.wire import facts
from services.edge.wire.facts import Filter
from services.edge.wire.vector_store import Id, Ranking, by_order

CALL, RESULTS = "file_search_call", "file_search_call.results"
"""An item, and what `include` asks for with it."""
MARK = re.compile(r"\[(\d{1,3})\]")
"""How a model cites a passage that it was given: by its number."""


class FileSearch(Struct, tag_field="type", tag="file_search"):
    vector_store_ids: Annotated[list[Id], Meta(min_length=1, max_length=8)]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    filters: Filter | None = None
    ranking_options: Ranking | None = None


def ground(made: pb.Grounding, tool: FileSearch, at: str) -> None:
    """Says where to look.

    Raises:
        Refusal: filters that stand too deep within each other, or a threshold that passages cannot be held to.
    """
    by_order(tool.ranking_options, f"{at}.")
    made.collections.extend(tool.vector_store_ids)
    made.limit = tool.max_num_results or made.limit
    facts.filtered(made, tool.filters, f"{at}.filters")


def told(asked: pb.Grounding) -> dict[str, Any]:
    """The tool, as a response repeats it."""
    return {
        "type": "file_search",
        "vector_store_ids": list(asked.collections),
        "max_num_results": asked.limit or None,
        "filters": facts.told(asked),
        "ranking_options": None,
    }


@dataclass(frozen=True, slots=True)
class Searched:
    """What was looked for, and the files that the answer may rest on."""

    query: str
    citations: Sequence[pb.Citation]
    told: bool
    """What was found is told, too."""

    def item(self, name: str) -> dict[str, Any]:
        return {
            "type": CALL, "id": name, "status": "completed", "queries": [self.query],
            "results": sorted(self._results(), key=lambda one: -one["score"]) if self.told else None,
        }  # fmt: skip

    def _results(self) -> Iterator[dict[str, Any]]:
        for one in self.citations:
            about = {"file_id": one.document_id, "filename": one.title or one.document_id}
            for found in one.passages:
                yield {**about, "text": found.text, "score": found.score, "attributes": dict(found.attributes)}

    def annotations(self, text: str) -> Iterator[dict[str, Any]]:
        """One for each place at which the text cites a file."""
        files = {number: one for one in self.citations for number in one.numbers}
        for found in MARK.finditer(text):
            if (one := files.get(int(found[1]))) is not None:
                name = one.title or one.document_id
                yield {"type": "file_citation", "index": found.start(), "file_id": one.document_id, "filename": name}


def searched(work: jobs_pb2.Chat, road: pb.Road) -> Searched | None:
    """None where no vector store was asked for."""
    grounding = work.options.grounding
    if not grounding.collections:
        return None
    asked = next((one for one in reversed(work.chat.messages) if one.role == chat.ROLE_USER), chat.Message())
    return Searched("\n".join(part.text for part in asked.parts if part.text), road.citations, grounding.passages)
