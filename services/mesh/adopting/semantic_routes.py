"""What vLLM Semantic Router decides by, as routes: its signals are conditions, its decisions routes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.mesh.adopting.settings import NOTHING, THRESHOLD, Adopted
from services.router.subjects import SUBJECTS

When = dict[str, Any]
"""Conditions, as the settings have them."""
UNITS = {"k": 1_000, "m": 1_000_000}
HARD, EASY = "hard", "easy"
STATIC = ("static", "", None)
RULES = {"latency_aware": "fastest"}
CASCADES = frozenset(("automix", "confidence"))
CASCADE = {"enough": 0.6, "samples": 2}
STATED = ("guard", "jailbreak", "pii", "safety", "response_jailbreak")
GUARDED = "the guard looks at every prompt and answer: docs/policies.md"
PLUGINS = {
    **dict.fromkeys(STATED, GUARDED),
    "rag": "documents: docs/documents.md, and `tollway.ground` in a request",
    "context_compression": "`orchestrator.context_tokens`, or `x-tollway-context-tokens` of a request",
    "header_mutation": "headers go to no provider; `x-tollway-route-taken` tells the route",
    "memory": "`previous_response_id` of Responses goes on from what was said",
    "router_replay": "`tollway route replay`, over decisions that hold no text",
    "shadow_dispatch": "`tollway shadow`: docs/prompts.md",
    "tools": "tools of MCP servers by account and name: docs/tools.md",
    "tool_selection": "tools of MCP servers by account and name: docs/tools.md",
}
CACHES = ("semantic-cache", "response_cache")
METHOD = "words are found as they stand, whole"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How a model is told to think."""

    parameter: str
    """What its chat template is told; empty where it is told the effort."""


@dataclass(frozen=True, slots=True)
class Signals:
    """By type and name."""

    known: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def named(self, kind: str, name: str) -> Mapping[str, Any]:
        return self.known.get(kind, {}).get(name, {})


def routes(
    made: Adopted, signals: Signals, decisions: Sequence[tuple[str, Mapping[str, Any]]], names: Mapping[str, str],
    thinking: Mapping[str, Reasoning], effort: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Of the decisions in order. One that asks for what nothing here tells is left out: without that it would hold too often."""
    ways = list[dict[str, Any]]()
    for where, one in decisions:
        when = _when(made, signals, where, one.get("rules") or {})
        refs = [ref for ref in one.get("modelRefs") or () if ref.get("model") in names]
        if when is None or not refs:
            made.leave(
                where, f"left out: {'what it asks for is told by nothing here' if refs else 'none of its models'}"
            )
            continue
        way = {"name": str(one.get("name") or f"route-{len(ways) + 1}"), "when": when}
        way |= _choice(made, where, one, refs, names) | _asked(refs[0], thinking, effort)
        ways.append(way | _plugged(made, where, one.get("plugins") or ()))
    return ways


def _choice(
    made: Adopted, where: str, one: Mapping[str, Any], refs: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, Any]:
    models = list(dict.fromkeys(names[ref["model"]] for ref in refs))
    kind = (one.get("algorithm") or {}).get("type")
    weights = {names[ref["model"]]: float(ref["weight"]) for ref in refs if ref.get("weight") is not None}
    if any("lora_name" in ref for ref in refs):
        made.leave(
            f"{where}.modelRefs", "an adapter is a model of its own: an entry with its name under `models.catalogue`"
        )
    if kind in STATIC and len(weights) > 1:
        whole = sum(weights.values()) or 1.0
        return {"models": models, "weights": {name: round(part / whole, 4) for name, part in weights.items()}}
    if kind in STATIC or len(models) == 1:
        return {"models": models, "rule": "fixed"}
    if kind in CASCADES:
        return {"models": models, "cascade": dict(CASCADE)}
    if kind not in RULES:
        made.leave(
            f"{where}.algorithm: {kind}", "the cheapest of them that is predicted to get it right: docs/routing.md"
        )
    return {"models": models, "rule": RULES.get(str(kind), "cheapest_above")}


def _asked(ref: Mapping[str, Any], thinking: Mapping[str, Reasoning], effort: str) -> dict[str, Any]:
    """How the first of its models is told to think."""
    thinks, how = ref.get("use_reasoning"), thinking.get(str(ref.get("model")))
    if thinks is None or how is None:
        return {}
    if how.parameter:
        return {"template_options": {how.parameter: bool(thinks)}}
    return {"reasoning_effort": str(ref.get("reasoning_effort") or effort)} if thinks else {}


def _plugged(made: Adopted, where: str, plugins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    way = dict[str, Any]()
    for one in plugins:
        kind, said = str(one.get("type")), one.get("configuration") or {}
        if kind == "system_prompt" and said.get("enabled", True) and said.get("system_prompt"):
            way["system"] = str(said["system_prompt"])
            if said.get("mode") == "replace":
                made.leave(f"{where}.plugins.system_prompt.mode", "it goes before what the request says")
        elif kind in CACHES:
            if said.get("enabled") is False:
                way["store"] = False
        elif said.get("enabled", True):
            made.leave(f"{where}.plugins.{kind}", PLUGINS.get(kind, NOTHING))
    return way


def _when(made: Adopted, signals: Signals, where: str, rule: Mapping[str, Any]) -> When | None:
    """None for what has no counterpart."""
    if "type" in rule:
        kind, name = str(rule["type"]), str(rule.get("name") or "")
        if kind in STATED:
            made.leave(f"{where}.rules: {kind} {name}", GUARDED)
            return None
        read = KINDS.get(kind)
        when = read(made, signals, name) if read is not None else None
        if when is None:
            made.leave(f"{where}.rules: {kind} {name}", NOTHING)
        return when
    operator, inner = str(rule.get("operator") or "AND").upper(), rule.get("conditions") or ()
    found = [_when(made, signals, where, one) for one in inner]
    known = [one for one in found if one is not None]
    if operator in ("NOT", "NOR"):
        # What the guard stops does not come here: that it is not there always holds.
        stated = all(str(one.get("type")) in STATED for one in inner)
        return {} if stated else {"none": known} if len(known) == len(found) else None
    if operator == "OR":
        return known[0] if len(known) == 1 else {"any": known} if known else None
    if len(known) < len(found):
        return None
    return _joined([one for one in known if one])


def _joined(parts: Sequence[When]) -> When:
    """All of them at once: side by side where none says what another does."""
    names = [name for one in parts for name in one]
    if len(names) == len(set(names)):
        return {name: value for one in parts for name, value in one.items()}
    return {"all": list(parts)}


def _domain(made: Adopted, signals: Signals, name: str) -> When | None:
    said = signals.named("domain", name)
    subjects = [str(one) for one in said.get("mmlu_categories") or (name,)]
    known = [one for one in subjects if one in SUBJECTS]
    if len(known) < len(subjects):
        made.leave(f"domain {name}", f"subjects here are {', '.join(SUBJECTS)}")
    return {"subjects": known} if known else None


def _keyword(made: Adopted, signals: Signals, name: str) -> When | None:
    said = signals.named("keyword", name)
    words = [str(one) for one in said.get("keywords") or ()]
    if not words:
        return None
    if said.get("method", "regex") != "regex" or said.get("case_sensitive"):
        made.leave(f"keyword {name}", METHOD)
    match str(said.get("operator") or "OR").upper():
        case "AND":
            return {"all": [{"words": [one]} for one in words]}
        case "NOR":
            return {"none": [{"words": words}]}
    return {"words": words}


def _embedding(made: Adopted, signals: Signals, name: str) -> When | None:
    said = signals.named("embedding", name)
    if not (like := [str(one) for one in said.get("candidates") or ()]):
        return None
    if "threshold" in said or "similarity_threshold" in said:
        made.leave(f"embedding {name}.threshold", THRESHOLD)
    unlike = [str(one) for one in said.get("negative_candidates") or ()]
    return {"like": like, "unlike": unlike} if unlike else {"like": like}


def _complexity(made: Adopted, signals: Signals, name: str) -> When | None:
    rule, _, level = name.partition(":")
    said = signals.named("complexity", rule)
    sides = {side: [str(one) for one in (said.get(side) or {}).get("candidates") or ()] for side in (HARD, EASY)}
    if level not in sides or not sides[level]:
        return None
    made.leave(
        f"complexity {rule}", "examples are compared; what is predicted of a prompt: `harder_than`, `easier_than`"
    )
    other = sides[EASY if level == HARD else HARD]
    return {"like": sides[level], "unlike": other} if other else {"like": sides[level]}


def _context(made: Adopted, signals: Signals, name: str) -> When | None:
    said = signals.named("context", name)
    bounds = {"tokens_from": _count(said.get("min_tokens")), "tokens_to": _count(said.get("max_tokens"))}
    found = {side: bound for side, bound in bounds.items() if bound}
    return found or None


def _count(said: object) -> int:
    text = str(said or "0").strip().lower()
    unit = UNITS.get(text[-1:], 1)
    try:
        return int(float(text.rstrip("km")) * unit)
    except ValueError:
        return 0


def _structure(made: Adopted, signals: Signals, name: str) -> When | None:
    said = signals.named("structure", name)
    feature, predicate = said.get("feature") or {}, said.get("predicate") or {}
    source = feature.get("source") or {}
    there = feature.get("type") == "exists" or (feature.get("type") == "count" and predicate in ({"gte": 1}, {"gt": 0}))
    return {"patterns": [str(source["pattern"])]} if there and source.get("type") == "regex" else None


def _conversation(made: Adopted, signals: Signals, name: str) -> When | None:
    source = (signals.named("conversation", name).get("feature") or {}).get("source") or {}
    need = {"tool_definition": "tools", "image_content": "vision"}.get(str(source.get("type")))
    return {"needs": [need]} if need else None


def _modality(made: Adopted, signals: Signals, name: str) -> When | None:
    return {"needs": ["vision"]} if signals.named("input_modality", name).get("modality") == "image" else None


def _metadata(made: Adopted, signals: Signals, name: str) -> When | None:
    said = signals.named("metadata", name)
    value = (said.get("predicate") or {}).get("equals")
    return {"metadata": {str(said["key"]): [str(value)]}} if said.get("key") and value is not None else None


def _language(made: Adopted, signals: Signals, name: str) -> When | None:
    return {"languages": [name]} if len(name) == 2 else None


KINDS: Mapping[str, Callable[[Adopted, Signals, str], When | None]] = {
    "complexity": _complexity,
    "context": _context,
    "conversation": _conversation,
    "domain": _domain,
    "embedding": _embedding,
    "input_modality": _modality,
    "keyword": _keyword,
    "language": _language,
    "metadata": _metadata,
    "structure": _structure,
}
