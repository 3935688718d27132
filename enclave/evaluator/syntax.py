"""Whether an evaluator's source is Python: it is compiled, and not run."""

from __future__ import annotations

from strongroom.enclave.errors import EvaluatorSyntax
from strongroom.enclave.evaluator.messages import FILE


def check_syntax(text: bytes) -> None:
    """Raises ``EvaluatorSyntax``, with line and column where they are known."""
    try:
        compile(text, FILE, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise EvaluatorSyntax(line=error.lineno, column=error.offset) from None
    except (ValueError, RecursionError, MemoryError):  # null bytes; nested beyond the parser
        raise EvaluatorSyntax() from None
