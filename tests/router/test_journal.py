"""The log of decisions: whole lines, bounded, by tenant, and never a word of what was asked."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.router import journal as journals
from services.router.journal import Journal
from tests.support.waiting import until


def entry(n: int, tenant: str = "acme") -> dict[str, Any]:
    return {"decision": str(n), "tenant": tenant, "at": float(n)}


def test_what_is_noted_is_read_back_by_tenant_and_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "d")
    for n in range(10):
        journal.note(entry(n, "acme" if n % 2 else "other"))
    journal.write()
    assert [one["at"] for one in journal.entries("acme", 4)] == [5, 7, 9]
    again = Journal(tmp_path / "d")  # the next run of the service
    again.note(entry(11))
    again.write()
    assert [one["at"] for one in again.entries("acme", 4)] == [5, 7, 9, 11]


def test_the_newest_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "FILE_BYTES", 200)
    journal = Journal(tmp_path)
    for n in range(200):
        journal.note(entry(n))
        journal.write()
    kept = [int(one["decision"]) for one in journal.entries("acme", 0)]
    assert kept == list(range(kept[0], 200)) and len(list(tmp_path.iterdir())) <= journals.MOST_FILES
    assert kept[0] > 100


def test_half_a_line_is_not_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.note(entry(1))
    journal.write()
    (file,) = tmp_path.iterdir()
    with file.open("ab") as out:
        out.write(b'{"decision": "2", "ten')  # a process was killed while it wrote
    assert len(list(journal.entries("acme", 0))) == 1


def test_a_disk_that_fails_costs_entries_and_is_counted(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    journal = Journal(blocked / "below")
    journal.note(entry(1))
    journal.write()
    assert journal.lost == 1 and list(journal.entries("acme", 0)) == []


def test_more_than_the_disk_takes_is_counted_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_WAITING", 5)
    journal = Journal(tmp_path)
    for n in range(9):
        journal.note(entry(n))
    journal.write()
    assert journal.lost == 4 and len(list(journal.entries("acme", 0))) == 5


async def test_what_waits_is_written_in_the_background_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "EVERY_S", 0.01)
    journal = Journal(tmp_path)
    running = asyncio.create_task(journal.run())
    journal.note(entry(1))
    await until(lambda: len(list(journal.entries("acme", 0))) == 1)
    journal.note(entry(2))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(list(journal.entries("acme", 0))) == 2
