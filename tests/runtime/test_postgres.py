"""A service's schema: replicas that start together, a database that comes late, a migration that fails."""

import asyncio
import socket
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from services.runtime import postgres


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (n int); INSERT INTO one VALUES (1);")
    (tmp_path / "0002_more.sql").write_text("INSERT INTO one VALUES (2);")
    return tmp_path


async def rows(url: str, schema: str, migrations: Path) -> int:
    async with postgres.opened(url, schema, migrations, connections=2) as pool:
        return int(await pool.fetchval("SELECT count(*) FROM one"))


async def test_replicas_that_start_together_migrate_once(postgres_url: str, migrations: Path) -> None:
    counts = await asyncio.gather(*(rows(postgres_url, "together", migrations) for _ in range(8)))
    assert counts == [2] * 8


async def test_a_bad_migration_leaves_nothing(postgres_url: str, migrations: Path) -> None:
    (migrations / "0003_bad.sql").write_text("CREATE TABLE half (n int); SELECT nonsense;")
    with pytest.raises(asyncpg.PostgresError):
        await rows(postgres_url, "bad", migrations)
    (migrations / "0003_bad.sql").unlink()
    assert await rows(postgres_url, "bad", migrations) == 2


async def test_a_database_that_comes_late_is_waited_for(postgres_url: str, migrations: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    parts = urlsplit(postgres_url)
    late = f"postgresql://postgres:@127.0.0.1:{port}{parts.path}"
    counted = asyncio.create_task(rows(late, "late", migrations))
    await asyncio.sleep(0.3)
    assert not counted.done()
    there = Path(parse_qs(parts.query)["host"][0], ".s.PGSQL.5432")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, back = await asyncio.open_unix_connection(there)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, back), pump(upstream, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", port):
        assert await counted == 2
