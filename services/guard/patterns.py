"""Recognisers by form: what private values look like, what proves them, which words must stand near."""

from services.guard import countries
from services.guard import validators as v
from services.guard.pattern import Pattern

CARD_WORDS = "card|visa|amex|master|credit|debit|karte|carte|tarjeta|carta|kaart|cart"
ORDER_WORDS = r"order|invoice|version|sum|total|tracking|serial|isbn|build|ticket|commit|release|sku|part n|case n"


TLDS = (
    "com|org|net|edu|gov|mil|int|io|co|ai|app|dev|info|biz|me|tv|cc|xyz|online|site|shop|cloud|tech|uk|us|ca|de|fr|es|it|nl|be"
    "|at|ch|pl|cz|sk|hu|ro|bg|gr|pt|ie|dk|se|no|fi|ee|lv|lt|si|hr|rs|ua|ru|tr|il|in|cn|jp|kr|au|nz|br|mx|ar|cl|za|cy|eu|is|lu"
)
D = r"[\d]"
SEP = r"[ .\-–]"

PATTERNS: tuple[Pattern, ...] = (
    Pattern("email", "EMAIL", r"(?:[\pL\pN_][\pL\pN._%\-]{0,63}\+[\pL\pN._%+\-=]{1,64}|[\pL\pN_+][\pL\pN._%+\-'&]{0,63})@(?:[\pL\pN](?:[\pL\pN\-]{0,62}[\pL\pN])?\.)+[\pL]{2,24}",
            0.95, "an address with a domain", v.address),
    Pattern("card", "CREDIT_CARD", r"\b[2-6]\d{3}(?:[ \-.–]?\d{2,6}){2,4}\b", 0.9, "a card number that passes Luhn",
            v.card, "", r"order|invoice|tracking|serial|isbn|imei|sum|total|\d\.$"),
    Pattern("card-said", "CREDIT_CARD", r"\b\d(?:[ \-.–]?\d){11,18}\b", 0.85, "a number that passes Luhn, and words about cards",
            v.card, CARD_WORDS),
    Pattern("iban", "IBAN", r"\b(?i:[A-Z]{2}\d{2}(?:[ \-–]?[A-Z0-9]{2,4}){2,8}(?:[ \-–]?[A-Z0-9]{1,4})?)\b", 0.97,
            "an IBAN whose check digits are right", v.iban, cut=v.iban_length),
    Pattern("ssn", "US_SSN", r"\b\d{3}[- –]\d{2}[- –]\d{4}\b", 0.85, "the form of a US social security number", v.ssn, "",
            ORDER_WORDS),
    Pattern("ssn-said", "US_SSN", r"\b\d{3}[- –.]?\d{2}[- –.]?\d{4}\b", 0.85, "nine digits, and words about social security",
            v.ssn, r"(?<![a-z])ssn|social|(?<![a-z])itin|taxpayer"),
    Pattern("ip4", "IP_ADDRESS", r"\b\d{1,3}(?:\.\d{1,3}){3,}\b", 0.8, "four octets", v.ip4, "",
            r"version|driver|release|\bv\.?$|build|firmware|section|chapter|\d\.$"),
    Pattern("ip6", "IP_ADDRESS", r"(?i)\b(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){1,7}\b|\b(?:[0-9a-f]{1,4}:){1,7}:|::(?:[0-9a-f]{1,4}:){0,6}[0-9a-f]{1,4}\b",
            0.8, "an IPv6 address", v.ip6),
    Pattern("mac", "MAC_ADDRESS", r"\b(?i:[0-9a-f]{2}(?:[:\-][0-9a-f]{2}){5})\b", 0.85, "six octets"),
    Pattern("url", "URL", r"\b(?i:https?|ftp)://[^\s<>\"'`{}|\\^]{3,}[^\s<>\"'`{}|\\^.,;:!?)\]]", 0.8, "a URL"),
    Pattern("domain", "URL", rf"\b(?i:www\.[\pL\pN\-]{{1,63}}(?:\.[\pL\pN\-]{{1,63}})+|(?:[\pL\pN][\pL\pN\-]{{1,62}}\.)+(?:{TLDS}))(?:/[^\s<>\"'`]*[\pL\pN/])?\b",
            0.6, "a domain name"),
    Pattern("url-credentials", "SECRET", r"\b[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://[^\s:/@]{1,128}:([^\s@/]{3,128})@[^\s]{3,}", 0.9,
            "a password within a URL", v.password, group=1),
    Pattern("bitcoin", "CRYPTO", r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", 0.95, "a Bitcoin address that checks", v.crypto),
    Pattern("bech32", "CRYPTO", r"\b(?:bc1[pq][ac-hj-np-z02-9]{24,61}|BC1[PQ][AC-HJ-NP-Z02-9]{24,61})\b", 0.9, "the form of a Bitcoin address"),
    Pattern("ethereum", "CRYPTO", r"\b0x[0-9a-fA-F]{40}\b", 0.85, "an Ethereum address", v.crypto),
    Pattern("dob", "DATE_TIME", r"\b(?:\d{4}-\d{2}-\d{2}|\d{1,2}[/.]\d{1,2}[/.](?:19|20)?\d{2})\b", 0.6, "a date"),
    *countries.PATTERNS,
    Pattern("age", "AGE", r"\b(\d{1,3})[ \-](?:years?[ \-]old|yo\b|y/o|year-old)", 0.7, "a number of years", group=1),
)  # fmt: skip
