"""What a prompt's surface tells of how hard it is: a fixed list of numbers, microseconds to make. Pure."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NUMBER = re.compile(r"\d+")
NEGATION = re.compile(r"\b(?:not|except|false|never|least|unless|none)\b", re.I)
OPERATOR = re.compile(r"[=+*/^<>]")
EXAM = re.compile(r"\b(?:all|following|which|statement|true|correct)\b", re.I)
SUPPOSE = re.compile(r"\b(?:if|when|then|suppose|find|let|given)\b", re.I)
AMOUNT = re.compile(r"\b(?:how many|how much|total|each|per|twice|half|percent|remaining|left)\b", re.I)
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
_CUES = {name: re.compile(pattern, re.I) for name, pattern in CUES.items()}

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
    options = OPTION.findall(text)
    question = OPTION.sub("", text) if options else text
    numbers = len(NUMBER.findall(text))
    spoken = WORD.findall(question.lower())
    return [
        np.log1p(len(text)),
        np.log1p(len(words)),
        float(numbers),
        np.log1p(numbers),
        float(text.count("\n")),
        float(text.count("?")),
        float(text.count("$") + text.count("%")),
        float(text.count("__") > 0),
        float(len(NEGATION.findall(text))),
        float(len(OPERATOR.findall(text))),
        float(len(EXAM.findall(text))),
        sum(word[0].isupper() for word in words) / max(1, len(words)),
        sum(map(len, words)) / max(1, len(words)),
        float(text.count('"') + text.count("'")),
        float(len(SUPPOSE.findall(text))),
        float(len(AMOUNT.findall(text))),
        float(len(CODE.findall(text))),
        float(text.count(",")),
        float(text.count(";")),
        float(len(options)),
        np.log1p(sum(map(len, options))),
        np.log1p(len(question)),
        len(set(spoken)) / max(1, len(spoken)),
        float(len(NUMBER.findall(question))),
        *(float(cue.search(text) is not None) for cue in _CUES.values()),
    ]


def scaled(raw: Sequence[float], mean: Vector, spread: Vector) -> Vector:
    """`raw` in units of its spread over the training rows, cut off at four."""
    made: Vector = np.clip((np.asarray(raw, np.float32) - mean) / spread, -4.0, 4.0)
    return made
