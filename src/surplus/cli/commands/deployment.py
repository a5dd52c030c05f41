"""`surplus deployment`: models on engines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from surplus.cli import values
from surplus.cli.options import Engine, Json
from surplus.cli.output import Column, print_facts, print_json, print_line, print_table, right, utc, whole
from surplus.cli.session import connected

if TYPE_CHECKING:
    from surplus.wire.deployments import Deployment

app = typer.Typer(name="deployment", no_args_is_help=True, help="Deployments: models on engines.")

_COLUMNS: Final = (
    whole("ID"),
    Column("MODEL"),
    whole("ENGINE"),
    right("CONTEXT"),
    right("REPLICAS"),
    whole("STATE"),
    Column("PLACE"),
)
DeploymentId = Annotated[str, typer.Argument(parser=values.name, metavar="ID", help="The deployment's id.")]


def _absolute(text: str) -> str:
    """The server may have been started elsewhere, so a relative path is taken from here."""
    return str(Path(values.name(text)).absolute())


@app.command("create")
def create(
    context: typer.Context,
    model: Annotated[str, typer.Argument(parser=values.name, metavar="MODEL", help="What customers call it.")],
    *,
    engine: Annotated[Engine, typer.Option(help="What runs it.")],
    tokens: Annotated[
        int, typer.Option("--context", min=1, metavar="N", help="Tokens of a sequence, input and output together.")
    ],
    path: Annotated[
        str | None, typer.Option(parser=_absolute, metavar="FILE", help="A GGUF file on the server (llamacpp).")
    ] = None,
    url: Annotated[
        str | None, typer.Option(parser=values.name, metavar="URL", help="The engine's address, up to /v1 (others).")
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(parser=values.name, metavar="NAME", help="The server's variable with the engine's key."),
    ] = None,
    key_file: Annotated[
        str | None, typer.Option(parser=_absolute, metavar="FILE", help="The server's file with the engine's key.")
    ] = None,
    upstream_model: Annotated[
        str | None, typer.Option(parser=values.name, metavar="NAME", help="What the engine calls the model.")
    ] = None,
    max_output: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Output tokens where a caller gives no limit.")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, metavar="N", help="Sequences at once in a replica.")] = None,
    replicas: Annotated[int | None, typer.Option(min=1, metavar="N", help="Engines to run.")] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Lower first; the rest are fallbacks.")
    ] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="It makes embeddings.")] = False,
    sku: Annotated[
        str | None, typer.Option(parser=values.name, metavar="NAME", help="Whose prices it is sold at; else its own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a model on an engine. It is sold once it has a price (surplus price set)."""
    if (path is None) == (url is None):
        raise typer.BadParameter("give one place of the model: --path for llamacpp, --url for every other engine")
    with connected(context) as client:
        made = client.create_deployment(
            model,
            engine=engine,
            context=tokens,
            path=path,
            url=url,
            key_env=key_env,
            key_file=key_file,
            upstream_model=upstream_model,
            max_output=max_output,
            slots=slots,
            replicas=replicas,
            priority=priority,
            embeddings=embeddings,
            sku=sku,
        )
    _show(made, as_json)


@app.command("list")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """List the deployments."""
    with connected(context) as client:
        found = client.list_deployments()
    if as_json:
        print_json(found)
        return
    rows = [
        (each.id, each.model, each.engine, each.context, each.replicas, _state(each), each.path or each.url)
        for each in found
    ]
    print_table(_COLUMNS, rows, none="There is no deployment. Make one: surplus deployment create MODEL ...")


@app.command("drain")
def drain(context: typer.Context, deployment_id: DeploymentId, as_json: Json = False) -> None:
    """Take a deployment out of service.

    It gets no new requests, and ends when the present ones have ended.
    """
    with connected(context) as client:
        drained = client.drain_deployment(deployment_id)
    _show(drained, as_json)


@app.command("delete")
def delete(context: typer.Context, deployment_id: DeploymentId, as_json: Json = False) -> None:
    """Delete a deployment; where it still runs, it is drained first."""
    with connected(context) as client:
        deleted = client.delete_deployment(deployment_id)
    if as_json:
        print_json(deleted)
    else:
        print_line(f"{deleted.id} ({deleted.model}) is deleted.")


def _state(deployment: "Deployment") -> str:
    return "draining" if deployment.draining else "active"


def _show(deployment: "Deployment", as_json: bool) -> None:
    if as_json:
        print_json(deployment)
        return
    print_facts(
        {
            "deployment": deployment.id,
            "model": deployment.model,
            "engine": deployment.engine,
            "place": deployment.path or deployment.url,
            "context": deployment.context,
            "longest output": deployment.max_output,
            "replicas": deployment.replicas,
            "slots": deployment.slots,
            "prices of": deployment.sku,
            "state": _state(deployment),
            "created (UTC)": utc(deployment.created_at),
        }
    )
