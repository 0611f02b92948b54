"""E-mail: who wrote to whom and when, and the body; attachments by name alone."""

from email import policy
from email.parser import BytesParser

from services.retrieval.formats import Text, Unreadable, html

TOLD = ("From", "To", "Cc", "Date", "Subject")


def read(content: bytes) -> Text:
    """
    Raises:
        Unreadable
    """
    try:
        message = BytesParser(policy=policy.default).parsebytes(content)
        heads = [f"{name}: {message[name]}" for name in TOLD if message[name]]
        if not heads:
            raise Unreadable("it is no e-mail: it has no header")
        body = message.get_body(("plain", "html"))
        said = body.get_content() if body is not None else ""
        files = [one.get_filename() or "" for one in message.iter_attachments()]
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise Unreadable(f"the e-mail is broken: {type(error).__name__}") from None
    if body is not None and body.get_content_type() == "text/html":
        said = html.read(said.encode()).text
    attached = [f"Attached: {', '.join(filter(None, files))}"] if any(files) else []
    return Text("\n\n".join(["\n".join(heads + attached), str(said).strip()]), title=str(message["Subject"] or ""))
