"""Recognisers by form: what private values look like, what proves them, which words must stand near."""

from collections.abc import Callable
from dataclasses import dataclass

from services.guard import validators as v

CARD_WORDS = "card|visa|amex|master|credit|debit|karte|carte|tarjeta|carta|kaart|cart"
ORDER_WORDS = r"order|invoice|version|sum|total|tracking|serial|isbn|build|ticket|commit|release|sku|part n|case n"


@dataclass(frozen=True, slots=True)
class Pattern:
    """`near` must be found in the 60 characters before or the 20 after, `far` must not (in the 24 before)."""

    name: str
    type: str
    regex: str
    score: float
    reason: str
    check: Callable[[str], bool] | None = None
    near: str = ""
    far: str = ""
    group: int = 0
    cut: Callable[[str], int] | None = None
    """How much of a match is the value itself: a form that ends in words may take in the words behind it."""


TLDS = (
    "com|org|net|edu|gov|mil|int|io|co|ai|app|dev|info|biz|me|tv|cc|xyz|online|site|shop|cloud|tech|uk|us|ca|de|fr|es|it|nl|be"
    "|at|ch|pl|cz|sk|hu|ro|bg|gr|pt|ie|dk|se|no|fi|ee|lv|lt|si|hr|rs|ua|ru|tr|il|in|cn|jp|kr|au|nz|br|mx|ar|cl|za|cy|eu|is|lu"
)
D = r"[\d]"
SEP = r"[ .\-–]"

PATTERNS: tuple[Pattern, ...] = (
    Pattern("email", "EMAIL", r"[\pL\pN._%+\-'&/=?^{|}~]{1,64}@(?:[\pL\pN](?:[\pL\pN\-]{0,62}[\pL\pN])?\.)+[\pL]{2,24}",
            0.95, "an address with a domain", v.address),
    Pattern("card", "CREDIT_CARD", r"\b[2-6]\d{3}(?:[ \-.–]?\d{2,6}){2,4}\b", 0.9, "a card number that passes Luhn",
            v.card, "", r"order|invoice|tracking|serial|isbn|imei|sum|total"),
    Pattern("card-said", "CREDIT_CARD", r"\b\d(?:[ \-.–]?\d){11,18}\b", 0.85, "a number that passes Luhn, and words about cards",
            v.card, CARD_WORDS),
    Pattern("iban", "IBAN", r"\b(?i:[A-Z]{2}\d{2}(?:[ \-–]?[A-Z0-9]{2,4}){2,8}(?:[ \-–]?[A-Z0-9]{1,4})?)\b", 0.97,
            "an IBAN whose check digits are right", v.iban, cut=v.iban_length),
    Pattern("ssn", "US_SSN", r"\b\d{3}[- –]\d{2}[- –]\d{4}\b", 0.85, "the form of a US social security number", v.ssn, "",
            ORDER_WORDS),
    Pattern("ssn-said", "US_SSN", r"\b\d{3}[- –.]?\d{2}[- –.]?\d{4}\b", 0.85, "nine digits, and words about social security",
            v.ssn, r"ssn|social|itin|taxpayer"),
    Pattern("ip4", "IP_ADDRESS", r"\b\d{1,3}(?:\.\d{1,3}){3}\b", 0.8, "four octets", v.ip4, "",
            r"version|driver|release|\bv\.?$|build|firmware|section|chapter"),
    Pattern("ip6", "IP_ADDRESS", r"(?i)\b(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){1,7}\b|\b(?:[0-9a-f]{1,4}:){1,7}:|::(?:[0-9a-f]{1,4}:){0,6}[0-9a-f]{1,4}\b",
            0.8, "an IPv6 address", v.ip6),
    Pattern("mac", "MAC_ADDRESS", r"\b(?i:[0-9a-f]{2}(?:[:\-][0-9a-f]{2}){5})\b", 0.85, "six octets"),
    Pattern("url", "URL", r"\b(?i:https?|ftp)://[^\s<>\"'`{}|\\^]{3,}[^\s<>\"'`{}|\\^.,;:!?)\]]", 0.8, "a URL"),
    Pattern("domain", "URL", rf"\b(?i:www\.[\pL\pN\-]{{1,63}}(?:\.[\pL\pN\-]{{1,63}})+|(?:[\pL\pN][\pL\pN\-]{{1,62}}\.)+(?:{TLDS}))(?:/[^\s<>\"'`]*[\pL\pN/])?\b",
            0.6, "a domain name"),
    Pattern("url-credentials", "SECRET", r"\b[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://[^\s:/@]{1,128}:([^\s@/]{3,128})@[^\s]{3,}", 0.9,
            "a password within a URL", group=1),
    Pattern("bitcoin", "CRYPTO", r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", 0.95, "a Bitcoin address that checks", v.crypto),
    Pattern("bech32", "CRYPTO", r"\b(?:bc1|BC1)[a-zA-Z0-9]{25,62}\b", 0.9, "the form of a Bitcoin address"),
    Pattern("ethereum", "CRYPTO", r"\b0x[0-9a-fA-F]{40}\b", 0.85, "an Ethereum address", v.crypto),
    Pattern("uk-nino", "UK_NINO", r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", 0.8,
            "a UK national insurance number"),
    Pattern("uk-nhs", "UK_NHS", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{4}\b", 0.9, "a UK NHS number that checks", v.nhs, r"nhs|patient|health"),
    Pattern("ca-sin", "CA_SIN", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{3}\b", 0.85, "a Canadian SIN that checks", v.sin, r"\bsin\b|social insurance"),
    Pattern("de-tax", "DE_TAX_ID", r"\b[1-9]\d(?: ?\d{3}){3}\b", 0.9, "a German tax id that checks", v.steuer_id,
            r"steuer|tax|idnr|tin"),
    Pattern("de-id", "DE_ID_CARD", r"\b[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}\d?\b", 0.6, "the form of a German id card",
            None, r"ausweis|reisepass|passport|personalausweis"),
    Pattern("fr-nir", "FR_NIR", r"\b[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}\b", 0.95, "a French social security number", v.nir),
    Pattern("es-nif", "ES_NIF", r"\b(?:\d{8}|[XYZ]\d{7})[ \-]?[A-Z]\b", 0.9, "a Spanish DNI or NIE that checks", v.nif),
    Pattern("it-cf", "IT_FISCAL_CODE", r"\b[A-Z]{6}\d{2}[ABCDEHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b", 0.95, "an Italian fiscal code that checks",
            v.codice_fiscale),
    Pattern("it-vat", "IT_VAT", r"\b(?:IT)?\d{11}\b", 0.7, "an Italian VAT number", v.luhn, r"iva|vat"),
    Pattern("nl-bsn", "NL_BSN", r"\b\d{8,9}\b", 0.85, "a Dutch BSN that checks", v.bsn, r"bsn|burgerservice|sofi"),
    Pattern("in-aadhaar", "IN_AADHAAR", r"\b[2-9]\d{3}[ \-]?\d{4}[ \-]?\d{4}\b", 0.85, "an Aadhaar number that checks", v.aadhaar,
            r"aadha?ar|uid|enrol"),
    Pattern("in-pan", "IN_PAN", r"\b[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]\b", 0.75, "the form of an Indian PAN"),
    Pattern("br-cpf", "BR_CPF", r"\b\d{3}\.?\d{3}\.?\d{3}-\d{2}\b", 0.95, "a Brazilian CPF that checks", v.cpf),
    Pattern("br-cpf-said", "BR_CPF", r"\b\d{11}\b", 0.85, "a Brazilian CPF that checks", v.cpf, r"cpf"),
    Pattern("br-cnpj", "BR_CNPJ", r"\b\d{2}\.?\d{3}\.?\d{3}/\d{4}-\d{2}\b", 0.95, "a Brazilian CNPJ that checks", v.cnpj),
    Pattern("au-tfn", "AU_TFN", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{3}\b", 0.85, "an Australian tax file number that checks", v.tfn,
            r"tfn|tax file"),
    Pattern("au-abn", "AU_ABN", r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b", 0.9, "an Australian business number that checks", v.abn,
            r"abn|business number"),
    Pattern("au-medicare", "AU_MEDICARE", r"\b[2-6]\d{3} ?\d{5} ?\d(?:[ /\-]?\d)?\b", 0.85, "a Medicare card that checks", v.medicare,
            r"medicare"),
    Pattern("pl-pesel", "PL_PESEL", r"\b\d{11}\b", 0.85, "a PESEL that checks", v.pesel, r"pesel"),
    Pattern("us-routing", "US_BANK_ROUTING", r"\b\d{9}\b", 0.8, "a bank routing number that checks", v.routing, r"routing|\baba\b"),
    Pattern("us-bank", "US_BANK_ACCOUNT", r"\b\d{8,17}\b", 0.6, "digits, and words about a bank account", None,
            r"bank acc|account n|acct|checking|savings|konto|sort code"),
    Pattern("uk-sort", "UK_SORT_CODE", r"\b\d{2}-\d{2}-\d{2}\b", 0.7, "a sort code", None, r"sort code|sort-code"),
    Pattern("passport", "PASSPORT", r"\b(?i:[A-Z]{1,2}\d{6,8}[A-Z]?|\d{9})\b", 0.7, "the form of a passport number, and words about one",
            None, r"passport|reisepass|passeport|pasaporte|passaporto|paspoort|passaporte"),
    Pattern("licence", "DRIVER_LICENSE", r"\b(?i:[A-Z]\d{7,14}|[A-Z]{5}\d{6}[A-Z0-9]{5}|\d{7,9})\b", 0.6, "the form of a driving licence",
            None, r"driver.?s? licen|driving licen|führerschein|permis de conduire|carnet de conducir|patente|rijbewijs"),
    Pattern("plate", "LICENSE_PLATE", r"\b(?:[A-Z]{1,3}[ \-][A-Z]{0,2} ?\d{1,4}|[A-Z]{2}\d{2} ?[A-Z]{3}|[A-Z]{2}[ \-]?\d{3}[ \-]?[A-Z]{2}|\d{4} ?[A-Z]{3})\b",
            0.6, "the form of a number plate", None, r"plate|registration|kennzeichen|immatriculation|matr[ií]cula|targa|kenteken|placa"),
    Pattern("dob", "DATE_TIME", r"\b(?:\d{4}-\d{2}-\d{2}|\d{1,2}[/.]\d{1,2}[/.](?:19|20)?\d{2})\b", 0.6, "a date"),
    Pattern("age", "AGE", r"\b(\d{1,3})[ \-](?:years?[ \-]old|yo\b|y/o|year-old)", 0.7, "a number of years", group=1),
)  # fmt: skip
