"""Files of a folder that one process has to itself."""

from pathlib import Path

from services.runtime.folders import read_ahead


def test_what_cannot_be_read_ahead_is_passed_over(tmp_path: Path) -> None:
    pages = tmp_path / "segments" / "one" / "payload_storage"
    pages.mkdir(parents=True)
    (pages / "page_0.dat").write_bytes(b"x" * 3_000_000)
    (pages / "page_1.dat").mkdir()
    assert read_ahead(tmp_path) == 3_000_000
