"""Word documents: by way of HTML, which keeps headings, lists and tables."""

import io
from zipfile import BadZipFile

import mammoth

from services.retrieval.formats import Text, Unreadable, html


def read(content: bytes) -> Text:
    """
    Raises:
        Unreadable
    """
    try:
        made = mammoth.convert_to_html(io.BytesIO(content), convert_image=mammoth.images.img_element(lambda _: {}))
    except (BadZipFile, KeyError, ValueError, AttributeError) as error:
        raise Unreadable(f"it is no Word document: {type(error).__name__}") from None
    return html.read(str(made.value).encode())
