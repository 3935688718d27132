"""The ``strongroom`` command. Each command is a few lines: read, call, print."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.errors import BucketMissing
from connectors.uri import parse
from errors import StrongroomError
from pipeline import embedded
from pipeline.console import err, out, print_json, reporting

app = typer.Typer(
    name="strongroom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reinforcement fine-tuning on data that stays sealed in your own bucket.",
)
stack_app = typer.Typer(no_args_is_help=True, help="The embedded stack on this machine.")
releaser_app = typer.Typer(no_args_is_help=True, help="The key owner's releaser.")
explain_app = typer.Typer(no_args_is_help=True, help="Why: access that a run gets, denials.")
app.add_typer(stack_app, name="stack")
app.add_typer(releaser_app, name="releaser")
app.add_typer(explain_app, name="explain")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
State = Annotated[
    Path,
    typer.Option("--state", envvar="STRONGROOM_STATE", help="Folder of the embedded stack."),
]
RunFile = Annotated[Path, typer.Argument(help="The run file (YAML).")]
RunId = Annotated[str, typer.Argument(help="The run's id.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", help="name=value for ${params.name} in the run file.")
]
STATE = embedded.DEFAULT_STATE


def main() -> None:
    """Entry of the console script."""
    # Beam warns about optional cloud libraries that are not installed, and not needed.
    logging.getLogger().setLevel(logging.ERROR)
    app()


@app.command()
def quickstart(state: State = STATE, as_json: Json = False) -> None:
    """Do everything once: start the stack, seal real data, train on it, verify, report."""
    from pipeline.quickstart import run_quickstart

    with reporting(as_json):
        run_quickstart(state, as_json=as_json)


@stack_app.command("up")
def stack_up(state: State = STATE, as_json: Json = False) -> None:
    """Start what does not run: S3 server, key service, releaser."""
    with reporting(as_json):
        embedded.up(state)
        _show_stack(state, as_json)


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
def seal(
    source: Annotated[Path, typer.Argument(help="JSONL file, or a folder of them.")],
    uri: Annotated[str, typer.Argument(help="Prefix of the new dataset; ends with /.")],
    key: Annotated[str, typer.Option(help="Key that wraps the dataset's keyset.")],
    name: Annotated[str, typer.Option(help="Name of the dataset; default: from the URI.")] = "",
    records_per_shard: Annotated[int, typer.Option(min=1)] = 100_000,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Seal rows into a dataset: encrypted shards and a signed manifest."""
    from pipeline.releaser_socket import ReleaserClient
    from pipeline.sealing import describe
    from pipeline.sealing import seal as seal_rows

    with reporting(as_json):
        stack = embedded.load(state)
        target = parse(uri)
        if target.bucket != stack.info.data_bucket:
            raise BucketMissing(place=uri, expected=f"s3://{stack.info.data_bucket}/…")
        sealed = seal_rows(
            source,
            target,
            stack.owner_bucket(target.key),
            ReleaserClient(stack.releaser_socket),
            kms=key,
            name=name or dataset_name(target.key),
            records_per_shard=records_per_shard,
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
def validate(
    run_file: RunFile, params: Params = None, state: State = STATE, as_json: Json = False
) -> None:
    """Check a run file: every error at once, with its line and column."""
    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        if as_json:
            print_json({"valid": True, "run_file": str(run_file)})
        else:
            out.print(f"{run_file}: valid ({loaded.spec.metadata.name})")


@app.command()
def plan(
    run_file: RunFile,
    params: Params = None,
    run_id: Annotated[str, typer.Option("--id", help="The run's id; default: a new one.")] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Show exactly what a run would read, write, lease and hold, and what the policy says."""
    from pipeline import controller
    from pipeline.plan_view import print_plan
    from pipeline.progress import Silent
    from policies.gate import denial_list

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        identity = run_id or controller.new_run_id(loaded.spec.metadata.name)
        made, decision = controller.make_plan(loaded, identity, Silent())
        if as_json:
            print_json(
                {
                    "plan": made.to_dict(),
                    "digest": made.digest,
                    "admitted": decision.allowed,
                    "denials": [
                        {
                            "rule": denial.rule,
                            "place": loaded.position(denial.path),
                            "expected": denial.expected,
                            "actual": denial.actual,
                            "fix": denial.fix,
                        }
                        for denial in decision.denials
                    ],
                }
            )
            if not decision.allowed:
                raise SystemExit(3)
        else:
            print_plan(out, made, decision)
            if not decision.allowed:
                raise denial_list(decision, loaded.position)


@app.command()
def run(
    run_file: RunFile,
    params: Params = None,
    run_id: Annotated[str, typer.Option("--id", help="The run's id; default: a new one.")] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Run a run file to its end."""
    from pipeline import controller, registry
    from pipeline.process_errors import RunExists

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        identity = run_id or controller.new_run_id(loaded.spec.metadata.name)
        before = registry.remember(state, identity, loaded.spec, run_file)
        if not as_json:
            out.print(f"run [bold]{identity}[/]")
        try:
            with watching(as_json, loaded.spec.spec.training.steps) as watcher:
                outcome = controller.run(loaded, identity, watcher)
        except RunExists:
            registry.put_back(state, identity, before)
            raise
        show_outcome(outcome, as_json)


@app.command()
def resume(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Continue a run that was interrupted, from its last checkpoint."""
    from pipeline import controller, registry

    with reporting(as_json):
        spec = registry.recall(state, run)
        with watching(as_json, spec.spec.training.steps) as watcher:
            outcome = controller.resume(spec, run, watcher)
        show_outcome(outcome, as_json)


@app.command()
def replay(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Do a finished run again from its plan, and prove that it comes out the same."""
    from pipeline import controller, registry

    with reporting(as_json):
        spec = registry.recall(state, run)
        with watching(as_json, spec.spec.training.steps) as watcher:
            outcome = controller.replay(spec, run, watcher)
        if not as_json:
            out.print("[green]the same[/], byte for byte: every checkpoint and the result")
        show_outcome(outcome, as_json)


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="The run's id; default: all.")] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Where runs stand, from the audit log."""
    from pipeline import inspection, registry

    with reporting(as_json):
        runs = [run] if run else registry.known_runs(state)
        rows = []
        for each in runs:
            try:
                rows.append(inspection.run_status(registry.recall(state, each), each))
            except StrongroomError as error:
                if run:
                    raise
                rows.append({"run": each, "state": error.code})
        if as_json:
            print_json(rows)
            return
        for row in rows:
            out.print(f"{row['run']:<40} {row['state']:<10} {standing(row)}")


@app.command()
def verify(
    run: RunId,
    vkey: Annotated[str, typer.Option(help="The log's verifier key; default: ask the owner.")] = "",
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Check a run from its objects and the log alone; exit 5 when anything is wrong."""
    from pipeline import inspection, registry

    with reporting(as_json):
        checks = inspection.verify_run(registry.recall(state, run), run, vkey)
        ok = all(check.ok for check in checks)
        if as_json:
            rows = [
                {"name": c.name, "ok": c.ok, "object": c.object, "detail": c.detail} for c in checks
            ]
            print_json({"run": run, "verified": ok, "checks": rows})
        else:
            for check in checks:
                if not check.ok:
                    err.print(f"[red]✗[/] {check.name}  {check.object}  {check.detail}")
            good = sum(check.ok for check in checks)
            word = "[green]verified[/]" if ok else "[red]NOT VERIFIED[/]"
            out.print(f"{word}: {good} of {len(checks)} checks hold for {run}")
        if not ok:
            raise SystemExit(5)


@app.command()
def report(
    run: RunId,
    to: Annotated[Path | None, typer.Option(help="File to write; default: in the state.")] = None,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Write the report of a run: one HTML file, checkable without trusting it."""
    from pipeline import inspection, registry

    with reporting(as_json):
        path, _checks = inspection.write_report(registry.recall(state, run), run, to, state)
        if as_json:
            print_json({"run": run, "report": str(path)})
        else:
            out.print(str(path))


@app.command()
def rollouts(
    run: RunId,
    step: Annotated[int, typer.Option(help="Step of the checkpoint; default: the last.")] = 0,
    state: State = STATE,
) -> None:
    """Show a run's sample rollouts; needs the output key, opens them without network."""
    from pipeline import inspection, registry, viewing

    with reporting(False):
        spec = registry.recall(state, run)
        wanted = step or inspection.last_checkpoint(spec, run)
        viewing.show_rollouts(spec, run, wanted, sys.stdout.fileno())


@releaser_app.command("serve")
def releaser_serve(
    config: Annotated[Path, typer.Argument(help="The releaser's settings (releaser.json).")],
) -> None:
    """Answer on the releaser's socket until stopped."""
    from pipeline.releaser_process import main as serve

    with reporting(False):
        serve(config)


@releaser_app.command("measure")
def releaser_measure(as_json: Json = False) -> None:
    """Print the measurement of the enclave's code as installed here, for the owner to approve."""
    from enclave.measurement import components, measure

    with reporting(as_json):
        if as_json:
            print_json({"measurement": measure(), "components": list(components())})
        else:
            out.print(measure())


@explain_app.command("access")
def explain_access(
    run_file: RunFile, params: Params = None, state: State = STATE, as_json: Json = False
) -> None:
    """Print the session policy document of each lease that a run would take."""
    from pipeline.layout import RunLayout
    from pipeline.lease_plan import plan_leases
    from pipeline.plan_view import lease_policies

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        run = loaded.spec.spec
        leases = plan_leases(run, RunLayout(run.outputs, "RUN"))
        documents = lease_policies(leases)
        if as_json:
            print_json(documents)
        else:
            for document in documents:
                out.print_json(data=document)


@explain_app.command("denial")
def explain_denial(run: RunId, state: State = STATE, as_json: Json = False) -> None:
    """Print which rules or checks refused a run, from the audit log."""
    from pipeline import inspection, registry

    with reporting(as_json):
        found = inspection.denials(registry.recall(state, run), run)
        if as_json:
            print_json(found)
            return
        for denial in found:
            out.print(f"{denial['time']}  {denial['event']:<12} {denial['reason']}")
        if not found:
            out.print(f"nothing in the log denied {run}")


@app.command()
def probe(as_json: Json = False) -> None:
    """Try every layer of the sandbox on this machine."""
    from pipeline.probing import probe_machine

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


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder for run.yaml and evaluator.py.")],
    as_json: Json = False,
) -> None:
    """Write a first run file and evaluator to start from."""
    from pipeline.scaffold import write_first_run

    with reporting(as_json):
        written = write_first_run(folder)
        if as_json:
            print_json([str(path) for path in written])
        else:
            for path in written:
                out.print(str(path))


@app.command(hidden=True)
def docs(folder: Annotated[Path, typer.Argument()] = Path("docs/reference")) -> None:
    """Generate the references of run file, errors and events."""
    from pipeline.reference import write_references

    write_references(folder)


def read_run_file(run_file: Path, params: list[str] | None, state: Path) -> Any:
    """A run file with its variables: environment, --set, and the embedded stack if there is one."""
    from connectors.access_errors import StackNotFound
    from pipeline.runfile import load

    try:
        variables = embedded.load(state).variables()
    except StackNotFound:
        variables = {}
    given = dict(item.partition("=")[::2] for item in params or [])
    return load(run_file, env=os.environ, params=given, stack=variables)


def dataset_name(key: str) -> str:
    """``datasets/feedback/train/`` is called ``feedback.train``."""
    parts = [part for part in key.split("/") if part and part != "datasets"]
    return ".".join(parts).lower()


def watching(as_json: bool, steps: int) -> Any:
    """Bars on a terminal, nothing for ``--json``."""
    from contextlib import nullcontext

    from pipeline.progress import Silent, Terminal

    return nullcontext(Silent()) if as_json else Terminal(out, steps)


def show_outcome(outcome: Any, as_json: bool) -> None:
    """How a run ended."""
    if as_json:
        print_json(
            {
                "run": outcome.run,
                "step": outcome.step,
                "trained_steps": outcome.trained_steps,
                "ended": outcome.ended,
                "alarms": outcome.alarms,
                "adapter_sha256": outcome.adapter,
                "evaluation": outcome.evaluations,
                "outputs": outcome.folder,
            }
        )
        return
    for phase, values in outcome.evaluations.items():
        numbers = "  ".join(f"{name} {value:g}" for name, value in sorted(values.items()))
        out.print(f"{phase:<7} {numbers}")
    if outcome.ended != "steps" or outcome.step != outcome.trained_steps:
        out.print(
            f"ended after step {outcome.trained_steps} ({outcome.ended}); the result is the "
            f"checkpoint of step {outcome.step}"
        )
    out.print(f"adapter {outcome.adapter}\noutputs {outcome.folder}")


def standing(row: dict[str, Any]) -> str:
    """How far a run is, in words."""
    words = [f"step {row['step']} of {row['steps']}"] if "step" in row else []
    if row.get("reward_mean") is not None:
        words.append(f"reward {row['reward_mean']:.2f}")
    if row["state"] == "running" and row.get("seconds_left") is not None:
        words.append(f"about {row['seconds_left'] / 60:.0f} min of training left")
    words += [f"alarm {name}" for name in row.get("alarms", ())]
    return " · ".join(words)


def _show_stack(state: Path, as_json: bool) -> None:
    rows = embedded.status(state)
    if as_json:
        print_json([{"name": r.name, "running": r.running, "endpoint": r.endpoint} for r in rows])
        return
    for row in rows:
        mark = "[green]runs[/]   " if row.running else "[dim]stopped[/]"
        out.print(f"{row.name:<10} {mark}  {row.endpoint}")


if __name__ == "__main__":
    main()
