"""What a prompt's surface tells of how hard it is: a fixed list of numbers, microseconds to make. Pure."""

import math
import re

import numpy as np
import numpy.typing as npt
import re2

KINDS = {
    "negations": "not except false never least unless none",
    "exam_words": "all following which statement true correct",
    "suppositions": "if when then suppose find let given",
    "amounts": "many much total each per twice half percent remaining left",
}
"""Words that count towards a feature."""
_KIND_OF = {word: name for name, words in KINDS.items() for word in words.split()}
OPERATOR = re.compile(r"[=+*/^<>]")
CODE = re.compile(r"```|\b(?:def|class|import|return|function|const|select|from)\b|[{};]|=>|\(\)")
OPTION = re.compile(r"^\s*[A-H][.)]\s+(.*)$", re.M)
WORD = re.compile(r"\w+")
CUES = {
    "cue_translation": r"\b(?:translat\w+|in (?:german|french|spanish|dutch|italian|portuguese|japanese|polish|hindi|turkish|"
    r"chinese|english|russian|korean|arabic)|into (?:german|french|spanish|dutch|italian|portuguese|japanese|polish|"
    r"hindi|turkish|chinese|english|russian|korean|arabic)|locali[sz]e|übersetz\w*|tradu\w+|vertaal)\b",
    "cue_summary": r"\b(?:summar\w+|tl;?dr|condense|shorten|shorter|abstract|recap|main points|key points|headline|boil|digest|gist)\b",
    "cue_class": r"\b(?:classif\w+|categor\w+|label|sentiment|spam|tag each|intent|topic|rate from|positive or negative|toxic|which category)\b",
    "cue_extract": r"\b(?:extract|pull (?:out )?the|list every|find all|return the fields|named entit\w+|identify the|as json|fill this|"
    r"copy out|key facts|appear below|in this text|from the (?:text|invoice|e-?mail|following))\b",
    "cue_code": r"```|\b(?:python|javascript|typescript|java|rust|golang|sql|bash|c\+\+|c#|kotlin|dockerfile|regex|regular expression|"
    r"unit tests?|refactor|stack trace|pull request|compile\w*|function that|api|html|css|json schema|debug)\b",
    "cue_maths": r"\b(?:solve|derivative|integral|integrate|probability|equation|how many|how much|sum of|determinant|simplify|prove|compute|"
    r"calculate|percent|square root)\b|\d\s*[+*/×^=]\s*\d",
    "cue_reason": r"\b(?:step by step|which of the following|compare|pros and cons|why might|argu\w+|must be true|evidence|root cause|reasoning|"
    r"who lied|decide which|weigh|flaw|plan a|what would follow|ethical)\b",
    "cue_chat": r"\b(?:hi|hello|thanks|how are you|joke|recommend|advice|good morning|tell me|what do you think|birthday|e-mail to|write an?)\b",
}


def _compiled() -> re2.Set:
    """All cues, and after them code, in one automaton: microseconds, however many they are."""
    made = re2.Set.SearchSet()
    for pattern in CUES.values():
        made.Add(f"(?i){pattern}")
    made.Add(CODE.pattern)
    made.Compile()
    return made


_CUES = _compiled()

NAMES = (
    "log_characters", "log_words", "numbers", "log_numbers", "lines", "questions", "money", "blanks", "negations",
    "operators", "exam_words", "capitals", "word_length", "quotes", "suppositions", "amounts", "code", "commas",
    "semicolons", "options", "log_options_length", "log_question_length", "distinct_words", "question_numbers", *CUES,
)  # fmt: skip
MOST_CHARACTERS = 16_384

Vector = npt.NDArray[np.float32]


def features(text: str) -> list[float]:
    """One number for each of [NAMES][], not yet scaled."""
    text = text[:MOST_CHARACTERS]
    words = text.split()
    options = OPTION.findall(text) if "\n" in text else []
    question = OPTION.sub("", text) if options else text
    spoken = WORD.findall(text.lower())
    asked = WORD.findall(question.lower()) if options else spoken
    kinds = list(map(_KIND_OF.get, spoken))
    numbers = sum(map(str.isdecimal, spoken))
    cues = frozenset(_CUES.Match(text) or ())
    return [
        math.log1p(len(text)),
        math.log1p(len(words)),
        float(numbers),
        math.log1p(numbers),
        float(text.count("\n")),
        float(text.count("?")),
        float(text.count("$") + text.count("%")),
        float("__" in text),
        float(kinds.count("negations")),
        float(len(OPERATOR.findall(text))),
        float(kinds.count("exam_words")),
        sum(map(str.isupper, [word[0] for word in words])) / max(1, len(words)),
        sum(map(len, words)) / max(1, len(words)),
        float(text.count('"') + text.count("'")),
        float(kinds.count("suppositions")),
        float(kinds.count("amounts")),
        float(len(CODE.findall(text))) if len(CUES) in cues else 0.0,
        float(text.count(",")),
        float(text.count(";")),
        float(len(options)),
        math.log1p(sum(map(len, options))),
        math.log1p(len(question)),
        len(set(asked)) / max(1, len(asked)),
        float(numbers if asked is spoken else sum(map(str.isdecimal, asked))),
        *(float(n in cues) for n in range(len(CUES))),
    ]


def scaled(raw: npt.ArrayLike, mean: Vector, spread: Vector) -> Vector:
    """`raw` in units of its spread over the training rows, cut off at four."""
    made: Vector = np.clip((np.asarray(raw, np.float32) - mean) / spread, -4.0, 4.0)
    return made
