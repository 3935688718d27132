"""Errors of the releaser, and of talking to it: codes ``SR-RELEASE-NNN``."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class ReleaserUnreachable(ProcessError):
    """Nothing answers on the releaser's socket."""

    code = "SR-RELEASE-001"
    title = "the releaser does not answer"
    fault = Fault.ACCESS
    exit_code = Exit.KEY_REFUSED
    remedy = (
        "The key owner starts it with `strongroom releaser serve`, or `strongroom stack up` for "
        "the embedded stack. Then continue with `strongroom resume RUN`."
    )


class ReleaseDenied(ProcessError):
    """The releaser's own check of the plan failed."""

    code = "SR-RELEASE-002"
    title = "the releaser refused the keys"
    fault = Fault.POLICY
    exit_code = Exit.KEY_REFUSED
    remedy = "The key owner's policy decides; see `strongroom explain denial RUN`."


class NonceUnknown(ProcessError):
    """The evidence answers no open challenge."""

    code = "SR-RELEASE-003"
    title = "the evidence answers no open challenge"
    fault = Fault.POLICY
    exit_code = Exit.KEY_REFUSED
    remedy = "Start the enclave again; a challenge is valid once and for ten minutes."


class RequestMalformed(ProcessError):
    """A request to the releaser has no known form."""

    code = "SR-RELEASE-004"
    title = "the releaser got a malformed request"
    exit_code = Exit.KEY_REFUSED
    remedy = "Use the same Strongroom version on both sides."


class SignRefused(ProcessError):
    """The releaser signs dataset manifests, and the checkpoints of the log that it keeps."""

    code = "SR-RELEASE-005"
    title = "the releaser refused to sign"
    fault = Fault.POLICY
    exit_code = Exit.KEY_REFUSED
    remedy = "Only well-formed dataset manifests are signed."


class ReleaserSettingsInvalid(ProcessError):
    """``releaser.json`` is not there, or is not the owner's settings."""

    code = "SR-RELEASE-006"
    title = "the releaser's settings cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Write the file as docs/own-bucket.md shows it."


class ReleaserBusy(ProcessError):
    """This user has as many connections open as one may have, or too many wait to be let in."""

    code = "SR-RELEASE-007"
    title = "the releaser has no connection free for this user"
    fault = Fault.ACCESS
    exit_code = Exit.KEY_REFUSED
    remedy = "Try again; if it persists, look for a program of this user that holds connections."


class ReleaserRuns(ProcessError):
    """Another releaser has this memory of the log."""

    code = "SR-RELEASE-008"
    title = "a releaser runs already with this memory of the log"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "A log has one releaser. Stop the other one first."
