"""National numbers: ids, taxes, social security, passports, licences, plates, bank accounts, by country.

What has check digits is proven by them (python-stdnum, or `validators.py` for what it lacks); forms that could be anything
want words about them near.
"""

from stdnum.au import abn, acn, tfn
from stdnum.br import cnpj, cpf
from stdnum.ca import bn, sin
from stdnum.de import idnr
from stdnum.de import vat as de_vat
from stdnum.es import ccc, cif, dni, nie
from stdnum.fr import nif as fr_nif
from stdnum.fr import nir, siren, siret, tva
from stdnum.gb import nhs, utr
from stdnum.gb import vat as gb_vat
from stdnum.in_ import aadhaar, epic, gstin
from stdnum.it import codicefiscale, iva
from stdnum.nl import bsn, btw
from stdnum.pl import pesel
from stdnum.us import ein, rtn

from services.guard import validators as v
from services.guard.pattern import Pattern

PASSPORT_WORDS = r"passport|reisepass|passeport|pasaporte|passaporto|paspoort|passaporte"
PLATE_WORDS = r"plate|registration|vehicle|number.?plate|kennzeichen|immatriculation|plaque|matr[ií]cula|targa|kenteken|placa|rego"
BANK_WORDS = r"bank|account|konto|compte|cuenta|conto|rekening|conta"

PATTERNS: tuple[Pattern, ...] = (
    # United States
    Pattern("us-ein", "US_EIN", r"\b\d{2}-\d{7}\b", 0.85, "an employer's number with a known prefix", ein.is_valid,
            r"\bein\b|employer|tax|federal|irs"),
    Pattern("us-itin", "US_ITIN", r"\b9\d{2}[- –]?[5-9]\d[- –]?\d{4}\b", 0.9, "the form of a US taxpayer number", None,
            r"itin|taxpayer"),
    Pattern("us-routing", "US_BANK_ROUTING", r"\b\d{9}\b", 0.8, "a bank routing number that checks", rtn.is_valid, r"routing|\baba\b"),
    Pattern("us-bank", "US_BANK_ACCOUNT", r"\b\d{8,17}\b", 0.6, "digits, and words about a bank account", None,
            r"bank acc|account n|acct|checking|savings|konto|sort code|bsb|transit"),
    # Canada
    Pattern("ca-sin", "CA_SIN", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{3}\b", 0.85, "a Canadian SIN that checks", sin.is_valid,
            r"\bsin\b|social insurance|\bnas\b|assurance sociale"),
    Pattern("ca-bn", "CA_BUSINESS_NUMBER", r"\b\d{9} ?R[CMPRTZ] ?\d{4}\b", 0.95, "a Canadian business number that checks", bn.is_valid),
    Pattern("ca-transit", "CA_BANK_TRANSIT", r"\b\d{5}-\d{3}\b", 0.7, "a bank's transit and institution number", None,
            r"transit|institution|direct deposit"),
    # United Kingdom
    Pattern("uk-nino", "UK_NINO", r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", 0.8,
            "a UK national insurance number"),
    Pattern("uk-nhs", "UK_NHS", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{4}\b", 0.9, "a UK NHS number that checks", nhs.is_valid,
            r"nhs|patient|health"),
    Pattern("uk-utr", "UK_UTR", r"\b\d{5} ?\d{5}K?\b", 0.9, "a UK taxpayer reference that checks", utr.is_valid,
            r"\butr\b|taxpayer ref|self.?assessment"),
    Pattern("uk-vat", "UK_VAT", r"\bGB ?\d{3} ?\d{4} ?\d{2}(?: ?\d{3})?\b", 0.9, "a UK VAT number that checks", gb_vat.is_valid),
    Pattern("uk-sort", "UK_SORT_CODE", r"\b\d{2}-\d{2}-\d{2}\b", 0.7, "a sort code", None, r"sort code|sort-code"),
    # Germany
    Pattern("de-tax", "DE_TAX_ID", r"\b[1-9]\d(?: ?\d{3}){3}\b", 0.9, "a German tax id that checks", idnr.is_valid,
            r"steuer|tax|idnr|tin"),
    Pattern("de-tax-number", "DE_TAX_NUMBER", r"\b\d{2,3}/\d{3}/\d{4,5}\b", 0.8, "the form of a German tax number", None,
            r"steuer|st\.?-?nr|finanzamt"),
    Pattern("de-vat", "DE_VAT", r"\bDE ?\d{9}\b", 0.9, "a German VAT number that checks", de_vat.is_valid),
    Pattern("de-id", "DE_ID_CARD", r"\b[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}\d?\b", 0.6, "the form of a German id card",
            None, r"ausweis|reisepass|passport|personalausweis"),
    Pattern("de-pension", "DE_SOCIAL_SECURITY", r"\b\d{2} ?\d{6} ?[A-Z] ?\d{3}\b", 0.9, "a German pension number that checks",
            v.rentenversicherung),
    # France
    Pattern("fr-nir", "FR_NIR", r"\b[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}\b", 0.95, "a French social security number",
            nir.is_valid),
    Pattern("fr-spi", "FR_TAX_ID", r"\b[0-3]\d ?\d{2} ?\d{3} ?\d{3} ?\d{3}\b", 0.9, "a French tax number that checks", fr_nif.is_valid,
            r"fiscal|imp[ôo]t|\bspi\b|\bnif\b"),
    Pattern("fr-siret", "FR_SIRET", r"\b\d{3} ?\d{3} ?\d{3} ?\d{5}\b", 0.9, "a French establishment that checks", siret.is_valid,
            r"siret|si[èe]ge|entreprise|soci[ée]t[ée]"),
    Pattern("fr-siren", "FR_SIREN", r"\b\d{3} ?\d{3} ?\d{3}\b", 0.85, "a French company that checks", siren.is_valid, r"siren|\brcs\b"),
    Pattern("fr-vat", "FR_VAT", r"\bFR ?[0-9A-Z]{2} ?\d{3} ?\d{3} ?\d{3}\b", 0.9, "a French VAT number that checks", tva.is_valid),
    Pattern("fr-id", "FR_ID_CARD", r"\b\d{12}\b", 0.7, "the form of a French id card, and words about one", None,
            r"carte (?:nationale )?d.identit|\bcni\b"),
    Pattern("fr-passport", "PASSPORT", r"\b\d{2}[A-Z]{2}\d{5}\b", 0.75, "the form of a French passport, and words about one", None,
            PASSPORT_WORDS),
    # Spain
    Pattern("es-dni", "ES_NIF", r"\b\d{8}[ \-]?[A-Z]\b", 0.9, "a Spanish DNI that checks", dni.is_valid),
    Pattern("es-nie", "ES_NIF", r"\b[XYZ][ \-]?\d{7}[ \-]?[A-Z]\b", 0.9, "a Spanish NIE that checks", nie.is_valid),
    Pattern("es-cif", "ES_CIF", r"\b[ABCDEFGHJNPQRSUVW][ \-]?\d{7}[ \-]?[0-9A-J]\b", 0.85, "a Spanish company that checks", cif.is_valid,
            r"\bcif\b|\bnif\b|empresa|sociedad|s\.l\.|s\.a\."),
    Pattern("es-social", "ES_SOCIAL_SECURITY", r"\b\d{2}[ /\-]?\d{8}[ /\-]?\d{2}\b", 0.9, "a Spanish social security number that checks",
            v.seguridad_social, r"seguridad social|nuss|afiliaci"),
    Pattern("es-account", "ES_BANK_ACCOUNT", r"\b\d{4}[ \-]?\d{4}[ \-]?\d{2}[ \-]?\d{10}\b", 0.9, "a Spanish account that checks",
            ccc.is_valid),
    Pattern("es-passport", "PASSPORT", r"\b[A-Z]{3}\d{6}[A-Z]?\b", 0.7, "the form of a Spanish passport, and words about one", None,
            PASSPORT_WORDS),
    # Italy
    Pattern("it-cf", "IT_FISCAL_CODE", r"\b[A-Z]{6}\d{2}[ABCDEHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b", 0.95, "an Italian fiscal code that checks",
            codicefiscale.is_valid),
    Pattern("it-vat", "IT_VAT", r"\b(?:IT ?)?\d{11}\b", 0.7, "an Italian VAT number", iva.is_valid, r"iva|vat"),
    Pattern("it-id", "IT_ID_CARD", r"\bC[A-Z] ?\d{5} ?[A-Z]{2}\b", 0.8, "the form of an Italian id card, and words about one", None,
            r"identit|\bcie\b"),
    # Netherlands
    Pattern("nl-bsn", "NL_BSN", r"\b\d{8,9}\b", 0.85, "a Dutch BSN that checks", bsn.is_valid, r"bsn|burgerservice|sofi"),
    Pattern("nl-vat", "NL_VAT", r"\bNL ?\d{9} ?B ?\d{2}\b", 0.9, "a Dutch VAT number that checks", btw.is_valid),
    Pattern("nl-id", "NL_ID_CARD", r"\b[A-NP-Z]{2}[A-NP-Z0-9]{6}\d\b", 0.8, "the form of a Dutch passport or id card", None,
            r"paspoort|identiteitskaart|passport|id-?kaart"),
    # India
    Pattern("in-aadhaar", "IN_AADHAAR", r"\b[2-9]\d{3}[ \-]?\d{4}[ \-]?\d{4}\b", 0.85, "an Aadhaar number that checks", aadhaar.is_valid,
            r"aadha?ar|uid|enrol"),
    Pattern("in-pan", "IN_PAN", r"\b[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]\b", 0.75, "the form of an Indian PAN"),
    Pattern("in-gstin", "IN_GSTIN", r"\b\d{2}[A-Z]{5}\d{4}[A-Z][1-9A-Z]Z[0-9A-Z]\b", 0.95, "an Indian tax registration that checks",
            gstin.is_valid),
    Pattern("in-voter", "IN_VOTER_ID", r"\b[A-Z]{3}\d{7}\b", 0.9, "an Indian voter's card that checks", epic.is_valid,
            r"voter|\bepic\b|elect"),
    Pattern("in-ifsc", "IN_IFSC", r"\b[A-Z]{4}0[A-Z0-9]{6}\b", 0.75, "the form of an Indian bank branch", None,
            r"ifsc|neft|rtgs|imps|" + BANK_WORDS),
    # Brazil
    Pattern("br-cpf", "BR_CPF", r"\b\d{3}\.?\d{3}\.?\d{3}-\d{2}\b", 0.95, "a Brazilian CPF that checks", cpf.is_valid),
    Pattern("br-cpf-said", "BR_CPF", r"\b\d{11}\b", 0.85, "a Brazilian CPF that checks", cpf.is_valid, r"cpf"),
    Pattern("br-cnpj", "BR_CNPJ", r"\b\d{2}\.?\d{3}\.?\d{3}/\d{4}-\d{2}\b", 0.95, "a Brazilian CNPJ that checks", cnpj.is_valid),
    Pattern("br-rg", "BR_RG", r"\b\d{1,2}\.\d{3}\.\d{3}-[\dXx]\b", 0.85, "a Brazilian identity card that checks", v.registro_geral,
            r"\brg\b|identidade"),
    Pattern("br-cnh", "BR_CNH", r"\b\d{11}\b", 0.9, "a Brazilian driving licence that checks", v.habilitacao, r"\bcnh\b|habilita"),
    Pattern("br-pis", "BR_PIS", r"\b\d{3}\.?\d{5}\.?\d{2}-?\d\b", 0.9, "a Brazilian PIS that checks", v.pis, r"\bpis\b|pasep|\bnis\b|\bnit\b"),
    # Australia
    Pattern("au-tfn", "AU_TFN", r"\b\d{3}[ \-]?\d{3}[ \-]?\d{3}\b", 0.85, "an Australian tax file number that checks", tfn.is_valid,
            r"tfn|tax file"),
    Pattern("au-abn", "AU_ABN", r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b", 0.9, "an Australian business number that checks", abn.is_valid,
            r"abn|business number"),
    Pattern("au-acn", "AU_ACN", r"\b\d{3} ?\d{3} ?\d{3}\b", 0.85, "an Australian company that checks", acn.is_valid,
            r"\bacn\b|company number"),
    Pattern("au-medicare", "AU_MEDICARE", r"\b[2-6]\d{3} ?\d{5} ?\d(?:[ /\-]?\d)?\b", 0.85, "a Medicare card that checks", v.medicare,
            r"medicare"),
    Pattern("au-bsb", "AU_BSB", r"\b\d{3}-\d{3}\b", 0.75, "a bank's branch number", None, r"\bbsb\b"),
    # Poland
    Pattern("pl-pesel", "PL_PESEL", r"\b\d{11}\b", 0.85, "a PESEL that checks", pesel.is_valid, r"pesel"),
    # Anywhere
    Pattern("passport", "PASSPORT", r"\b(?i:[A-Z]{1,2}\d{6,8}[A-Z]?|\d{9})\b", 0.7, "the form of a passport number, and words about one",
            None, PASSPORT_WORDS),
    Pattern("licence", "DRIVER_LICENSE", r"\b(?i:[A-Z]\d{7,14}|[A-Z]\d{4}[- ]\d{5}[- ]\d{5}|[A-Z]{5}\d{6}[A-Z0-9]{5}|\d{7,9})\b", 0.6,
            "the form of a driving licence", None,
            r"driver.?s? licen|driving licen|führerschein|permis de conduire|carnet de conducir|patente|rijbewijs"),
    Pattern("plate", "LICENSE_PLATE", r"\b(?:[A-Z]{1,3}[ \-][A-Z]{0,2} ?\d{1,4}|[A-Z]{2}\d{2} ?[A-Z]{3}|[A-Z]{2}[ \-]?\d{3}[ \-]?[A-Z]{2}|\d{4} ?[A-Z]{3}"
            r"|[A-Z]{2}[ \-]?\d{1,2}[ \-]?[A-Z]{1,3}[ \-]?\d{4}|[A-Z]{3}-?\d[A-Z0-9]\d{2}|[A-Z]{4}[ \-]?\d{3}|[A-Z0-9]{1,3}-[A-Z0-9]{2,3}-[A-Z0-9]{1,2})\b",
            0.6, "the form of a number plate", None, PLATE_WORDS),
)  # fmt: skip
