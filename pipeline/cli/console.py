"""What commands print: results for people or as JSON, errors as documents, and exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from strongroom.errors import StrongroomError
from strongroom.errors.defect import defect
from strongroom.errors.listing import documents_of, errors_of, exit_code

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """One JSON document on one line of standard output."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


@contextmanager
def reporting(as_json: bool) -> Iterator[None]:
    """Turn an error into its document and its exit code; nobody sees a traceback."""
    try:
        yield
    except StrongroomError as error:
        show_error(error, as_json)
        raise SystemExit(exit_code(error)) from None
    except KeyboardInterrupt:
        err.print("interrupted; nothing is lost: continue with `strongroom resume RUN`")
        raise SystemExit(1) from None
    except Exception as error:
        found = defect(error)
        show_error(found, as_json)
        raise SystemExit(found.exit_code) from None


def show_error(error: StrongroomError, as_json: bool) -> None:
    """Print errors: as JSON on standard output, or readable on standard error."""
    if as_json:
        print_json({"errors": msgspec.to_builtins(documents_of(error))})
        return
    found = errors_of(error)
    for item in found:
        head = Text()
        if item.place:
            head.append(f"{item.place}: ", style="bold")
        head.append(item.code, style="bold red")
        head.append(f" {item.title}")
        err.print(head, soft_wrap=True)  # a place that is broken in two cannot be copied
        for label, value in (("expected", item.expected), ("found", item.actual)):
            if value:
                err.print(Text(f"  {label:<8} {value}"), soft_wrap=True)
        err.print(Text(f"  fix      {item.fix}", style="dim"), soft_wrap=True)
    if len(found) > 1:
        err.print(f"[bold]{len(found)} errors[/]")
