"""National numbers: those with check digits are found where they check and nowhere else, other forms where words say what they are."""

import random
import re
from collections.abc import Callable

import pytest

from services.guard.app import detector
from services.guard.countries import PATTERNS
from services.guard.detector import Detector
from services.guard.pattern import Pattern
from services.guard.validators import fails_to_raise

COUNTRIES = {"us", "ca", "uk", "de", "fr", "es", "it", "nl", "in", "br", "au"}
FORMS = {
    "us-ein": "##-#######", "us-routing": "0210#####", "ca-sin": "1## ### ###", "ca-bn": "#########RC0001",
    "uk-nhs": "### ### ####", "uk-utr": "##########", "uk-vat": "GB#########", "de-tax": "##########7", "de-vat": "DE#########",
    "de-pension": "12 150585 K ###", "fr-nir": "1 84 12 75 123 456 ##", "fr-spi": "30 23 217 ### ###", "fr-siret": "732 829 320 #####",
    "fr-siren": "732 82# ###", "fr-vat": "FR## ### ### ###", "es-dni": "12345678@", "es-nie": "X#######@", "es-cif": "A########",
    "es-social": "28########67", "es-account": "2100 0418 ## 0200051332", "it-cf": "RSSMRA85T10A562@", "it-vat": "IT0764########"[:13],
    "nl-bsn": "#########", "nl-vat": "NL#########B01", "in-aadhaar": "2345 6789 ####", "in-gstin": "27AAPFU####F1Z@",
    "in-voter": "WKH#######", "br-cpf": "123.456.7##-##", "br-cpf-said": "123456#####", "br-cnpj": "11.222.333/0001-##",
    "br-rg": "12.345.67#-#", "br-cnh": "978#######4", "br-pis": "120.56###.##-#", "au-tfn": "123 45# ###", "au-abn": "51 8## ### ###",
    "au-acn": "004 0## ###", "au-medicare": "2123 45### 1", "pl-pesel": "4405140####",
}  # fmt: skip
WORDS = {
    "us-ein": "Our employer id (EIN) is", "us-itin": "my itin is", "us-routing": "the routing number", "us-bank": "bank account",
    "ca-sin": "my SIN is", "ca-transit": "direct deposit to transit", "uk-nhs": "NHS patient", "uk-utr": "the UTR is", "uk-sort": "sort code",
    "de-tax": "Meine Steuer-ID:", "de-tax-number": "Steuernummer", "de-id": "Personalausweis", "fr-spi": "numéro fiscal",
    "fr-siret": "SIRET", "fr-siren": "SIREN", "fr-id": "carte d'identité", "fr-passport": "passeport", "es-cif": "CIF", "es-social": "número de la seguridad social",
    "es-passport": "pasaporte", "it-vat": "partita IVA", "it-id": "carta d'identità", "nl-bsn": "BSN", "nl-id": "paspoort",
    "in-aadhaar": "Aadhaar", "in-voter": "voter id", "in-ifsc": "IFSC", "br-cpf-said": "CPF", "br-rg": "RG", "br-cnh": "CNH", "br-pis": "PIS",
    "au-tfn": "TFN", "au-acn": "ACN", "au-abn": "ABN", "au-medicare": "Medicare", "au-bsb": "BSB", "pl-pesel": "PESEL",
    "passport": "passport", "licence": "driver's license", "plate": "number plate",
}  # fmt: skip
UNPROVEN = {
    "us-itin": "912-70-1234", "nl-id": "EM0000346",
    "us-bank": "000123456789", "ca-transit": "12345-003", "uk-sort": "20-45-17", "de-tax-number": "93/815/08152", "de-id": "L01X00T471",
    "fr-id": "880692310285", "fr-passport": "09AB12345", "es-passport": "AAA123456", "it-id": "CA00000AA", "in-ifsc": "SBIN0005943",
    "au-bsb": "062-903", "passport": "C01234567", "licence": "D1234567",
}  # fmt: skip
PLATES = ("B MW 1234", "AB12 CDE", "AB-123-CD", "1234 BCD", "KA 01 AB 1234", "ABC1D23", "12-ABC-3")
CHECKED = [one for one in PATTERNS if one.check is not None]


@pytest.fixture(scope="module")
def searched() -> Detector:
    return detector(names=False)


def filled(form: str, check: Callable[[str], bool], good: bool) -> str:
    """`form` with digits for `#` and letters for `@`, so that `check` holds, or does not."""
    chance = random.Random(form)
    for _ in range(100_000):
        made = re.sub("#", lambda _: str(chance.randrange(10)), form)
        made = re.sub("@", lambda _: chance.choice("ABCDEFGHJKLMNPQRSTVWXYZ0123456789"), made)
        if fails_to_raise(check, made) is good:
            return made
    raise AssertionError(f"nothing of the form {form} is {good}")


def test_every_country_has_its_numbers() -> None:
    assert {one.name.split("-")[0] for one in PATTERNS} >= COUNTRIES
    assert {one.name for one in CHECKED} == FORMS.keys()


@pytest.mark.parametrize("pattern", CHECKED, ids=[one.name for one in CHECKED])
def test_what_checks_is_found_and_what_does_not_is_not(searched: Detector, pattern: Pattern) -> None:
    assert pattern.check is not None
    words = WORDS.get(pattern.name, "the number is")
    good = filled(FORMS[pattern.name], pattern.check, good=True)
    found = searched.find(f"{words} {good}, thanks")
    assert any(
        good[hit.start - len(words) - 1 : hit.end - len(words) - 1] and hit.type == pattern.type for hit in found
    ), good
    bad = filled(FORMS[pattern.name], pattern.check, good=False)
    assert all(hit.recognizer != pattern.name for hit in searched.find(f"{words} {bad}, thanks")), bad


@pytest.mark.parametrize("name", sorted(UNPROVEN))
def test_forms_that_could_be_anything_want_words_about_them(searched: Detector, name: str) -> None:
    said = searched.find(f"my {WORDS[name]} {UNPROVEN[name]} is new")
    assert any(hit.end - hit.start == len(UNPROVEN[name]) for hit in said)
    assert all(hit.recognizer != name for hit in searched.find(f"see item {UNPROVEN[name]} below"))


@pytest.mark.parametrize("plate", PLATES)
def test_number_plates(searched: Detector, plate: str) -> None:
    assert any(
        hit.type == "LICENSE_PLATE" for hit in searched.find(f"the vehicle with the number plate {plate} was seen")
    )
    assert all(hit.type != "LICENSE_PLATE" for hit in searched.find(f"we compared {plate} with the others"))
