"""Telephone numbers: digits in the groups that people write, weighed by form, country and the words before."""

import re

import phonenumbers

from services.guard.finding import Found

CANDIDATE = re.compile(
    r"(?<![\w.\-/+$€£%#=])(?:\+|00)?\(?\d{1,5}\)?(?:[ .\-–/()]{0,3}\(?\d{1,8}\)?){0,6}(?:\s?(?:x|ext\.?|#)\s?\d{1,6})?(?![\w%]|[.\-/:]\d)",
    re.IGNORECASE,
)
SAID = re.compile(
    r"\b(?:phone|tel|telephone|mobile|cell|call|fax|dial|ring|text|sms|whatsapp|signal|contact|reach|number is|hotline|voicemail"
    r"|telefon\w*|handy|mobil\w*|rufnummer|erreichbar|anruf\w*|téléphone|appel\w*|joindre|portable|teléfono|llama\w*|móvil|telefono"
    r"|chiam\w*|cellulare|telefoon\w*|bel|bellen|mobiel|telefone|celular|lig\w{1,4}|zadzwo\w*|dzwoni\w*|numer)\b[\s\S]{0,40}$",
    re.IGNORECASE,
)
OTHER = re.compile(
    r"\b(?:order|invoice|version|sum|total|id|no|nr|ticket|shape|port|page|room|serial|tracking|isbn|sku|year|card|iban|account|zip"
    r"|commit|pid|code|usd|eur|error|line|build|mrn|case|ref\w*|amount|price|cost|ssn|social|since|from|between)[\s:#.=]*$",
    re.IGNORECASE,
)
NANP = re.compile(
    r"(?:\+?1[ .\-]?)?\(?[2-9]\d{2}\)?[ .\-–]{0,2}[2-9]\d{2}[ .\-–]\d{4}(?:\s?(?:x|ext\.?|#)\s?\d{1,6})?", re.IGNORECASE
)
DATE = re.compile(r"\d{1,4}[./\-]\d{1,2}[./\-]\d{1,4}(?:\s\d{1,2})?")
GROUPED = re.compile(r"\d[ .\-–/()]+\(?\d")
ZIP = re.compile(r"0\d{4}-\d{4}")
"""Of New England's, with its plus four."""
DECIMAL = re.compile(r"0\.\d+(?:[ \-–]+\d\.\d+)*")
COUNTED = re.compile("0?123456789?0?")
"""What stands for digits in code and manuals."""
IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
COUNTRIES = {int(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE}


def phones(text: str) -> list[Found]:
    """Numbers that are probably called, by position."""
    found = []
    for match in CANDIDATE.finditer(text):
        start, end = match.span()
        value = match.group().rstrip(" .-–/(")
        end = start + len(value)
        if value.count("(") < value.count(")") and value.endswith(")"):
            value, end = value[:-1], end - 1
        number = "".join(char for char in re.split(r"(?i)x|ext|#", value)[0] if char.isdigit())
        score, reason = _weighed(text, start, value, number)
        if score >= 0.5:
            found.append(Found("PHONE", start, end, score, "phone", reason))
    return found


def _weighed(text: str, start: int, value: str, number: str) -> tuple[float, str]:
    if not 7 <= len(number) <= 15 or any(one.fullmatch(value) for one in (DATE, IP, ZIP, DECIMAL, COUNTED)):
        return 0.0, ""
    before = text[max(0, start - 60) : start]
    said = SAID.search(before) is not None
    if value.startswith(("+", "00")):
        known = any(int(number.lstrip("0")[:n] or 0) in COUNTRIES for n in (1, 2, 3))
        return (0.9, "a country code and digits") if known and len(number) >= 8 else (0.0, "")
    if NANP.fullmatch(value):
        return (0.85 if said else 0.75), "the form of a North American number"
    if OTHER.search(before) and not said:
        return 0.0, ""
    grouped = GROUPED.search(value) is not None
    if value.startswith(("0", "(0")) and 9 <= len(number) <= 12:
        return (0.85 if said else 0.7 if grouped else 0.5), "a trunk prefix and digits"
    if said:
        return 0.7, "digits, and words about calling"
    if value.startswith("(") and ")" in value[:7] and 9 <= len(number) <= 12:
        return 0.65, "an area code in brackets"
    if grouped and 9 <= len(number) <= 11 and re.fullmatch(r"(?:1[ .\-])?\d{2,4}(?:[ .\-]\d{2,4}){2,4}", value):
        return 0.55, "digits in the groups of a number that is called"
    return 0.0, ""
