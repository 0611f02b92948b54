"""A bucket of S3, or of whatever speaks its wire: listed now and then, read where an ETag is another."""

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.retrieval.sources import LARGEST_BYTES, Change, Desk, Kind, SourceAway, SourceSettings, of_file, readable
from services.retrieval.sources.comparing import Listed, compared

PATIENT = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"})


@dataclass(slots=True)
class Bucket:
    settings: SourceSettings
    kind: Kind = Kind.BUCKET

    async def run(self, desk: Desk) -> None:
        try:
            client = await asyncio.to_thread(self._client)
            while True:
                seen = time.time()
                listing = await asyncio.to_thread(self._listing, client)
                await compared(desk, self.settings.collection, listing, partial(self._load, client), seen)
                await asyncio.sleep(self.settings.every_s)
        except (BotoCoreError, ClientError) as error:
            raise SourceAway(f"the bucket cannot be read: {type(error).__name__}") from None

    async def _load(self, client: Any, path: str, listed: Listed) -> Change | None:
        content = await asyncio.to_thread(self._content, client, path)
        return None if content is None else of_file(self.settings, path, content, listed.changed, listed.mark)

    @property
    def _place(self) -> tuple[str, str]:
        """Bucket and prefix."""
        parts = urlsplit(self.settings.url)
        return parts.netloc, parts.path.lstrip("/")

    def _client(self) -> Any:
        """Keys come from where AWS's own tools find them: the environment, a profile, the machine's role."""
        return botocore.session.get_session().create_client(
            "s3", endpoint_url=self.settings.endpoint or None, config=PATIENT
        )

    def _listing(self, client: Any) -> dict[str, Listed]:
        bucket, prefix = self._place
        made: dict[str, Listed] = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", ()):
                path = one["Key"].removeprefix(prefix).lstrip("/")
                if readable(path):
                    made[path] = Listed(f"{one['ETag']}-{one['Size']}", one["LastModified"].timestamp())
        return made

    def _content(self, client: Any, path: str) -> bytes | None:
        bucket, prefix = self._place
        key = f"{prefix.rstrip('/')}/{path}" if prefix else path
        try:
            found = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{LARGEST_BYTES}")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None  # gone meanwhile
            if error.response["Error"]["Code"] in ("InvalidRange", "416"):
                return b""
            raise
        read: bytes = found["Body"].read()
        return read
