"""Commands that set things up: the embedded stack, sealed data, a first run file, the releaser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import out, print_json, reporting
from strongroom.pipeline.cli.options import (
    STATE,
    Json,
    OwnerPath,
    State,
    data_owner,
    dataset_name,
    following,
)
from strongroom.pipeline.embedded import stack as embedded

app = typer.Typer()
stack_app = typer.Typer(no_args_is_help=True, help="The embedded stack on this machine.")
releaser_app = typer.Typer(no_args_is_help=True, help="The key owner's releaser.")
model_app = typer.Typer(no_args_is_help=True, help="Base models.")
app.add_typer(stack_app, name="stack")
app.add_typer(releaser_app, name="releaser")
app.add_typer(model_app, name="model")


@app.command()
def quickstart(
    example: Annotated[
        str, typer.Option(help="Which of the examples; README.md has their list.")
    ] = "feedback",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Do everything once: start the stack, seal real data, train on it, verify, report."""
    from strongroom.pipeline.cli.quickstart import run_quickstart

    with reporting(as_json):
        run_quickstart(state, example, as_json=as_json)


@stack_app.command("up")
def stack_up(
    with_model: Annotated[
        bool, typer.Option("--with-model", help="Put the examples' base model into its bucket.")
    ] = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Start what does not run: S3 server, key service, releaser."""
    with reporting(as_json):
        with following(as_json) as watcher:
            watcher.stage("stack")
            stack = embedded.up(state)
            if with_model:
                from strongroom.examples.base_model import base_model

                watcher.stage("model")
                folder = base_model()
                watcher.stage("upload")
                embedded.upload_model(stack, folder)
        _show_stack(state, as_json)


@stack_app.command("show")
def stack_show(state: State = STATE, as_json: Json = False) -> None:
    """Show what a run file or a Terraform configuration needs to know of the stack."""
    with reporting(as_json):
        found = embedded.load(state).references()
        if as_json:
            print_json(found)
        else:
            for name, value in found.items():
                out.print(f"{name:<14} {value}")


@stack_app.command("status")
def stack_status(state: State = STATE, as_json: Json = False) -> None:
    """Show what runs and where."""
    with reporting(as_json):
        _show_stack(state, as_json)


@stack_app.command("down")
def stack_down(state: State = STATE, as_json: Json = False) -> None:
    """Stop everything; data and secrets stay in the state folder."""
    with reporting(as_json):
        embedded.down(state)
        _show_stack(state, as_json)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder for run.yaml and evaluator.py.")],
    as_json: Json = False,
) -> None:
    """Write a first run file and evaluator to start from."""
    from strongroom.pipeline.embedded.scaffold import write_first_run

    with reporting(as_json):
        written = write_first_run(folder)
        if as_json:
            print_json([str(path) for path in written])
        else:
            for path in written:
                out.print(str(path))


@app.command()
def seal(
    source: Annotated[Path, typer.Argument(help="JSONL or Parquet file, or a folder of them.")],
    uri: Annotated[str, typer.Argument(help="Prefix of the new dataset; ends with /.")],
    key: Annotated[str, typer.Option(help="Key that wraps the dataset's keyset.")],
    name: Annotated[str, typer.Option(help="Name of the dataset; default: from the URI.")] = "",
    records_per_shard: Annotated[int, typer.Option(min=1)] = 100_000,
    owner: OwnerPath = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Seal rows into a dataset: encrypted shards and a signed manifest."""
    from strongroom.pipeline.owner.seal import describe
    from strongroom.pipeline.owner.seal import seal as seal_rows

    with reporting(as_json):
        who = data_owner(owner, state)
        target = who.locate(uri)
        with following(as_json) as watcher:
            watcher.stage("seal_rows")
            sealed = seal_rows(
                source,
                target,
                who.bucket(target),
                who.releaser,
                kms=key,
                name=name or dataset_name(target.key),
                records_per_shard=records_per_shard,
                progress=lambda records: watcher.progress("seal", records, 0),
            )
        if as_json:
            print_json(describe(sealed))
        else:
            manifest = sealed.manifest
            out.print(
                f"sealed {manifest.records} records in {len(manifest.shards)} shards at "
                f"{sealed.uri}\nmanifest {sealed.manifest_sha256}\nsigned by {sealed.signer}"
            )


@app.command()
def dataset(
    uri: Annotated[str, typer.Argument(help="Prefix of the dataset; ends with /.")],
    owner: OwnerPath = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Show a sealed dataset, from its signed manifest."""
    from strongroom.pipeline.owner.seal import describe, stored

    with reporting(as_json):
        who = data_owner(owner, state)
        target = who.locate(uri)
        found = stored(target, who.bucket(target), who.signers)
        if as_json:
            print_json(describe(found))
        else:
            out.print(
                f"{found.manifest.records} records in {len(found.manifest.shards)} shards at "
                f"{found.uri}\nmanifest {found.manifest_sha256}\nsigned by {found.signer}"
            )


@model_app.command("upload")
def model_upload(
    folder: Annotated[Path, typer.Argument(help="Folder of a transformers model.")],
    uri: Annotated[str, typer.Argument(help="Prefix of the model in the bucket; ends with /.")],
    owner: OwnerPath = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Put a base model into the bucket, and print the digest that run files pin."""
    from strongroom.pipeline.owner.model_upload import upload

    with reporting(as_json):
        who = data_owner(owner, state)
        with following(as_json) as watcher:
            watcher.stage("upload")
            digest = upload(who, folder, uri)
        if as_json:
            print_json({"uri": uri, "digest": digest})
        else:
            out.print(f"base: {uri}\ndigest: {digest}")


@app.command()
def probe(as_json: Json = False) -> None:
    """Try every layer of the sandbox on this machine."""
    from strongroom.pipeline.cli.probe import probe_machine

    with reporting(as_json):
        found = probe_machine()
        weak = [name for name, (_value, verdict) in found.items() if verdict == "open"]
        if as_json:
            rows = {n: {"value": v, "verdict": verdict} for n, (v, verdict) in found.items()}
            print_json({"ok": not weak, "probes": rows})
        else:
            for name, (value, verdict) in found.items():
                if verdict != "closed":
                    out.print(f"{name:<28} {value:<14} {verdict}")
            good = sum(verdict == "closed" for _value, verdict in found.values())
            out.print(f"{good} of {len(found)} layers closed")
        if weak:
            raise SystemExit(1)


@releaser_app.command("serve")
def releaser_serve(
    config: Annotated[Path, typer.Argument(help="The releaser's settings (releaser.json).")],
) -> None:
    """Answer on the releaser's socket until stopped."""
    from strongroom.pipeline.releaser.process import main as serve

    with reporting(False):
        serve(config)


@releaser_app.command("measure")
def releaser_measure(as_json: Json = False) -> None:
    """Print the measurement of the enclave's code as installed here, for the owner to approve."""
    from strongroom.enclave.measurement import components, measure

    with reporting(as_json):
        if as_json:
            print_json({"measurement": measure(), "components": list(components())})
        else:
            out.print(measure())


@app.command(hidden=True)
def docs(folder: Annotated[Path, typer.Argument()] = Path("docs/reference")) -> None:
    """Generate the references of run file, errors and events."""
    from strongroom.pipeline.cli.reference import write_references

    write_references(folder)


def _show_stack(state: Path, as_json: bool) -> None:
    rows = embedded.status(state)
    if as_json:
        print_json([{"name": r.name, "running": r.running, "endpoint": r.endpoint} for r in rows])
        return
    for row in rows:
        mark = "[green]runs[/]   " if row.running else "[dim]stopped[/]"
        out.print(f"{row.name:<10} {mark}  {row.endpoint}")
