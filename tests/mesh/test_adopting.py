"""Settings of other gateways: what is taken over is valid and means the same, and what is not is told, each by its place."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.cache import app as cache
from services.edge import app as edge
from services.guard.policy_file import parse
from services.ledger import app as ledger
from services.mesh.adopting import envoy, litellm, portkey, semantic_router
from services.mesh.adopting.settings import Adopted, BadFile, a_million
from services.models import app as models
from services.orchestrator import app as orchestrator
from services.router import app as router
from services.router.policies import Policies
from services.runtime.settings import load
from services.tools import app as tools
from services.tools.catalogue import checked
from services.tools.oauth import OAuth
from tests.mesh.client import asking, sent
from tests.mesh.running import running
from tests.peers.provider import Provider, provider

SERVICES = {
    "models": models,
    "cache": cache,
    "edge": edge,
    "ledger": ledger,
    "router": router,
    "tools": tools,
    "orchestrator": orchestrator,
}


def of_litellm(environ: dict[str, str] | None = None, **said: Any) -> Adopted:
    return litellm.adopted(yaml.safe_dump({"model_list": [], **said}), environ or {})


def model(name: str, said: str, info: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": said, **params}, "model_info": info or {}}


def left(made: Adopted) -> dict[str, str]:
    return {one.where: one.instead for one in made.left}


def loaded(made: Adopted, tmp_path: Path) -> dict[str, Any]:
    """The settings as services read them."""
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(made.settings()))
    needed = {"TOLLWAY_CONFIG": str(file), "TOLLWAY_LEDGER__DATABASE_URL": "postgresql://nowhere"}
    found = {name: load(app.Settings, needed, name) for name, app in SERVICES.items()}
    Policies(found["router"].policies)  # refuses what is wrong with one
    return found


def test_deployments_of_one_name_are_one_model(tmp_path: Path) -> None:
    made = of_litellm(
        model_list=[
            model("gpt-4o", "azure/gpt-4o-eu", {"base_model": "azure/gpt-4o"}, api_base="https://eu.example/", api_key="os.environ/EU"),
            model("gpt-4o", "azure/gpt-4o-ca", api_base="https://ca.example", api_key="os.environ/CA", max_parallel_requests=9),
        ],
        router_settings={"model_group_alias": {"gpt-4": "gpt-4o"}},
    )  # fmt: skip
    found = loaded(made, tmp_path)["models"].catalogue
    assert found["gpt-4"] == found["gpt-4o"] and found["gpt-4o"].model == "gpt-4o"
    assert [(one.model, one.base_url, one.keys, one.concurrency) for one in found["gpt-4o"].places] == [
        ("gpt-4o-eu", "https://eu.example", ("env:EU",), 256),
        ("gpt-4o-ca", "https://ca.example", ("env:CA",), 9),
    ]
    assert not made.left


def test_a_model_says_what_it_can_do_and_costs(tmp_path: Path) -> None:
    info = {
        "input_cost_per_token": 0.0000025, "output_cost_per_token": "1e-05", "cache_read_input_token_cost": 1.25e-6,
        "max_input_tokens": 64000, "supports_vision": True, "supports_function_calling": False,
    }  # fmt: skip
    made = of_litellm(
        model_list=[
            model("own", "hosted_vllm/meta/Llama", info, api_base="http://10.0.0.7:8000/v1", temperature=0.2, top_k=40, min_p=0.05, stream_timeout=9),
            model("embed", "text-embedding-3-small", {"mode": "embedding"}),
            model("claude", "claude-sonnet-4-5", max_tokens=1000),
            model("llama", "bedrock/converse/meta.llama3-1-70b-instruct-v1:0", aws_region_name="us-west-2"),
            model("grok", "xai/grok-4"),
            model("ranker", "cohere/rerank-v3.5", {"mode": "rerank", "input_cost_per_query": 0.002}),
            model("command", "cohere/command-a"),
            model("censor", "openai/omni-moderation-latest", {"mode": "moderation"}),
            model("painter", "openai/gpt-image-1", {"mode": "image_generation"}),
            model("scribe", "openai/gpt-4o-transcribe", {"mode": "audio_transcription"}),
            model("whisper", "openai/whisper-1", {"mode": "audio_transcription"}),
            model("speaker", "openai/gpt-4o-mini-tts", {"mode": "audio_speech"}),
            model("seeker", "openai/gpt-4o-search-preview", {
                "supports_web_search": True, "input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5,
                "search_context_cost_per_query": {"search_context_size_low": 0.03, "search_context_size_high": 0.05},
            }),
            model("newer", "openai/gpt-4.1", {"supports_web_search": True}),
            model("tts", "openai/tts-1", {"mode": "audio_speech", "input_cost_per_character": 1.5e-5}),
        ],
    )  # fmt: skip
    settings = loaded(made, tmp_path)
    found = settings["models"].catalogue
    own = found["own"]
    assert (own.provider, own.model, own.base_url, own.key) == ("vllm", "meta/Llama", "http://10.0.0.7:8000/v1", "")
    assert (own.context_tokens, own.vision, own.tools, own.defaults, own.first_byte_s) == (
        64000,
        True,
        False,
        {"temperature": 0.2, "top_k": 40, "min_p": 0.05},
        9,
    )
    assert (settings["ledger"].prices["own"].input, settings["ledger"].prices["own"].cached_input) == ("2.5", "1.25")
    assert found["embed"].embeddings and found["embed"].key == "env:OPENAI_API_KEY"
    assert (found["claude"].provider, found["claude"].max_output_tokens) == ("anthropic", 1000)
    assert (found["llama"].model, found["llama"].region) == ("meta.llama3-1-70b-instruct-v1:0", "us-west-2")
    assert (found["grok"].base_url, found["grok"].key) == ("https://api.x.ai/v1", "env:XAI_API_KEY")
    ranker, command = found["ranker"], found["command"]
    assert ranker.rerank and ranker.base_url == "https://api.cohere.com/v2" and ranker.key == "env:COHERE_API_KEY"
    assert found["censor"].moderation and not command.moderation and not command.image_tokens
    assert found["painter"].image_tokens == 6240 and found["scribe"].second_tokens == 10
    prices = settings["ledger"].prices
    assert (prices["ranker"].call, prices["ranker"].output, prices["tts"].output) == ("0.002", "0", "15")
    assert found["whisper"].second_tokens == 1 and found["tts"].character_tokens == 1
    assert found["speaker"].character_tokens == 3 and found["speaker"].speech_events and not found["tts"].speech_events
    assert not command.character_tokens
    assert found["seeker"].searches and not found["newer"].searches and prices["seeker"].web_search == "0.05"
    assert not command.rerank and command.base_url == "https://api.cohere.ai/compatibility/v1"
    assert not made.left


def test_guardrails_behind_a_wire_become_checks() -> None:
    params = {
        "guardrail": "generic_guardrail_api",
        "api_base": "https://guardrail.example.com",
        "api_key": "os.environ/LAKERA",
    }
    more = {"mode": ["pre_call", "post_call"], "unreachable_fallback": "fail_open",
            "additional_provider_specific_params": {"level": 3}}  # fmt: skip
    made = of_litellm(
        model_list=[model("a", "openai/a")],
        guardrails=[{"guardrail_name": "own", "litellm_params": {**params, **more}}, {"guardrail_name": "pii"}],
    )
    told = left(made)
    assert set(told) == {"guardrails[0]", "guardrails"} and "docs/policies.md" in told["guardrails"]
    (check,) = parse(f"checks:\n  - {told['guardrails[0]'].partition(': - ')[2]}\n", "acme").checks
    assert (check.name, check.url, check.key) == ("own", "https://guardrail.example.com", "env:LAKERA")
    assert check.on == {"prompt", "completion"} and check.open and check.params == {"level": 3}


def test_what_has_no_place_is_told_by_its_own() -> None:
    made = of_litellm(
        model_list=[
            model("a", "vertex_ai/mistral-large@2407"), model("*", "openai/*"), model("b", "openai/b", rpm=6, mock_response="x"),
            model("b", "groq/b"), model("c", "openai/c", api_base="os.environ/NOWHERE"),
        ],
        litellm_settings={"cache": True, "cache_params": {"type": "redis", "ttl": 600}, "fallbacks": [{"b": ["c"]}], "set_verbose": True},
        router_settings={"routing_strategy": "least-busy"},
        general_settings={"master_key": "sk-secret"},
        guardrails=[{"guardrail_name": "pii"}],
    )  # fmt: skip
    told = left(made)
    assert set(told) == {
        "model_list[0]: vertex_ai/mistral-large@2407", "model_list[1]: openai/*", "model_list[2].rpm", "model_list[2].mock_response",
        "model_list[3]", "model_list[4].api_base: os.environ/NOWHERE", "litellm_settings.cache_params.type",
        "router_settings.routing_strategy", "general_settings.master_key", "guardrails",
    }  # fmt: skip
    assert list(made.catalogue) == ["b", "b@groq", "c"]
    assert made.others == {
        "cache": {"ttl_s": 600.0}, "router": {"policies": {"*": {"fallbacks": {"b": ["b@groq", "c"]}}}},
    }  # fmt: skip
    assert (
        told["model_list[2].mock_response"] == "no counterpart" and "tollway budgets set" in told["model_list[2].rpm"]
    )
    assert "sk-secret" not in json.dumps([told, made.settings()])
    found = of_litellm(
        {"NOWHERE": "http://here/v1/"}, model_list=[model("c", "openai/c", api_base="os.environ/NOWHERE")]
    )
    assert found.settings()["models"]["catalogue"]["c"]["base_url"] == "http://here/v1" and not found.left


@pytest.mark.parametrize(
    ("text", "why"),
    [("[", "no YAML"), ("- a", "no `model_list`"), ("a: 1", "no `model_list`"), ("model_list: [{model_name: x}]", "litellm_params.model")],
)  # fmt: skip
def test_what_is_no_file_of_theirs_is_said_to_be_none(text: str, why: str) -> None:
    with pytest.raises(BadFile, match=why):
        litellm.adopted(text, {})


@pytest.mark.parametrize(
    ("text", "why"), [("{", "no JSON"), ("{}", "neither"), ('{"targets": ["x"]}', "no list of objects")]
)
def test_nor_is_a_file_of_portkeys(text: str, why: str) -> None:
    with pytest.raises(BadFile, match=why):
        portkey.adopted(text)


def test_portkeys_targets_keep_their_shares(tmp_path: Path) -> None:
    claude = {"provider": "anthropic", "override_params": {"model": "claude-sonnet-4-5", "seed": 1}}
    said = {
        "strategy": {"mode": "loadbalance"}, "cache": {"mode": "semantic", "max_age": 600}, "retry": {"attempts": 3},
        "targets": [
            {"provider": "openai", "api_key": "env-key", "weight": 0.7, "override_params": {"model": "gpt-4o", "temperature": 0.1}},
            {"provider": "azure-openai", "virtual_key": "azure-x", "weight": 0.2, "azure_resource_name": "house", "azure_deployment_id": "gpt-4o"},
            {"strategy": {"mode": "fallback"}, "weight": 0.1, "request_timeout": 9000, "targets": [claude, {"provider": "groq"}]},
        ],
    }  # fmt: skip
    made = portkey.adopted(json.dumps(said))
    settings = loaded(made, tmp_path)
    assert settings["router"].policies["*"].weights == {"gpt-4o": 0.7, "gpt-4o@azure": 0.2, "claude-sonnet-4-5": 0.1}
    found = settings["models"].catalogue
    assert (found["gpt-4o"].key, found["gpt-4o"].defaults) == ("env-key", {"temperature": 0.1})
    assert (found["gpt-4o@azure"].base_url, found["gpt-4o@azure"].key) == (
        "https://house.openai.azure.com",
        "env:AZURE_API_KEY",
    )
    assert found["claude-sonnet-4-5"].first_byte_s == 9 and settings["cache"].ttl_s == 600
    assert set(left(made)) == {
        "retry", "targets[1].virtual_key", "targets[2].targets[0].override_params.seed", "targets[2].targets[1]: groq"
    }  # fmt: skip


def test_portkeys_fallbacks_follow_the_first(tmp_path: Path) -> None:
    targets = [{"provider": "openai", "override_params": {"model": one}} for one in ("gpt-4o", "gpt-4o-mini")]
    made = portkey.adopted(json.dumps({"strategy": {"mode": "fallback"}, "targets": targets}))
    policy = loaded(made, tmp_path)["router"].policies["*"]
    assert (policy.rule, policy.model, policy.models) == ("fixed", "gpt-4o", ("gpt-4o", "gpt-4o-mini"))


def test_nothing_is_dropped_in_silence() -> None:
    made = of_litellm(
        model_list=[
            model("a", "openai/a", {"id": "1", "tier": "paid"}, temperature=0.1),
            model("a", "openai/b", {"input_cost_per_token": 1e-6}, temperature=0.7),
            model("a", "groq/a", {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}),
            model("film", "openai/sora-2", {"mode": "video_generation"}),
        ],
        litellm_settings={"cache": False, "cache_params": {"namespace": "n"}},
        environment_variables={"A": "1"},
    )  # fmt: skip
    told = left(made)
    assert set(told) == {
        "model_list[0].model_info.tier", "model_list[1]", "model_list[1]: input", "model_list[2]", "model_list[3]: openai/sora-2",
        "litellm_settings.cache", "litellm_settings.cache_params.namespace", "environment_variables",
    }  # fmt: skip
    assert told["model_list[1]"].endswith("defaults") and made.prices == {"a@groq": {"input": "1", "output": "2"}}
    assert "film" not in made.catalogue


def test_litellms_fallbacks_follow_the_model_that_was_asked_for(tmp_path: Path) -> None:
    made = of_litellm(
        model_list=[model(name, f"openai/{name}") for name in ("small", "large", "long")],
        litellm_settings={"fallbacks": [{"small": ["large", "gone"]}], "default_fallbacks": ["large"]},
        router_settings={"context_window_fallbacks": [{"small": ["long", "large"]}]},
    )
    policy = loaded(made, tmp_path)["router"].policies["*"]
    assert policy.fallbacks == {"small": ("large", "long"), "*": ("large",)}
    assert set(left(made)) == {"litellm_settings.fallbacks: small"}


def test_litellms_auto_router_becomes_routes(tmp_path: Path) -> None:
    config = {
        "routes": [
            {"name": "large", "utterances": ["Prove it.", "Think hard."], "score_threshold": 0.5},
            {"name": "none"},
        ]
    }
    made = of_litellm(
        model_list=[
            model("smart", "auto_router/one", auto_router_config=json.dumps(config), auto_router_default_model="small", timeout=3),
            model("tiers", "auto_router/complexity_router", complexity_router_config={"tiers": {"SIMPLE": "small"}}),
            *(model(name, f"openai/{name}") for name in ("small", "large")),
        ],
    )  # fmt: skip
    settings = loaded(made, tmp_path)
    policy = settings["router"].policies["*"]
    assert (policy.rule, policy.model, settings["orchestrator"].auto_names) == ("fixed", "small", ("smart", "tiers"))
    (route,) = policy.routes
    assert (route.name, route.when.like, route.models) == ("large", ("Prove it.", "Think hard."), ("large",))
    assert set(left(made)) == {
        "model_list[0].auto_router_config: large.score_threshold", "model_list[0].auto_router_config: none",
        "model_list[0].timeout", "model_list[1].complexity_router_config",
    }  # fmt: skip
    with pytest.raises(BadFile, match="auto_router_config"):
        of_litellm(model_list=[model("smart", "auto_router/one", auto_router_config="{")])


def test_portkeys_conditions_become_routes(tmp_path: Path) -> None:
    def target(name: str, said: str) -> dict[str, Any]:
        return {"name": name, "provider": "openai", "override_params": {"model": said}}

    spare = {"name": "paid", "strategy": {"mode": "fallback"}, "targets": [target("", "gpt-4o"), target("", "o3")]}
    conditions = [
        {"query": {"metadata.plan": {"$in": ["paid", "trial"]}, "metadata.region": {"$ne": "us"}}, "then": "paid"},
        {"query": {"$or": [{"metadata.team": "ai"}, {"$and": [{"metadata.a": "1"}, {"metadata.b": {"$nin": ["2"]}}]}]}, "then": "free"},
        {"query": {"params.model": {"$in": ["fastest", "quick"]}}, "then": "free"},
        {"query": {"params.temperature": {"$gt": 0.7}}, "then": "free"},
        {"query": {"metadata.plan": {"$regex": "^p"}}, "then": "paid"},
        {"query": {"metadata.plan": "x"}, "then": "nobody"},
    ]  # fmt: skip
    strategy = {"mode": "conditional", "conditions": conditions, "default": "free"}
    made = portkey.adopted(json.dumps({"strategy": strategy, "targets": [spare, target("free", "gpt-4o-mini")]}))
    settings = loaded(made, tmp_path)
    policy, catalogue = settings["router"].policies["*"], settings["models"].catalogue
    assert (policy.rule, policy.model) == ("fixed", "gpt-4o-mini")
    assert catalogue["fastest"] == catalogue["quick"] == catalogue["gpt-4o-mini"]
    paid, team = policy.routes
    assert (paid.models, paid.rule) == (("gpt-4o", "o3"), "fixed")
    assert paid.when.all[0].metadata == {"plan": ("paid", "trial")}
    assert paid.when.all[1].none[0].metadata == {"region": ("us",)}
    assert team.when.any[0].metadata == {"team": ("ai",)} and len(team.when.any[1].all) == 2
    assert set(left(made)) == {f"strategy.conditions[{n}]" for n in (3, 4, 5)}


SEMANTIC: dict[str, Any] = {
    "version": "v0.3",
    "listeners": [{"name": "http", "port": 8899}],
    "providers": {
        "defaults": {"model": "small", "reasoning_effort": "low"},
        "models": [
            {
                "name": "small",
                "provider_model_id": "qwen3-8b-instruct",
                "reasoning": {"family": "qwen3"},
                "pricing": {"currency": "USD", "prompt_per_1m": 0.18, "completion_per_1m": 0.42, "cached_input_per_1m": 0.04},
                "backend_refs": [
                    {"name": "a", "endpoint": "10.0.0.1:8000", "protocol": "http", "provider": "vllm", "weight": 80, "api_key_env": "ONE"},
                    {"name": "b", "endpoint": "10.0.0.2:8000", "provider": "vllm", "weight": 20},
                ],
            },
            {
                "name": "large",
                "reasoning": {"type": "reasoning_effort", "parameter": "reasoning.effort", "levels": ["low", "high"]},
                "backend_refs": [{"name": "c", "provider": "openai", "extra_headers": {"X": "1"}}],
            },
            {"name": "listed", "catalog": "vllm-sr/mom-v1-lite"},
        ],
    },
    "routing": {
        "modelCards": [{"name": "small", "context_window_size": 131072, "capabilities": ["chat", "vision"]}],
        "signals": {
            "keywords": [
                {"name": "urgent", "operator": "OR", "keywords": ["urgent", "asap"]},
                {"name": "both", "operator": "AND", "method": "bm25", "keywords": ["tax", "late"]},
            ],
            "embeddings": [{"name": "support", "threshold": 0.75, "candidates": ["how to install it"], "negative_candidates": ["thanks"]}],
            "domains": [{"name": "law", "mmlu_categories": ["law"]}, {"name": "money", "mmlu_categories": ["business", "taxes"]}],
            "complexity": [{"name": "deep", "hard": {"candidates": ["prove it"]}, "easy": {"candidates": ["in short"]}}],
            "context": [{"name": "long", "min_tokens": "32K", "max_tokens": "1M"}],
            "structure": [{"name": "steps", "feature": {"type": "exists", "source": {"type": "regex", "pattern": "(?m)^1\\."}}}],
            "conversation": [{"name": "tools", "feature": {"type": "count", "source": {"type": "tool_definition"}}}],
            "metadata": [{"name": "denied", "key": "consent", "predicate": {"equals": "denied"}}],
            "fact_check": [{"name": "needs"}],
        },
        "decisions": [
            {
                "name": "last",
                "priority": 1,
                "rules": {"operator": "AND", "conditions": [{"type": "fact_check", "name": "needs"}, {"type": "domain", "name": "law"}]},
                "modelRefs": [{"model": "small"}],
            },
            {
                "name": "law",
                "priority": 200,
                "rules": {
                    "operator": "AND",
                    "conditions": [
                        {"type": "domain", "name": "law"},
                        {"operator": "OR", "conditions": [{"type": "keyword", "name": "urgent"}, {"type": "fact_check", "name": "needs"}]},
                        {"operator": "NOT", "conditions": [{"type": "jailbreak", "name": "attack"}]},
                        {"type": "context", "name": "long"},
                    ],
                },
                "modelRefs": [{"model": "large", "use_reasoning": True, "reasoning_effort": "high"}, {"model": "small"}],
                "plugins": [
                    {"type": "system_prompt", "configuration": {"system_prompt": "Cite the statute.", "mode": "insert"}},
                    {"type": "semantic-cache", "configuration": {"enabled": False}},
                    {"type": "header_mutation", "configuration": {"add": []}},
                ],
            },
            {
                "name": "shared",
                "priority": 100,
                "rules": {"operator": "OR", "conditions": [{"type": "embedding", "name": "support"}, {"type": "complexity", "name": "deep:hard"}]},
                "modelRefs": [{"model": "small", "weight": 3, "use_reasoning": False}, {"model": "large", "weight": 1}],
            },
            {
                "name": "tried",
                "priority": 90,
                "rules": {"operator": "AND", "conditions": [{"type": "keyword", "name": "both"}, {"type": "keyword", "name": "urgent"}]},
                "modelRefs": [{"model": "small"}, {"model": "large"}],
                "algorithm": {"type": "automix"},
            },
            {
                "name": "scored",
                "priority": 80,
                "rules": {"operator": "NOT", "conditions": [{"type": "metadata", "name": "denied"}, {"type": "structure", "name": "steps"}]},
                "modelRefs": [{"model": "small"}, {"model": "large"}],
                "algorithm": {"type": "elo"},
            },
            {
                "name": "tools",
                "priority": 70,
                "rules": {"type": "conversation", "name": "tools"},
                "modelRefs": [{"model": "large"}],
            },
            {"name": "gone", "priority": 60, "rules": {"type": "domain", "name": "money"}, "modelRefs": [{"model": "nobody"}]},
        ],
    },
    "global": {"router": {"auto_model_names": ["auto", "house"]}, "stores": {}},
}  # fmt: skip


def test_semantic_routers_decisions_become_routes(tmp_path: Path) -> None:
    made = semantic_router.adopted(yaml.safe_dump(SEMANTIC))
    settings = loaded(made, tmp_path)
    small, large = (settings["models"].catalogue[name] for name in ("small", "large"))
    assert (small.provider, small.model, small.context_tokens, small.vision) == (
        "vllm",
        "qwen3-8b-instruct",
        131072,
        True,
    )
    assert [(one.base_url, one.keys) for one in small.places] == [
        ("http://10.0.0.1:8000/v1", ("env:ONE",)), ("http://10.0.0.2:8000/v1", ("",)),
    ]  # fmt: skip
    assert (large.provider, large.key) == ("openai", "env:OPENAI_API_KEY")
    assert made.prices == {"small": {"input": "0.18", "output": "0.42", "cached_input": "0.04"}}
    assert settings["orchestrator"].auto_names == ("house",)
    policy = settings["router"].policies["*"]
    assert (policy.rule, policy.model, policy.models) == ("fixed", "small", ("small", "large"))
    law, shared, tried, scored, tools_ = policy.routes
    assert (law.name, law.rule, law.models) == ("law", "fixed", ("large", "small"))
    assert (law.when.subjects, law.when.words, law.when.tokens_from, law.when.tokens_to) == (
        ("law",), ("urgent", "asap"), 32_000, 1_000_000,
    )  # fmt: skip
    assert (law.system, law.reasoning_effort, law.store) == ("Cite the statute.", "high", False)
    assert [(one.like, one.unlike) for one in shared.when.any] == [
        (("how to install it",), ("thanks",)), (("prove it",), ("in short",)),
    ]  # fmt: skip
    assert (shared.weights, shared.template_options) == ({"small": 0.75, "large": 0.25}, {"enable_thinking": False})
    assert tried.cascade is not None and tried.when.words == ("urgent", "asap")
    assert [one.words for one in tried.when.all] == [("tax",), ("late",)]
    assert scored.rule == "cheapest_above" and scored.when.none[0].metadata == {"consent": ("denied",)}
    assert scored.when.none[1].patterns == (r"(?m)^1\.",) and tools_.when.needs == ("tools",)
    assert set(left(made)) == {
        "listeners", "global.stores", "providers.models[0].backend_refs", "providers.models[1].backend_refs[0].extra_headers",
        "providers.models[2]", "routing.decisions[0].rules: fact_check needs", "routing.decisions[0]",
        "routing.decisions[1].rules: fact_check needs", "routing.decisions[1].rules: jailbreak attack",
        "routing.decisions[1].plugins.header_mutation", "embedding support.threshold", "complexity deep", "keyword both",
        "routing.decisions[4].algorithm: elo", "domain money", "routing.decisions[6]",
    }  # fmt: skip


def test_semantic_routers_categories_become_routes(tmp_path: Path) -> None:
    said = {
        "semantic_cache": {"enabled": True, "similarity_threshold": 0.8, "ttl_seconds": 3600},
        "prompt_guard": {"enabled": True},
        "vllm_endpoints": [
            {"name": "e1", "address": "10.0.0.1", "port": 8000, "weight": 1}, {"name": "e2", "address": "fd00::1", "port": 8001},
        ],
        "model_config": {
            "qwen": {"preferred_endpoints": ["e1"], "reasoning_family": "mine", "pii_policy": {"allow_by_default": True}},
            "oss": {"preferred_endpoints": ["e2"], "reasoning_family": "gpt-oss"},
        },
        "reasoning_families": {"mine": {"type": "chat_template_kwargs", "parameter": "think"}},
        "categories": [
            {
                "name": "math", "system_prompt": "Think.", "reasoning_effort": "high",
                "model_scores": [{"model": "qwen", "score": 0.4}, {"model": "oss", "score": 0.9, "use_reasoning": True}],
            },
            {"name": "history", "semantic_cache_enabled": False, "model_scores": [{"model": "qwen", "score": 1.0, "use_reasoning": True}]},
        ],
        "default_model": "qwen",
    }  # fmt: skip
    made = semantic_router.adopted(yaml.safe_dump(said))
    settings = loaded(made, tmp_path)
    assert settings["models"].catalogue["oss"].base_url == "http://[fd00::1]:8001/v1"
    maths, history = settings["router"].policies["*"].routes
    assert (maths.when.subjects, maths.models, maths.system, maths.reasoning_effort) == (
        ("math",), ("oss", "qwen"), "Think.", "high",
    )  # fmt: skip
    assert (history.template_options, history.store) == ({"think": True}, False)
    assert settings["orchestrator"].auto_names == ("MoM", "vllm-sr/auto") and settings["cache"].ttl_s == 3600
    assert set(left(made)) == {"semantic_cache.similarity_threshold", "prompt_guard", "model_config.qwen.pii_policy"}


@pytest.mark.parametrize(
    ("text", "why"),
    [("[", "no YAML"), ("- a", "neither `providers"), ("providers: {models: [x]}", "models is no list of objects")],
)
def test_nor_is_a_file_of_semantic_routers(text: str, why: str) -> None:
    with pytest.raises(BadFile, match=why):
        semantic_router.adopted(text)


def manifest(kind: str, name: str, spec: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "aigateway.envoyproxy.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name, **more},
        "spec": spec or {},
    }


def matching(model: str, *backends: dict[str, Any], **more: str) -> dict[str, Any]:
    headers = [{"type": "Exact", "name": "x-ai-eg-model", "value": model}]
    headers += [{"type": "Exact", "name": name, "value": value} for name, value in more.items()]
    return {"matches": [{"headers": headers}], "backendRefs": list(backends)}


def placed(name: str, schema: dict[str, Any], hostname: str, port: int = 443) -> list[dict[str, Any]]:
    """A backend, and where it is."""
    where = {"endpoints": [{"fqdn": {"hostname": hostname, "port": port}}]}
    return [
        manifest("AIServiceBackend", name, {"schema": schema, "backendRef": {"name": f"{name}-at"}}),
        manifest("Backend", f"{name}-at", where),
    ]


def shown(backend: str, kind: str, **how: Any) -> dict[str, Any]:
    return manifest("BackendSecurityPolicy", f"{backend}-key", {"type": kind, "targetRefs": [{"name": backend}], **how})


def test_envoys_routes_become_models(tmp_path: Path) -> None:
    rules = [
        matching("gpt-4o", {"name": "openai", "weight": 9}, {"name": "house", "priority": 1, "modelNameOverride": "llama", "weight": 1}, {"name": "house-b", "priority": 1}),
        matching("claude", {"name": "aws", "modelNameOverride": "anthropic.claude"}, {"name": "anthropic", "priority": 2}),
        matching("gemini", {"name": "google"}), matching("gpt-az", {"name": "azure"}),
        matching("gpt-4o", {"name": "openai"}, **{"x-tier": "gold"}),
        {"backendRefs": [{"name": "openai"}]},
        matching("pooled", {"name": "pool", "kind": "InferencePool", "group": "inference.networking.k8s.io"}),
        matching("gone", {"name": "nobody"}),
    ]  # fmt: skip
    file = [
        manifest("AIGatewayRoute", "all", {"rules": [{**rules[0], "timeouts": {"request": "60s"}}, *rules[1:]], "llmRequestCosts": []}),
        *placed("openai", {"name": "OpenAI"}, "api.openai.com"), *placed("house", {"name": "OpenAI", "prefix": "/api/v1"}, "llm.house", 8000),
        *placed("house-b", {"name": "OpenAI"}, "b.house", 80),
        *placed("aws", {"name": "AWSBedrock"}, "bedrock-runtime.eu-west-1.amazonaws.com"), *placed("anthropic", {"name": "Anthropic"}, "api.anthropic.com"),
        *placed("google", {"name": "GCPVertexAI"}, "us-central1-aiplatform.googleapis.com"),
        *placed("azure", {"name": "AzureOpenAI", "version": "2025-01-01-preview"}, "house.openai.azure.com"),
        shown("openai", "APIKey", apiKey={"secretRef": {"name": "openai-secret"}}),
        shown("anthropic", "AnthropicAPIKey", anthropicAPIKey={"secretRef": {"name": "claude-secret"}}),
        shown("aws", "AWSCredentials", awsCredentials={"region": "us-east-1"}),
        shown("google", "GCPCredentials", gcpCredentials={"projectName": "p1", "region": "us-east5"}),
        shown("azure", "AzureCredentials", azureCredentials={"clientID": "c", "tenantID": "t"}),
        manifest("BackendTLSPolicy", "tls", {"targetRefs": [{"name": "house-at"}]}),
        manifest("Secret", "openai-secret", annotations={"substitution.aigw.run/env/apiKey": "MY_OPENAI"}) | {"stringData": {"apiKey": "sk-hidden"}},
        manifest("BackendTrafficPolicy", "limits"), manifest("Gateway", "front"), manifest("Deployment", "x"),
    ]  # fmt: skip
    made = envoy.adopted(yaml.safe_dump_all(file))
    listed = envoy.adopted(yaml.safe_dump({"kind": "List", "items": file}))  # as kubectl gives them
    assert (listed.settings(), listed.left) == (made.settings(), made.left)
    settings = loaded(made, tmp_path)
    found = settings["models"].catalogue
    assert (found["gpt-4o"].provider, found["gpt-4o"].key, found["gpt-4o"].base_url) == (
        "openai",
        "env:MY_OPENAI",
        "https://api.openai.com/v1",
    )
    assert [(one.model, one.base_url) for one in found["gpt-4o@vllm"].places] == [
        ("llama", "https://llm.house:8000/api/v1"), ("gpt-4o", "http://b.house/v1"),
    ]  # fmt: skip
    assert (found["claude"].provider, found["claude"].model, found["claude"].region) == (
        "bedrock",
        "anthropic.claude",
        "us-east-1",
    )
    assert (found["claude@anthropic"].model, found["claude@anthropic"].key) == ("claude", "env:CLAUDE_SECRET")
    assert (found["gemini"].region, found["gemini"].project) == ("us-east5", "p1")
    azure = found["gpt-az"]
    assert (azure.base_url, azure.api_version, azure.key) == (
        "https://house.openai.azure.com",
        "2025-01-01-preview",
        "entra",
    )
    assert settings["router"].policies["*"].fallbacks == {"gpt-4o": ("gpt-4o@vllm",), "claude": ("claude@anthropic",)}
    assert set(left(made)) == {
        "AIGatewayRoute all: llmRequestCosts", "AIGatewayRoute all: rules[0].timeouts", "AIGatewayRoute all: rules[0].backendRefs",
        "AIGatewayRoute all: rules[4]: x-ai-eg-model, x-tier", "AIGatewayRoute all: rules[5]", "AIGatewayRoute all: rules[6]: pool",
        "AIGatewayRoute all: rules[7]: nobody", "AIGatewayRoute all: rules[1]: aws: AWSCredentials", "AIGatewayRoute all: rules[2]: google: GCPCredentials",
        "AIGatewayRoute all: rules[3]: azure", "Secret openai-secret", "Secret claude-secret", "BackendTrafficPolicy limits", "Gateway front",
    }  # fmt: skip
    assert "sk-hidden" not in json.dumps([left(made), made.settings()])


def test_envoys_mcp_routes_become_servers(tmp_path: Path) -> None:
    refs = [
        {"name": "GitHub", "path": "/mcp/readonly", "toolSelector": {"include": ["list_issues"]}, "securityPolicy": {"apiKey": {"secretRef": {"name": "gh"}}}},
        {"name": "kiwi", "toolSelector": {"includeRegex": [".*"]}}, {"name": "lost"},
    ]  # fmt: skip
    places = [placed("GitHub", {}, "api.github.example")[1], placed("kiwi", {}, "mcp.kiwi.example", 80)[1]]
    for one in places:
        one["metadata"]["name"] = one["metadata"]["name"].removesuffix("-at")
    made = envoy.adopted(
        yaml.safe_dump_all(
            [manifest("MCPRoute", "mcp", {"path": "/mcp", "backendRefs": refs, "securityPolicy": {}}), *places]
        )
    )
    servers = loaded(made, tmp_path)["tools"].servers
    assert (servers["github"].url, servers["github"].key, servers["github"].tools) == (
        "https://api.github.example/mcp/readonly",
        "env:GH",
        ("list_issues",),
    )
    assert servers["kiwi"].url == "http://mcp.kiwi.example/mcp" and checked(servers)
    assert set(left(made)) == {
        "Secret gh", "MCPRoute mcp: backendRefs[1].toolSelector.includeRegex", "MCPRoute mcp: backendRefs[2]", "MCPRoute mcp: securityPolicy",
    }  # fmt: skip
    for text, why in (("[", "no YAML"), ("kind: Gateway", "neither AIGatewayRoute")):
        with pytest.raises(BadFile, match=why):
            envoy.adopted(text)


def test_vertex_is_taken_over_with_what_it_is_shown(tmp_path: Path) -> None:
    account = {"project_id": "p", "type": "service_account"}
    environ = {"PATH_OF": "/run/google.json", "JSON_OF": json.dumps(account)}
    said: dict[str, dict[str, Any]] = {
        "file": {"vertex_credentials": "/keys/a.json", "vertex_location": "eu"},
        "path": {"vertex_credentials": "os.environ/PATH_OF"}, "json": {"vertex_credentials": "os.environ/JSON_OF"},
        "later": {"vertex_credentials": "os.environ/UNSET"}, "inline": {"vertex_credentials": account}, "found": {"vertex_project": "house"},
    }  # fmt: skip
    models = [model(name, "vertex_ai/claude-sonnet-4-5@20250929", **params) for name, params in said.items()]
    made = of_litellm(environ, model_list=models)
    found = loaded(made, tmp_path)["models"].catalogue
    assert {name: one.key for name, one in found.items()} == {
        "file": "file:/keys/a.json", "path": "file:/run/google.json", "json": "env:JSON_OF", "later": "env:UNSET",
        "inline": json.dumps(account), "found": "",
    }  # fmt: skip
    assert found["file"].region == "eu" and found["found"].region == "us-central1" and found["found"].project == "house"
    assert {one.spoken for one in found.values()} == {"vertex"} and not made.left
    target = {
        "provider": "vertex-ai", "vertex_project_id": "house", "vertex_region": "us-east5", "vertex_service_account_json": account,
        "override_params": {"model": "gemini-2.5-pro"},
    }  # fmt: skip
    made = portkey.adopted(json.dumps(target))
    (one,) = loaded(made, tmp_path)["models"].catalogue.values()
    assert (one.provider, one.project, one.region) == ("vertex", "house", "us-east5")
    assert json.loads(one.key) == account and not made.left


def test_azure_without_a_key_is_asked_by_entra(tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "api_base": "https://house.example",
        "tenant_id": "t",
        "client_id": "c",
        "client_secret": "os.environ/SECRET",
    }
    made = of_litellm(model_list=[model("gpt-4o", "azure/gpt-4o", **said)])
    assert loaded(made, tmp_path)["models"].catalogue["gpt-4o"].key == "entra"
    told = left(made)
    assert set(told) == {f"model_list[0].{name}" for name in ("tenant_id", "client_id", "client_secret")}
    assert all("AZURE_TENANT_ID" in one for one in told.values())
    target = {"provider": "azure-openai", "azure_resource_name": "house", "azure_deployment_id": "gpt-4o"}
    made = portkey.adopted(json.dumps({**target, "azure_auth_mode": "managed"}))
    assert loaded(made, tmp_path)["models"].catalogue["gpt-4o"].key == "entra" and set(left(made)) == {
        "azure_auth_mode"
    }


def test_litellms_mcp_servers_are_taken_over(tmp_path: Path) -> None:
    said = {
        "GitHub_MCP": {
            "url": "https://api.example/mcp", "transport": "http", "auth_type": "bearer_token",
            "auth_value": "os.environ/GITHUB_TOKEN", "allowed_tools": ["search"], "disallowed_tools": ["delete"],
            "description": "ours", "extra_headers": ["x-user"], "mcp_access_groups": ["dev"],
            "mcp_info": {"mcp_server_cost_info": {"default_cost_per_query": 0.01, "tool_name_to_cost_per_query": {"search": 1}}},
        },
        "files": {"command": "uvx", "args": ["mcp-files", "/srv"], "env": {"ROOT": "/srv", "TOKEN": "os.environ/FILES"}, "transport": "stdio"},
        "keyed": {"url": "https://k.example/mcp", "auth_type": "api_key", "auth_value": "k", "static_headers": {"X-Team": "a"}},
        "old": {"url": "https://old.example/sse", "transport": "sse"},
        "older": {"url": "https://older.example/sse"},
        "signed": {"url": "https://s.example/mcp", "auth_type": "oauth2", "oauth2_flow": "authorization_code"},
        "granted": {
            "url": "https://g.example/mcp", "auth_type": "oauth2", "oauth2_flow": "client_credentials", "client_id": "os.environ/ID",
            "client_secret": "os.environ/SECRET", "token_url": "https://login.example/token", "scopes": ["call"],
        },
    }  # fmt: skip
    made = of_litellm(mcp_servers=said)
    settings = made.settings()
    assert settings["tools"]["servers"]["github_mcp"].pop("prices") == {"call": "0.01"}
    found = checked(loaded(made, tmp_path)["tools"].servers)
    assert set(found) == {"github_mcp", "files", "keyed", "signed", "granted"}
    assert found["granted"].oauth == OAuth(
        "env:ID", "env:SECRET", token_url="https://login.example/token", scopes=("call",), parameters={"resource": ""}
    )
    github, files, keyed = found["github_mcp"], found["files"], found["keyed"]
    assert (github.url, github.key, github.tools, github.hidden) == (
        "https://api.example/mcp", "env:GITHUB_TOKEN", ("search",), ("delete",),
    )  # fmt: skip
    assert files.command == ("uvx", "mcp-files", "/srv") and files.environment == {"ROOT": "/srv", "TOKEN": "env:FILES"}
    assert keyed.headers == {"x-team": "a", "x-api-key": "k"}
    told = left(made)
    assert "streamable HTTP" in told["mcp_servers.old: sse"] and "streamable HTTP" in told["mcp_servers.older: http"]
    assert (
        "accounts" in told["mcp_servers.GitHub_MCP.mcp_access_groups"]
        and "mcp_servers.GitHub_MCP.extra_headers" in told
    )
    assert "mcp_servers.signed.auth_type: oauth2" in told
    assert "mcp_servers.GitHub_MCP.mcp_info.mcp_server_cost_info.tool_name_to_cost_per_query" in told
    with pytest.raises(BadFile, match="mcp_servers"):
        of_litellm(mcp_servers=["x"])


def test_costs_are_exact() -> None:
    assert [a_million(one) for one in (2.5e-06, "1e-05", 0.00000005, 0, 1)] == ["2.5", "10", "0.05", "0", "1000000"]


async def test_a_mesh_answers_by_what_was_taken_over(tmp_path: Path) -> None:
    peer: Provider
    with provider() as peer:
        theirs = tmp_path / "config.yaml"
        theirs.write_text(
            yaml.safe_dump(
                {"model_list": [model("house", "openai/echo", api_base=peer.url, api_key="k", temperature=0.5)]}
            )
        )
        made = litellm.adopted(theirs.read_text(), {})
        own = tmp_path / "own.yaml"
        own.write_text(yaml.safe_dump(made.settings()))
        with running(peer, TOLLWAY_CONFIG=str(own)) as mesh:
            answer = await sent(mesh, asking("hello", model="house"))
        assert answer.status == 200 and answer.text == "You said: hello", answer.raw
        assert peer.requests[-1]["temperature"] == 0.5 and peer.requests[-1]["model"] == "echo"


def test_the_command_prints_the_settings_and_tells_the_rest(tmp_path: Path) -> None:
    theirs, command = tmp_path / "config.yaml", [sys.executable, "-m", "services.mesh", "adopt", "litellm"]
    theirs.write_text(yaml.safe_dump({"model_list": [model("house", "openai/echo", rpm=6)]}))
    told = subprocess.run([*command, str(theirs)], capture_output=True, text=True, check=True, timeout=60)
    assert "1 models" in told.stderr and "model_list[0].rpm" in told.stderr
    assert yaml.safe_load(told.stdout) == litellm.adopted(theirs.read_text(), {}).settings()
    theirs.write_text("- nothing")
    told = subprocess.run([*command, str(theirs)], capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 1 and "no `model_list`" in told.stderr and not told.stdout
