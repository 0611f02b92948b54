"""PDF: its text page by page. What was scanned has none, and is told as such."""

import pypdfium2

from services.retrieval.formats import Text, Unreadable


def read(content: bytes) -> Text:
    """
    Raises:
        Unreadable
    """
    try:
        document = pypdfium2.PdfDocument(content)
        pages = [page.get_textpage().get_text_bounded() for page in document]
        title = document.get_metadata_value("Title")
    except pypdfium2.PdfiumError as error:
        raise Unreadable(f"it is no PDF that can be opened: {error}") from None
    text = "\n\n".join(page.replace("\r\n", "\n").strip() for page in pages)
    if not text.strip():
        raise Unreadable(f"there is no text on its {len(pages)} pages: were they scanned?")
    return Text(text, title=title)
