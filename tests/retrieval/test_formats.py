"""Files of each kind, and files that cannot be read."""

import asyncio
import io
import os
import signal
import sys
import zipfile
from collections.abc import AsyncIterator

import pytest

from services.retrieval.chunks import Shape
from services.retrieval.formats import DOCX, Unreadable, read
from services.retrieval.formats.aside import Aside

HTML = b"""<html><head><title>Tolls</title><style>p {color: red}</style></head><body><nav>Home</nav>
<h1>Fees</h1><p>Lorries pay <b>nine</b> crowns.</p><script>alert(1)</script>
<table><tr><th>class</th><th>fee</th></tr><tr><td>car</td><td>3</td></tr></table></body></html>"""
MAIL = b"""From: Ann <ann@example.com>\r\nTo: Bob <bob@example.com>\r\nSubject: =?utf-8?q?Br=C3=BCcke?=\r
Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>The bridge is <i>shut</i>.</p>"""


def pdf(*lines: str) -> bytes:
    """A PDF of one page for each line, written by hand."""
    pages = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(lines)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{pages}] /Count {len(lines)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]  # fmt: skip
    for n, line in enumerate(lines):
        stream = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * n} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    body, places = "%PDF-1.4\n", list[int]()
    for n, one in enumerate(objects):
        places.append(len(body))
        body += f"{n + 1} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


def docx() -> bytes:
    """A Word document with a heading, a paragraph and a table, written by hand."""
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = (
        '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Fees</w:t></w:r></w:p>'
        "<w:p><w:r><w:t>Lorries pay nine crowns.</w:t></w:r></w:p>"
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>car</w:t></w:r></w:p></w:tc>"
        "<w:tc><w:p><w:r><w:t>3</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )
    style = f'<w:styles xmlns:w="{word}"><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style></w:styles>'
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("word/document.xml", f'{head}<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>')
        made.writestr("word/styles.xml", head + style)
        made.writestr("[Content_Types].xml", f'{head}<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>')  # fmt: skip
        made.writestr("_rels/.rels", f'{head}<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{relation}/officeDocument" Target="word/document.xml"/></Relationships>')  # fmt: skip
        made.writestr("word/_rels/document.xml.rels", f'{head}<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{relation}/styles" Target="styles.xml"/></Relationships>')  # fmt: skip
    return out.getvalue()


def test_html_keeps_headings_and_tables_and_nothing_that_runs() -> None:
    made = read("text/html", HTML)
    assert made.title == "Tolls" and made.shape is Shape.MARKDOWN
    assert "# Fees" in made.text and "| car | 3 |" in made.text and "**nine**" in made.text
    assert not any(word in made.text for word in ("alert", "color", "Home"))


def test_pdf_page_by_page() -> None:
    assert (
        read("application/pdf", pdf("Lorries pay nine.", "Cars pay three.")).text
        == "Lorries pay nine.\n\nCars pay three."
    )


def test_word_documents() -> None:
    made = read(DOCX, docx())
    assert made.text.startswith("# Fees") and "Lorries pay nine crowns." in made.text and "| car | 3 |" in made.text


def test_rows_and_leaves_carry_their_names() -> None:
    assert read("text/csv", b"class;fee\ncar;3\nlorry;9\n").text == "class: car\nfee: 3\n\nclass: lorry\nfee: 9"
    made = read("application/json", b'{"tolls": [{"class": "car", "fee": 3}], "open": true, "tags": ["a", "b"]}').text
    assert "# tolls" in made and "tolls.class: car\ntolls.fee: 3" in made and "tags: a, b" in made


def test_mail() -> None:
    made = read("message/rfc822", MAIL)
    assert (
        made.title == "Brücke" and "From: Ann <ann@example.com>" in made.text and "The bridge is *shut*." in made.text
    )


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        ("text/plain", b"\xff\x00\xff", "not UTF-8"), ("text/plain", b"  \n", "no text"),
        ("application/pdf", b"%PDF-1.4 nothing", "no PDF"), ("application/pdf", pdf(""), "scanned"),
        (DOCX, b"PK nothing", "no Word document"), ("application/json", b"{", "no JSON"),
        ("application/json", b'{"a":' * 100 + b"1" + b"}" * 100, "levels deep"),
        ("message/rfc822", b"no header at all", "no e-mail"), ("image/png", b"x", "no format"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(kind: str, content: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(kind, content)


@pytest.fixture
async def aside() -> AsyncIterator[Aside]:
    made = Aside(20.0)
    yield made
    await made.close()


async def test_a_reader_that_is_killed_costs_nothing_and_one_that_stands_still_one_file(aside: Aside) -> None:
    assert "nine" in (await aside.read("application/pdf", pdf("Lorries pay nine."))).text
    assert aside.reader is not None
    aside.reader.child.kill()
    assert (await aside.read("application/pdf", pdf("one"))).text == "one"
    aside.reader.child.kill()
    await aside.reader.child.wait()
    assert (await aside.read("application/pdf", pdf("two"))).text == "two"
    os.kill(aside.reader.child.pid, signal.SIGSTOP)
    aside.longest_s = 0.2
    with pytest.raises(Unreadable, match="not read within"):
        await aside.read("application/pdf", pdf("three"))
    aside.longest_s = 20.0
    with pytest.raises(Unreadable, match="no PDF"):
        await aside.read("application/pdf", b"%PDF nothing")
    assert (await aside.read("application/pdf", pdf("four"))).text == "four"


async def test_a_caller_that_leaves_costs_the_next_nothing(aside: Aside) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await aside.read("text/html", HTML)
    assert "Fees" in (await aside.read("text/html", HTML)).text


async def test_a_reader_that_breaks_at_every_try_is_told(aside: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unreadable, match="broke down"):
        await aside.read("application/pdf", pdf("one"))
