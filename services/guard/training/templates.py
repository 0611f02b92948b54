"""Sentences of our own, filled with made-up people, firms and places, for the name tagger to learn from.

`{kind}` is a value to be found, `{kind!}` one that looks alike and is not. Every fill is random.
"""

import random
import re
from collections.abc import Callable

from faker import Faker

LOCALES = ["en_US", "en_GB", "en_CA", "en_AU", "en_IN", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pt_BR", "pl_PL"]

TEMPLATES = """
{person} was admitted to {org} on {date} with chest pain.
Pt {person}, {age} yo, seen by Dr. {person} at {org}, {place}.
Patient name: {person}. DOB: {date}. Address: {address}. Next of kin: {person}.
Discharge summary for {person}: follow up with {person} in the clinic on {date}.
Mr. {last} denies fever; {title} {last} to call his daughter {first} in {place}.
Labs were reviewed by nurse {person} and sent to {org}.
{first} reports that her husband {first} drives her from {place} for dialysis.
Referred by {person}, MD, {org}, {place}. Phone {number!}.
The {age}-year-old {nationality} man was transferred from {org} to {org} on {date}.
History: {person} moved from {place} to {place} in {year}.
MRN {number!}; attending {person}; room {number!}; insurer {org}.
IN THE MATTER OF {upper_person}, Plaintiff, v. {upper_org}, Defendant.
This Agreement is made on {date} between {org}, having its office at {address}, and {person} ("the Consultant").
{person}, of counsel for {org}, appeared before Judge {last} in {place}.
The witness, {person}, testified that on {date} he met {person} outside {place}.
WHEREAS {org} is a corporation organised under the laws of {place};
Signed by {person} for and on behalf of {org}, {place}, {date}.
The court in {place} ruled in favour of {person} against {org}.
Deponent {last} resides at {address} and is employed by {org}.
Counsel for {last} objected; {title} {last} sustained the objection.
The estate of {person}, late of {place}, is administered by {person}.
Please ship order to {person}, {address}.
{person} <{email!}> wrote on {date}: can somebody from {org} look at the build in {place}?
Assign the ticket to {first}; {first} {last} from {org} found the regression.
git blame says {person} changed this in {year}, ask {first} on Slack.
Hi {first}, the deploy to the {place} region failed, regards, {first}
user={user} host={host!} login ok from {place}
2024-03-01 10:22:11 INFO user {user} ({person}) logged in from {place}
The user {user} cannot sign in since {date}.
Signed-off-by: {person} <{email!}>
Co-authored-by: {person}
{{"customer": "{person}", "city": "{place}", "employer": "{org}", "note": "vip"}}
{{"first_name": "{first}", "last_name": "{last}", "address": "{address}"}}
name,city,company\\n{person},{place},{org}\\n{person},{place},{org}
| {person} | {place} | {org} |
<td>{person}</td><td>{place}</td>
patient_name={person}&city={place}
INSERT INTO staff (name, city) VALUES ('{person}', '{place}');
my name is {lower_person} and i live in {lower_place}
hey its {lower_first}, {lower_last} from {lower_org} told me to write
yo can u ask {lower_first} if {lower_first} is back from {lower_place}
THE PACKAGE FOR {upper_person} IN {upper_place} WAS LOST
Dear {first}, thank you for calling {org}. Sincerely, {person}
Dear {title} {last}, your appointment with {person} is on {date}.
Write a reference letter for {person}, who worked at {org} in {place} from {year} to {year}.
Summarise the meeting between {person}, {person} and {person} of {org}.
Translate: "{first} wohnt in {place} und arbeitet bei {org}."
Frau {last} aus {place} hat am {date} bei {org} gekündigt.
Sehr geehrter Herr {last}, Ihre Bestellung geht an {address}.
Madame {last} habite {address} et travaille chez {org}.
Bonjour, je suis {person}, j'habite à {place}.
La señora {last} vive en {place} y trabaja en {org}.
Hola {first}, ¿has visto a {person} en {place}?
Il signor {last} abita in {address}.
Mevrouw {last} woont in {place} en werkt bij {org}.
Nazywam się {person} i pracuję w {org} w {place}.
O senhor {last} mora em {place}.
My neighbours {first} and {first} flew to {place} last {month!}.
{first}'s brother {first} owns a shop in {place}.
I met {person} in {place}; she is {nationality} and works for {org}.
Is {org} hiring in {place}? {first} said so.
{org} shares fell after {org} bought {org}.
{person} (born {date}) is a {nationality} singer from {place}.
The {nationality} embassy in {place} wrote to {person}.
We drove from {place} to {place} via {place}.
{person}, {person} and {person} signed the letter.
{last}, {first} ({place})
From: {person}\\nTo: {person}\\nSubject: invoice from {org}
Name: {person}\\nCity: {place}\\nCompany: {org}\\nDate: {date}
Emergency contact: {person}, {address}
Mail it to {address} before {date}.
I live at {address}.
Where is {place}? It is near {place}.
Who founded {org}? I think it was {person}.
{title} {person} will see you at {org} on {date}.
She is {age} years old and lives in {place} with {first}.
RT @{user}: {first} is on fire tonight at {place}
@{user} loved the show in {place}, {first} was great
Just landed in {place} with {first} and the {org} crew
{first} pls call {first}
ask {first} about it
please ask {lower_first} {lower_last} about it
Contact {first} for access.
What will the weather be in May, and will Mark the date in March?
Apple pie needs a pink lady, a little brown sugar and a bay leaf.
Explain how a hash table works and give an example in Python.
Write a SQL query that joins orders and customers by id.
Summarise the following article in three bullet points.
The tensor has shape (3, 224, 224) and the mean is 0.5.
How do I reset my password?
The General Terms and Conditions apply to the Service and the Product.
Please Find Attached The Quarterly Report And The Signed Contract.
WARNING: DO NOT TURN OFF THE MACHINE WHILE THE UPDATE IS RUNNING
Error: Connection refused while reading response header from upstream
TypeError: Cannot read properties of undefined (reading 'map')
The Ministry of Silly Walks is a sketch; Monday is a day; English is a language.
What is the difference between a Jack Russell and a Boston terrier?
Turn the Great Gatsby summary into a haiku about hope and grace.
Does the Jordan River flow, and is a china cup chic in paris fashion?
Translate Hello World into French and German.
Why is my Docker container exiting with code 137 on Kubernetes?
I will bill the client, then sue for damages if rich people drew a red line.
""".strip().splitlines()

TITLES = ["Mr.", "Mrs.", "Ms.", "Dr.", "Mr", "Mrs", "Miss", "Prof.", "Professor", "Sir", "Dame", "Judge"]
HOSPITALS = ["General Hospital", "Medical Center", "Clinic", "University Hospital", "Health", "Memorial Hospital"]
FIRMS = [
    "Inc",
    "LLC",
    "Ltd",
    "GmbH",
    "Group",
    "Labs",
    "Systems",
    "Partners",
    "& Sons",
    "Bank",
    "Holdings",
    "University",
]
NATIONS = (
    "American British Canadian German French Spanish Italian Dutch Polish Indian Chinese Japanese Brazilian Mexican"
    " Turkish Greek Swedish Norwegian Danish Finnish Irish Scottish Australian Nigerian Kenyan Egyptian Iranian"
    " Russian Ukrainian Korean Vietnamese Thai Jewish Muslim Christian Hindu Buddhist Catholic"
).split()
PLACES = (
    "Berlin London Paris Madrid Rome Amsterdam Warsaw Mumbai Delhi Tokyo Beijing Chicago Boston Texas California"
    " Ohio Florida Ontario Toronto Sydney Melbourne Germany France Spain Italy India Brazil Mexico China Japan Canada"
    " Kenya Nigeria Cairo Istanbul Lisbon Dublin Glasgow Leeds Bavaria Tuscany Scotland Wales Europe Africa Asia"
    " Brooklyn Manhattan Seattle Denver Houston Miami Vienna Zurich Geneva Prague Budapest Athens Oslo Stockholm"
).split()


class Filler:
    """Fills a template and notes where each value came to stand."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        Faker.seed(seed)
        self._fakers = [Faker(locale) for locale in LOCALES]
        self._kinds: dict[str, tuple[str, Callable[[Faker], str]]] = {
            "person": ("PERSON", self._person),
            "first": ("PERSON", lambda fake: fake.first_name()),
            "last": ("PERSON", lambda fake: fake.last_name()),
            "org": ("ORGANIZATION", self._org),
            "place": ("LOCATION", self._place),
            "address": ("ADDRESS", lambda fake: fake.address() if self._half() else fake.address().replace("\n", ", ")),
            "date": ("DATE_TIME", self._date),
            "year": ("DATE_TIME", lambda fake: str(self._random.randint(1950, 2026))),
            "age": ("AGE", lambda fake: str(self._random.randint(18, 97))),
            "nationality": ("NRP", lambda fake: self._random.choice(NATIONS)),
            "title": ("TITLE", lambda fake: self._random.choice(TITLES)),
            "user": ("USERNAME", lambda fake: fake.user_name()),
            "number": ("", lambda fake: str(self._random.randint(100, 99_999_999))),
            "email": ("", lambda fake: fake.email()),
            "host": ("", lambda fake: f"web-{self._random.randint(1, 99)}"),
            "month": ("", lambda fake: fake.month_name()),
        }

    def fill(self, template: str) -> tuple[str, list[tuple[int, int, str]]]:
        """The text, and its spans as (start, end, type)."""
        fake = self._fakers[0] if self._random.random() < 0.5 else self._random.choice(self._fakers)
        text, spans, last = "", [], 0
        for hole in re.finditer(r"\{(lower_|upper_)?([a-z]+)(!?)\}", template):
            text += _plain(template[last : hole.start()])
            kind, make = self._kinds[hole.group(2)]
            value = make(fake)
            value = {"lower_": value.lower(), "upper_": value.upper()}.get(hole.group(1) or "", value)
            if kind and not hole.group(3):
                spans.append((len(text), len(text) + len(value), kind))
            text += value
            last = hole.end()
        text += _plain(template[last:])
        if self._random.random() < 0.06:
            text = text.lower()
        return text, spans

    def sentences(self, count: int) -> list[tuple[str, list[tuple[int, int, str]]]]:
        return [self.fill(self._random.choice(TEMPLATES)) for _ in range(count)]

    def _half(self) -> bool:
        return self._random.random() < 0.5

    def _person(self, fake: Faker) -> str:
        first, last = fake.first_name(), fake.last_name()
        roll = self._random.random()
        if roll < 0.7:
            return f"{first} {last}"
        if roll < 0.8:
            return f"{first} {self._random.choice('ABCDEFGHJKLMNPRSTW')}. {last}"
        if roll < 0.87:
            return f"{last}, {first}"
        return f"{first[0]}. {last}" if roll < 0.93 else f"{first} {fake.first_name()} {last}"

    def _org(self, fake: Faker) -> str:
        roll = self._random.random()
        if roll < 0.4:
            return str(fake.company())
        if roll < 0.6:
            return f"{fake.last_name()} {self._random.choice(FIRMS)}"
        if roll < 0.75:
            return f"{self._random.choice(PLACES)} {self._random.choice(HOSPITALS)}"
        if roll < 0.9:
            return f"{fake.word().capitalize()}{self._random.choice(['ly', 'ify', 'soft', 'base', 'tech', 'AI', ' Labs', 'Corp'])}"
        return "".join(self._random.choices("ABCDEFGHIKLMNOPRST", k=3))

    def _place(self, fake: Faker) -> str:
        roll = self._random.random()
        return self._random.choice(PLACES) if roll < 0.45 else fake.city() if roll < 0.8 else fake.country()

    def _date(self, fake: Faker) -> str:
        pattern = self._random.choice(
            ["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%y", "%B %d, %Y", "%d %B %Y", "%b %d", "%d.%m.%Y"]
        )
        return str(fake.date_object().strftime(pattern))


def _plain(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}").replace("\\n", "\n")
