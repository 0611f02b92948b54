"""Pairs of our own: harmless changes that keep a question's answer, and near misses that do not.

Changes are applied to given texts; numbers, places, people, units, directions and the like are exchanged, words
are negated or turned to their opposites, questions are reworded by rules.
"""

import random
import re
from collections.abc import Callable

from services.cache.plain import SYNONYMS

OPPOSITES = [
    tuple(pair.split("/"))
    for pair in (
        "increase/decrease more/less most/least before/after first/last enable/disable add/remove buy/sell open/close start/stop"
        " best/worst good/bad fast/slow cheap/expensive hot/cold new/old early/late same/different true/false legal/illegal"
        " safe/unsafe possible/impossible import/export push/pull send/receive borrow/lend win/lose pass/fail accept/reject"
        " raise/lower male/female north/south east/west left/right above/below minimum/maximum highest/lowest longest/shortest"
        " advantages/disadvantages deposit/withdraw upload/download encrypt/decrypt install/uninstall activate/deactivate"
        " lock/unlock increase/reduce inside/outside public/private create/delete daily/monthly weekly/yearly arrive/leave"
        " credit/debit domestic/international physical/virtual pending/declined top-up/withdrawal positive/negative read/write"
        " gain/lose strengths/weaknesses old/young hard/soft love/hate rich/poor always/never everyone/nobody all/some with/without"
        " large/small big/little high/low up/down long/short past/future learn/teach sender/recipient incoming/outgoing"
    ).split()
]
FLIP = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
GROUPS = [
    group.split("/")
    for group in (
        "Python/Java/C++/Rust/Go/JavaScript/Ruby/Kotlin Paris/London/Berlin/Madrid/Tokyo/Chicago/Sydney/Toronto"
        " India/China/France/Germany/Brazil/Japan/Canada/Mexico/Nigeria/Spain Google/Microsoft/Amazon/Apple/Facebook/Netflix"
        " January/March/June/July/October/December Monday/Tuesday/Friday/Sunday dollars/euros/pounds/yen miles/kilometers"
        " celsius/fahrenheit kilograms/pounds/grams meters/feet/inches minutes/hours/days/weeks/months/years iPhone/Android"
        " Visa/Mastercard/Maestro Windows/Linux/macOS red/blue/green/black dog/cat/horse son/daughter/wife/husband/brother"
        " PostgreSQL/MySQL/Oracle/SQLite TensorFlow/PyTorch/Keras physics/chemistry/biology/history train/validation/test"
        " Monday/Wednesday Einstein/Newton/Darwin 2019/2021/2023/2024 Google/Apple USD/EUR/GBP/JPY"
    ).split()
]
POLITE = ["Please tell me: {}", "Hi, {}", "Could you help me? {}", "{} Thanks!", "Hello there! {}", "I was wondering, {}", "Quick question: {}",
          "{} Please.", "hey {}", "Can you tell me {}", "I'd like to know: {}", "{} Thank you in advance."]  # fmt: skip
REWORDS: list[tuple[str, str]] = [
    (r"^how do i ", "how can I "), (r"^how can i ", "what is the way to "), (r"^how do you ", "how does one "),
    (r"^what is the best way to ", "how do I best "), (r"^how to ", "how do I "), (r"^what is ", "what's "), (r"^what are ", "which are "),
    (r"^why is ", "for what reason is "), (r"^why do ", "what is the reason that "), (r"^can i ", "is it possible for me to "),
    (r"^is it possible to ", "can I "), (r"^i want to ", "I would like to "), (r"^i need to ", "I have to "), (r"\bcannot\b", "can't"),
    (r"\bdo not\b", "don't"), (r"\bis not\b", "isn't"), (r"\bget\b", "obtain"), (r"\bbegin\b", "start"), (r"\bquickly\b", "fast"),
    (r"\bpurchase\b", "buy"), (r"\bbuy\b", "purchase"), (r"\brequire\b", "need"), (r"\bneed\b", "require"), (r"\bhelp\b", "assist"),
    (r"\bshow\b", "display"), (r"\blarge\b", "big"), (r"\bsmart\b", "intelligent"), (r"\bmistake\b", "error"), (r"\bchoose\b", "select"),
    (r"\bmovie\b", "film"), (r"\bphone\b", "telephone"), (r"\bcar\b", "automobile"), (r"\bfix\b", "repair"), (r"\bcreate\b", "make"),
    (r"\bmain\b", "principal"), (r"\bdifference between\b", "distinction between"), (r"\blearn\b", "study"), (r"\bjob\b", "work position"),
    (r"\bpossible\b", "feasible"), (r"\bkids\b", "children"), (r"\bmoney\b", "cash"), (r"\bimportant\b", "essential"),
    (r"^what does (.+) mean\??$", r"what is the meaning of \1?"), (r"^what is the meaning of (.+?)\??$", r"what does \1 mean?"),
    (r"^what is the (\w+) of (.+?)\??$", r"tell me the \1 of \2"), (r"^who invented (.+?)\??$", r"who was the inventor of \1?"),
]  # fmt: skip
OPENINGS = [
    "how do i /how can i /how could i /how to /how do you /how would i /how does one /what is the way to /what's the best way to ",
    "what is /what's /tell me /can you tell me what is /do you know /explain ",
    "can i /could i /may i /am i able to /is it possible to ",
    "where can i /where do i /where could i /where is it possible to ",
    "do you /are you able to /can you ",
    "i want to /i'd like to /i would like to /i need to /i wish to ",
    "why is /why's /what is the reason that ",
    "give me /show me /list /provide ",
    "what are /which are /tell me ",
]
"""Beginnings that ask for the same."""
TIMES = [("is", ("was", "will be")), ("are", ("were", "will be")), ("was", ("is", "will be")), ("were", ("are", "will be")),
         ("do", ("did", "will")), ("does", ("did", "will")), ("did", ("do", "will")), ("will", ("did", "would"))]  # fmt: skip
SENSES = {
    word: [other for other in line.split() if other != word]
    for line in SYNONYMS.read_text().splitlines()
    for word in line.split()
}
AUXILIARY = re.compile(
    r"\b(is|are|was|were|can|could|should|will|would|does|do|did|has|have|must|may)\b", re.IGNORECASE
)
Change = Callable[[str, random.Random], str | None]


def typo(text: str, chance: random.Random) -> str | None:
    at = [m for m in re.finditer(r"[A-Za-z]{5,}", text)]
    if not at:
        return None
    word = chance.choice(at)
    n = chance.randrange(word.start() + 1, word.end() - 2)
    roll = chance.random()
    if roll < 0.4:
        return text[:n] + text[n + 1] + text[n] + text[n + 2 :] if text[n] != text[n + 1] else None
    return text[:n] + text[n + 1 :] if roll < 0.7 else text[:n] + text[n] + text[n:]


def case(text: str, chance: random.Random) -> str | None:
    made = chance.choice([text.lower(), text.upper(), text.rstrip("?.!"), text.rstrip("?.!") + "??", text.title()])
    return made if made != text else None


def polite(text: str, chance: random.Random) -> str | None:
    return chance.choice(POLITE).format(text if chance.random() < 0.5 else text[0].lower() + text[1:])


def reword(text: str, chance: random.Random) -> str | None:
    made, count = text, 0
    for pattern, by in chance.sample(REWORDS, len(REWORDS)):
        fresh = re.sub(pattern, by, made, count=1, flags=re.IGNORECASE)
        if fresh != made:
            made, count = fresh, count + 1
        if count == 2:
            break
    return made if made != text else None


def opening(text: str, chance: random.Random) -> str | None:
    """The same question, begun in another way."""
    low = text.lower()
    for group in OPENINGS:
        for known in group.split("/"):
            if low.startswith(known):
                other = chance.choice([one for one in group.split("/") if one != known])
                return (other[0].upper() if text[0].isupper() else other[0]) + other[1:] + text[len(known) :]
    return None


def number(text: str, chance: random.Random) -> str | None:
    found = list(re.finditer(r"\d+", text))
    if not found:
        return None
    one = chance.choice(found)
    other = str(max(1, int(one.group()[:12]) + chance.choice([-10, -2, -1, 1, 2, 5, 10, 100])))
    return text[: one.start()] + other + text[one.end() :] if other != one.group() else None


def added_number(text: str, chance: random.Random) -> str | None:
    words = text.split()
    if len(words) < 4:
        return None
    words.insert(chance.randrange(2, len(words)), str(chance.randint(2, 2030)))
    return " ".join(words)


def opposite(text: str, chance: random.Random) -> str | None:
    found = [m for m in re.finditer(r"[A-Za-z\-]+", text) if m.group().lower() in FLIP]
    if not found:
        return None
    one = chance.choice(found)
    return text[: one.start()] + FLIP[one.group().lower()] + text[one.end() :]


def entity(text: str, chance: random.Random) -> str | None:
    for group in chance.sample(GROUPS, len(GROUPS)):
        for word in group:
            if re.search(rf"\b{re.escape(word)}(?!\w)", text):
                return re.sub(
                    rf"\b{re.escape(word)}(?!\w)", chance.choice([w for w in group if w != word]), text, count=1
                )
    return None


def named(text: str, chance: random.Random, pool: list[str]) -> str | None:
    """Another text's name in the place of this one's."""
    found = list(re.finditer(r"(?<=[a-z,] )[A-Z][A-Za-z]{2,}", text))
    if not found or not pool:
        return None
    one, other = chance.choice(found), chance.choice(pool)
    return text[: one.start()] + other + text[one.end() :] if other != one.group() else None


def negated(text: str, chance: random.Random) -> str | None:
    found = list(AUXILIARY.finditer(text))
    if not found:
        return None
    one = chance.choice(found)
    return text[: one.end()] + " not" + text[one.end() :]


def time(text: str, chance: random.Random) -> str | None:
    """The same asked of another time."""
    for word, others in TIMES:
        if found := re.search(rf"\b{word}\b", text, re.IGNORECASE):
            return text[: found.start()] + chance.choice(others) + text[found.end() :]
    return None


def synonym(text: str, chance: random.Random) -> str | None:
    """Up to four words exchanged for others that stand for them."""
    found = [m for m in re.finditer(r"[A-Za-z]{3,}", text) if m.group() in SENSES]
    if not found:
        return None
    for one in sorted(chance.sample(found, min(len(found), chance.randint(1, 4))), key=lambda m: -m.start()):
        text = text[: one.start()] + chance.choice(SENSES[one.group()]) + text[one.end() :]
    return text


def direction(text: str, chance: random.Random) -> str | None:
    for link in (" to ", " from ", " into ", " over ", " than ", " and ", " or ", " for ", " by "):
        if link not in text:
            continue
        left, right = text.split(link, 1)
        a, b = left.split(), right.rstrip("?.!").split()
        if (
            a
            and b
            and a[-1].lower() != b[0].lower()
            and len(a[-1]) > 2
            and len(b[0]) > 2
            and link not in (" and ", " or ")
        ):
            return " ".join([*a[:-1], b[0]]) + link + " ".join([a[-1], *b[1:]]) + text[len(text.rstrip("?.!")) :]
    return None


def replaced(text: str, chance: random.Random, pool: list[str]) -> str | None:
    """A content word of another text in the place of one of this: another question of the same build."""
    found = [m for m in re.finditer(r"[A-Za-z]{5,}", text)]
    if not found or not pool:
        return None
    one, other = chance.choice(found), chance.choice(pool)
    return text[: one.start()] + other + text[one.end() :] if other.lower() != one.group().lower() else None


SAME: list[tuple[str, Change]] = [
    ("typo", typo),
    ("case", case),
    ("politeness", polite),
    ("rephrase", reword),
    ("opening", opening),
    ("opening", opening),
    ("synonym", synonym),
    ("synonym", synonym),
]
OTHER: list[tuple[str, Change]] = [
    ("number", number), ("number-added", added_number), ("antonym", opposite), ("entity", entity), ("negation", negated),
    ("direction", direction), ("time", time),
]  # fmt: skip


def made(texts: list[str], chance: random.Random, rounds: int) -> list[tuple[str, str, int, str]]:
    """(a, b, label, kind): changes of `texts`, harmless ones labelled 1."""
    nouns = sorted({word for text in texts for word in re.findall(r"[a-z]{5,}", text)})
    capitals = sorted({word for text in texts for word in re.findall(r"(?<=[a-z,] )[A-Z][A-Za-z]{2,}", text)})
    pairs = []
    for _ in range(rounds):
        for text in texts:
            if not 8 <= len(text) <= 400:
                continue
            kind, change = chance.choice(SAME)
            if (changed := change(text, chance)) is not None:
                if chance.random() < 0.35:
                    changed = chance.choice(SAME)[1](changed, chance) or changed
                pairs.append((text, changed, 1, kind))
            roll = chance.random()
            if roll < 0.2:
                kind, changed = "name", named(text, chance, capitals)
            elif roll < 0.45:
                kind, changed = "content", replaced(text, chance, nouns)
            else:
                kind, change = chance.choice(OTHER)
                changed = change(text, chance)
            if changed is not None:
                if chance.random() < 0.3:
                    changed = chance.choice(SAME[:3])[1](changed, chance) or changed
                pairs.append((text, changed, 0, kind))
    return pairs
