"""Policies of the settings and of files: which one holds, and what happens as a file changes."""

import asyncio
import logging
import os
from pathlib import Path

import grpc
import pytest
from tollway.encoder.v1 import encoder_pb2

from services.router.meaning import Meaning
from services.router.policies import Policies, parsed
from services.router.policy import Policy, Route
from services.router.when import When
from services.runtime.background import running
from services.runtime.settings import BadSettings
from tests.support.encoders import Encoder
from tests.support.waiting import until


def written(file: Path, text: str, at: int) -> None:
    """As an editor would, at a time of its own."""
    file.write_text(text)
    os.utime(file, (at, at))


def test_a_tenants_own_holds_and_files_over_settings(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text("rule: fastest\nroutes: [{name: law, when: {subjects: [law]}, models: [big]}]")
    (tmp_path / "default.yaml").write_text("{rule: best_under_price}")
    found = Policies({"acme": Policy(rule="fixed"), "beta": Policy(rule="fixed"), "*": Policy()}, str(tmp_path))
    assert [found.of(one).rule for one in ("acme", "beta", "other")] == ["fastest", "fixed", "best_under_price"]
    assert [one.route.name for one in found.routes("acme").ways] == ["law"] and not found.routes("beta").ways
    assert Policies().of("acme") == Policy()


def test_a_fault_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    for text, why in (
        ("[", "acme.yaml: "), ("- a", "acme.yaml: not a mapping"), ("{rules: x}", "acme.yaml.rules: unknown"), ("{rule: best}", "acme.yaml.rule: "),
        ("{routes: [{name: a, when: {near: x}}]}", r"acme.yaml.routes\[0\].when.near: 'x' is not float"), ("{sticky: 7}", "acme.yaml.sticky"),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(BadSettings, match=why):
            parsed(file)
        with pytest.raises(BadSettings, match=why):
            Policies({}, str(tmp_path))
    with pytest.raises(BadSettings, match=r"router.policies.acme.routes\[0\].name"):
        Policies({"acme": Policy(routes=(Route(""),))})


async def test_files_are_read_again_as_they_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, settled = tmp_path / "acme.yaml", {"acme": Policy(rule="fixed", model="m")}
    policies = Policies(settled, str(tmp_path))
    async with running(policies.follow(Meaning(Encoder()), every_s=0.02)):  # type: ignore[arg-type]
        told = asyncio.ensure_future(policies.after(policies.revision))
        written(file, "routes: [{name: hello, when: {like: [good morning]}}]", 1)
        await until(
            lambda: bool(policies.routes("acme").likes) and policies.routes("acme").likes[0].vectors is not None
        )
        await asyncio.wait_for(told, 5)
        assert policies.of("acme").rule == "cheapest_above"
        with caplog.at_level(logging.ERROR):
            written(file, "{rule: best}", 2)
            await until(lambda: "policy not taken: acme.yaml.rule" in caplog.text)
        assert [one.route.name for one in policies.routes("acme").ways] == ["hello"]  # what was in force stays so
        told = asyncio.ensure_future(policies.after(policies.revision))
        file.unlink()
        await asyncio.wait_for(told, 5)
        assert policies.of("acme") == settled["acme"] and not policies.routes("acme").ways


def test_a_route_looks_at_nothing_by_itself() -> None:
    assert Policies({"a": Policy(routes=(Route("all", When()),))}).routes("a").labels == frozenset()


async def test_files_are_read_while_the_encoder_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Away(Encoder):
        away = True

        async def Encode(self, request: encoder_pb2.EncodeRequest, **_: object) -> encoder_pb2.EncodeResponse:
            if self.away:
                raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
            return await super().Encode(request)

    file, encoder = tmp_path / "acme.yaml", Away()
    written(file, "routes: [{name: hello, when: {like: [good morning]}}]", 1)
    policies = Policies({}, str(tmp_path))
    async with running(policies.follow(Meaning(encoder), every_s=0.02)):  # type: ignore[arg-type]
        written(file, "{rule: fastest, routes: [{name: hello, when: {like: [good evening]}}]}", 2)
        await until(lambda: policies.of("acme").rule == "fastest")
        assert policies.routes("acme").likes[0].vectors is None
        encoder.away = False
        await until(lambda: policies.routes("acme").likes[0].vectors is not None)
    assert caplog.text.count("examples of routes are not encoded") == 1


async def test_a_change_is_in_force_once_its_examples_can_be_told(tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    written(file, "routes: [{name: hello, when: {like: [good morning]}}]", 1)
    policies = Policies({}, str(tmp_path))
    async with running(policies.follow(Meaning(Encoder()), every_s=0.02)):  # type: ignore[arg-type]
        await until(lambda: policies.routes("acme").likes[0].vectors is not None)
        told = asyncio.ensure_future(policies.after(policies.revision))
        written(file, "routes: [{name: hello, when: {like: [good morning, good evening]}}]", 2)
        await asyncio.wait_for(told, 5)
        vectors = policies.routes("acme").likes[0].vectors
        assert vectors is not None and len(vectors) == 2
