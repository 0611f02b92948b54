"""Measures as people say them on a command line: `exact`, `similarity`, `judge:MODEL`."""

from pathlib import Path

from tollway.jobs.v1 import jobs_pb2 as pb

from services.mesh.screen import fail

KINDS = {name.removeprefix("KIND_").lower(): number for name, number in pb.Measure.Kind.items() if number}
HELP = f"KIND, judge:MODEL, regex:PATTERN or schema:FILE; repeatable. Kinds: {', '.join(KINDS)}."


def spoken(said: str) -> tuple[pb.Measure, str]:
    """The measure, and what of `said` it has no use for."""
    kind, _, word = said.partition(":")
    if kind not in KINDS:
        fail(f"--measure {said}: one of {', '.join(KINDS)}")
    made = pb.Measure(name=kind, kind=KINDS[kind])
    match kind:
        case "judge":
            made.judge = word
        case "regex":
            made.pattern = word
        case "schema":
            made.schema_json = Path(word).read_text() if Path(word).is_file() else word
        case _:
            return made, word
    return made, ""


def number(whole: str, text: str) -> float:
    """`text` as a number; `whole` is what the user said."""
    try:
        return float(text)
    except ValueError:
        fail(f"{whole}: {text!r} is not a number")
