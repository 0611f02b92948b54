"""`tollway policy`: checks a policy before it is put in force, and explains what one does with a text."""

from pathlib import Path
from typing import Annotated

import typer
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tollway.guard.v1 import guard_pb2 as pb
from tollway.guard.v1 import guard_pb2_grpc

from services.guard.policy_file import BadPolicy, parse
from services.mesh import running
from services.mesh.commands.calling import Key, State, key_of, ran
from services.mesh.screen import err, fail, say, table

policy = typer.Typer(no_args_is_help=True, help="The guard's policies: check a file, explain a text.")


@policy.command("check")
def check(files: Annotated[list[Path], typer.Argument(help="Policies, TENANT.yaml.")]) -> None:
    """Reads policies as the guard would; names the line of a fault and exits with 1."""
    faulty = False
    for file in files:
        try:
            made = parse(file.read_text(), file.stem)
        except OSError as error:
            fail(f"{file}: {error.strerror}")
        except BadPolicy as fault:
            err.print(f"[red]✗[/red] {fault}", soft_wrap=True)
            faulty = True
        else:
            dry = ", a dry run" if made.dry_run else ""
            err.print(
                f"[green]✓[/green] {file.stem}: {len(made.rules)} rules, {len(made.checks)} checks, version {made.version}{dry}"
            )
    if faulty:
        raise typer.Exit(1)


@policy.command("explain")
def explain(
    text: Annotated[str, typer.Argument(help="The prompt.")],
    document: Annotated[bool, typer.Option(help="Judge it as a document that was retrieved.")] = False,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Shows what the tenant's policy does with a text, rule by rule, and what a model would get."""
    metadata = running.bearing(key_of(state, key))
    origin = pb.ORIGIN_DOCUMENT if document else pb.ORIGIN_USER

    async def ask() -> pb.ExplainPolicyResponse:
        mesh = running.running(state)
        async with mesh.channel("encoder") as encoder, mesh.channel("guard") as guard:
            vectors = await encoder_pb2_grpc.EncoderServiceStub(encoder).Encode(
                encoder_pb2.EncodeRequest(texts=[text]), metadata=metadata, timeout=10
            )
            return await guard_pb2_grpc.GuardServiceStub(guard).ExplainPolicy(
                pb.ExplainPolicyRequest(text=text, vector=vectors.vectors[0], origin=origin),
                metadata=metadata,
                timeout=10,
            )

    made = ran(ask())
    verdict = made.verdict
    said = _word(verdict.action) + (f" by {verdict.rule}" if verdict.rule else "")
    would = f", would be {_word(verdict.would_be)}" if verdict.would_be != verdict.action else ""
    say(f"{said}{would}; {verdict.data_class}; attack {made.injection_probability:.3f}; policy {made.policy.version}")
    found = [
        (one.type, text[one.start : one.end], f"{one.score:.2f}", one.reason, _word(one.action))
        for one in made.findings
    ]
    if found:
        table(("found", "what", "score", "why", "action"), found)
    rules = [
        (one.rule, _word(one.action), f"{one.score:.2f}" if one.score else "", "yes" if one.broken else "")
        for one in made.rules
    ]
    table(("rule", "asks for", "score", "broken"), rules)
    if made.masked and made.masked != text:
        say(f"sent: {made.masked}")


def _word(action: "pb.Action.ValueType") -> str:
    return pb.Action.Name(action).removeprefix("ACTION_").lower()
