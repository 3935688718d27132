"""How commands end: errors as documents, exit codes, and what a process says beside its output."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from strongroom.errors import Exit, StrongroomError
from strongroom.errors.defect import OutputLost, defect
from strongroom.errors.listing import documents_of, errors_of, exit_code
from strongroom.pipeline.cli import streams
from strongroom.pipeline.cli.console import Styled, err, print_json
from strongroom.pipeline.cli.errors import Interrupted


@contextmanager
def reporting(as_json: bool, failed: int = Exit.FAILED) -> Iterator[None]:
    """Turn an error into its document and its exit code; nobody sees a traceback.

    ``failed`` is the exit code in place of 1, for a command whose own 1 says something.
    """
    try:
        yield
        _delivered()
        return
    except SystemExit:
        try:
            _delivered()
        except OutputLost as error:
            show_error(error, False)
        raise
    except StrongroomError as error:
        found = error
    except KeyboardInterrupt:
        found = Interrupted()
    except BaseException as error:
        found = defect(error)
    show_error(found, as_json)
    code = exit_code(found)
    raise SystemExit(failed if code == Exit.FAILED else code) from None


def show_error(error: StrongroomError, as_json: bool) -> None:
    """Print errors: as JSON on standard output, or readable on standard error."""
    if as_json and not isinstance(error, OutputLost):
        print_json({"errors": msgspec.to_builtins(documents_of(error))})
        return
    found = errors_of(error)
    for item in found:
        place = f"{item.place}: " if item.place else ""
        err.say(Styled(place, "bold"), Styled(item.code, "bold red"), f" {item.title}")
        for label, value in (("expected", item.expected), ("found", item.actual)):
            if value:
                err.say(f"  {label:<8} {value}")
        err.say(Styled(f"  fix      {item.fix}", "dim"))
    if len(found) > 1:
        err.say(Styled(f"{len(found)} errors", "bold"))


def begin() -> None:
    """Before all else in a process whose output people or programs read.

    What libraries log, and what fails where nobody waits for it, is said as all else is.
    """
    streams.take_over()
    logging.captureWarnings(True)
    # Beam warns about optional cloud libraries that are not installed, and not needed.
    logging.basicConfig(handlers=[_Said()], level=logging.ERROR, force=True)
    threading.excepthook = lambda failed: _fell(failed.exc_value)
    sys.unraisablehook = lambda failed: _fell(failed.exc_value)


class _Said(logging.Handler):
    """Log records as lines on standard error, without tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        err.say(f"{record.name}: {record.getMessage()}")


def _fell(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        show_error(defect(error), False)


def _delivered() -> None:
    """Raise ``OutputLost`` unless standard output took all that was written."""
    lost = streams.loss()
    if lost is not None:
        raise OutputLost(place="standard output", actual=os.strerror(lost.errno or 0))
