"""A cross-encoder behind the wire of Hugging Face's text-embeddings-inference: `POST /rerank`, the query and texts in, scores out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import orjson


class RerankerAway(Exception):
    """It does not answer, not in time, or not with what was asked."""


@dataclass(slots=True)
class Reranker:
    url: str
    key: str = field(default="", repr=False)
    _http: aiohttp.ClientSession | None = None

    async def scores(self, query: str, texts: Sequence[str], within_s: float) -> list[float]:
        """A score for each text, in order; more is better.

        Raises:
            RerankerAway
        """
        if self._http is None:
            headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
            self._http = aiohttp.ClientSession(headers=headers)
        body = orjson.dumps({"query": query, "texts": list(texts), "truncate": True})
        try:
            async with (
                asyncio.timeout(within_s),
                self._http.post(
                    f"{self.url.rstrip('/')}/rerank", data=body, headers={"content-type": "application/json"}
                ) as answer,
            ):
                if answer.status != 200:
                    raise RerankerAway(f"it answers {answer.status}")
                found = {int(one["index"]): float(one["score"]) for one in orjson.loads(await answer.read())}
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise RerankerAway(type(error).__name__) from None
        if found.keys() != set(range(len(texts))):
            raise RerankerAway("it left texts out")
        return [found[n] for n in range(len(texts))]

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
