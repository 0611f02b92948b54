"""HTML: the text with headings, lists and tables as Markdown, without scripts, styles and what leads elsewhere."""

from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

from services.retrieval.chunks import Shape
from services.retrieval.formats import Text

ASIDE = ("script", "style", "noscript", "template", "nav", "footer", "aside", "form", "iframe", "svg")


def read(content: bytes) -> Text:
    page = BeautifulSoup(content, "html.parser")
    title = page.title.get_text(" ", strip=True) if page.title else ""
    for one in page.find_all(ASIDE):
        one.decompose()
    body = page.find("main") or page.body or page
    converter = MarkdownConverter(heading_style="ATX", strip=["img", "a"], bullets="-")
    return Text(str(converter.convert_soup(body)).strip(), Shape.MARKDOWN, title)
