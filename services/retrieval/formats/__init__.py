"""Files of all kinds become text with its structure kept, as Markdown where it has any."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.retrieval.chunks import Shape

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MOST_TEXT = 4_194_304
"""Characters of one document."""
ENDINGS: Mapping[str, str] = {
    ".txt": "text/plain", ".log": "text/plain", ".rst": "text/plain", ".md": "text/markdown", ".markdown": "text/markdown",
    ".html": "text/html", ".htm": "text/html", ".csv": "text/csv", ".json": "application/json", ".pdf": "application/pdf",
    ".docx": DOCX, ".eml": "message/rfc822",
    **{f".{ending}": f"text/x-{language}" for ending, language in (
        ("py", "python"), ("js", "javascript"), ("ts", "typescript"), ("go", "go"), ("rs", "rust"), ("java", "java"),
        ("kt", "kotlin"), ("c", "c"), ("h", "c"), ("cpp", "c++"), ("cs", "csharp"), ("rb", "ruby"), ("php", "php"),
        ("sh", "sh"), ("sql", "sql"), ("proto", "protobuf"), ("yaml", "yaml"), ("yml", "yaml"), ("toml", "toml"),
    )},
}  # fmt: skip
"""What a file is, by the end of its name."""


class Unreadable(Exception):
    """Nothing can be made of a file; says why, and nothing of what stands in it."""


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    shape: Shape = Shape.PLAIN
    title: str = ""
    """As the file itself has it."""


def read(media_type: str, content: bytes) -> Text:
    """
    Raises:
        Unreadable
    """
    made = _reader(media_type)(content)
    if len(made.text) > MOST_TEXT:
        raise Unreadable(f"the text has {len(made.text):,} characters: at most {MOST_TEXT:,}")
    if not made.text.strip():
        raise Unreadable("there is no text in it")
    return made


def simple(media_type: str) -> bool:
    """Whether reading is but decoding."""
    return media_type in ("", "text/plain", "text/markdown") or media_type.startswith("text/x-")


def decoded(content: bytes) -> str:
    """UTF-8, or UTF-16 where a mark says so.

    Raises:
        Unreadable
    """
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"the text is not UTF-8: byte {error.start} does not fit") from None


def _reader(media_type: str) -> Callable[[bytes], Text]:
    """Libraries are loaded with the first file that needs them."""
    match media_type:
        case "" | "text/plain":
            return lambda content: Text(decoded(content))
        case "text/markdown":
            return lambda content: Text(decoded(content), Shape.MARKDOWN)
        case "text/html":
            from services.retrieval.formats.html import read

            return read
        case "application/pdf":
            from services.retrieval.formats.pdf import read

            return read
        case "text/csv" | "application/json":
            from services.retrieval.formats import tables

            return tables.csv if media_type == "text/csv" else tables.json
        case "message/rfc822":
            from services.retrieval.formats.mail import read

            return read
        case _ if media_type == DOCX:
            from services.retrieval.formats.docx import read

            return read
        case _ if media_type.startswith("text/x-"):
            return lambda content: Text(decoded(content), Shape.CODE)
    raise Unreadable(f"{media_type[:100]} is no format that is read here")
