"""`tollway adopt`: settings of another gateway's, as Tollway's; what has no place in them is told."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.markup import escape

from services.mesh.adopting import envoy, litellm, portkey, semantic_router
from services.mesh.adopting.settings import Adopted, BadFile
from services.mesh.screen import err, fail, say

adopt = typer.Typer(
    no_args_is_help=True, help="Settings of LiteLLM, Portkey, vLLM Semantic Router or Envoy AI Gateway, as Tollway's."
)
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Their settings.")]


@adopt.command("litellm")
def of_litellm(file: File) -> None:
    """Reads a config.yaml of LiteLLM's proxy, and prints the settings for `tollway up --config`."""
    _told(file, lambda text: litellm.adopted(text, os.environ))


@adopt.command("portkey")
def of_portkey(file: File) -> None:
    """Reads a config of Portkey's gateway, JSON, and prints the settings for `tollway up --config`."""
    _told(file, portkey.adopted)


@adopt.command("semantic-router")
def of_semantic_router(file: File) -> None:
    """Reads a config.yaml of vLLM Semantic Router, and prints the settings for `tollway up --config`."""
    _told(file, semantic_router.adopted)


@adopt.command("envoy")
def of_envoy(file: File) -> None:
    """Reads manifests of Envoy AI Gateway, all in one file, and prints the settings for `tollway up --config`."""
    _told(file, envoy.adopted)


def _told(file: Path, adopted: Callable[[str], Adopted]) -> None:
    try:
        made = adopted(file.read_text())
    except (BadFile, UnicodeDecodeError) as fault:
        fail(f"{file}: {fault}")
    say(yaml.safe_dump(made.settings(), sort_keys=False, width=120).rstrip())
    err.print(f"[green]✓[/green] {len(made.catalogue)} models")
    for one in made.left:
        err.print(f"[yellow]![/yellow] {escape(f'{one.where}: {one.instead}')}", soft_wrap=True)
