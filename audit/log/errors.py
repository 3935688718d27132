"""Errors of reading and writing the log."""

from __future__ import annotations

from strongroom.audit.errors import AuditError
from strongroom.errors import Exit, Fault


class LogUnreadable(AuditError):
    code = "SR-AUDIT-001"
    title = "the audit log's storage did not answer a read"
    fault = Fault.ACCESS
    remedy = "Check that the audit bucket is reachable and that the role may read it."


class LogNotWritable(AuditError):
    code = "SR-AUDIT-002"
    title = "the audit log's storage refused a write"
    fault = Fault.ACCESS
    remedy = (
        "Free space or grant create access under the log's prefix, then append again: "
        "a repeated append is written once."
    )


class LogNotFound(AuditError):
    code = "SR-AUDIT-003"
    title = "there is no audit log here"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Check the log's address; a log begins with its first event."


class CheckpointMalformed(AuditError):
    code = "SR-AUDIT-004"
    title = "the checkpoint is not a C2SP checkpoint note"
    exit_code = Exit.INTEGRITY
    remedy = "Restore the object from its previous version; the bucket keeps them."


class CheckpointUntrusted(AuditError):
    code = "SR-AUDIT-005"
    title = "the checkpoint carries no valid signature by the log's key"
    exit_code = Exit.INTEGRITY
    remedy = "Check the verifier key; if it is right, treat the log as forged."


class OriginMismatch(AuditError):
    code = "SR-AUDIT-006"
    title = "the checkpoint belongs to another log"
    exit_code = Exit.INTEGRITY
    remedy = "Check the log's origin; if it is right, treat the log as substituted."


class LogObjectMissing(AuditError):
    code = "SR-AUDIT-007"
    title = "an object that the log's checkpoint commits to is missing"
    exit_code = Exit.INTEGRITY
    remedy = "Restore the object; the audit bucket's retention lock should have prevented this."


class TileMismatch(AuditError):
    code = "SR-AUDIT-008"
    title = "a tile differs from what the signed root commits to"
    exit_code = Exit.INTEGRITY
    remedy = "Restore the object from its previous version and find out who wrote it."


class RootMismatch(AuditError):
    code = "SR-AUDIT-010"
    title = "the log's entries do not hash to the signed root"
    exit_code = Exit.INTEGRITY
    remedy = "Treat the log as altered; compare it with an earlier copy of a checkpoint."


class CheckpointForked(AuditError):
    code = "SR-AUDIT-011"
    title = "a signed checkpoint is not a prefix of the log"
    exit_code = Exit.INTEGRITY
    remedy = "The log key signed two histories: rotate it and find out who used it."


class LogRolledBack(AuditError):
    code = "SR-AUDIT-012"
    title = "the log's checkpoint is older than one that was seen before"
    exit_code = Exit.INTEGRITY
    remedy = (
        "Entries that were in the log are not in it now: find out who wrote the checkpoint, and "
        "restart the releaser, which writes it anew."
    )


class SignerMismatch(AuditError):
    code = "SR-AUDIT-015"
    title = "the signing key does not match the log's public key"
    fault = Fault.ACCESS
    remedy = "Use the key that the log was begun with (the key reference in spec.keys.audit)."


class EntryTooLarge(AuditError):
    code = "SR-AUDIT-016"
    title = "the entries are too large for one append"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Split the append, or log a digest in place of the list."


class KeyMalformed(AuditError):
    code = "SR-AUDIT-020"
    title = "the log's verifier key or origin is malformed"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Use the line that `strongroom verify` prints: name+key id+base64 of the key."


class EntryBundleMalformed(AuditError):
    code = "SR-AUDIT-021"
    title = "the object is not a bundle of log entries"
    exit_code = Exit.INTEGRITY
    remedy = "Restore the object from its previous version and find out who wrote it."


class LogMemoryLost(AuditError):
    code = "SR-AUDIT-022"
    title = "the releaser does not remember the log that is in the bucket"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Give the releaser back its folder. If that is lost, or older than the log, take the log "
        "over with `strongroom releaser adopt` and a checkpoint that you trust."
    )


class LogMemoryDamaged(AuditError):
    code = "SR-AUDIT-023"
    title = "the releaser's memory of the log contradicts itself"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Restore its folder from a copy, or move it away and take the log over with "
        "`strongroom releaser adopt`."
    )


class LogOfAnotherReleaser(AuditError):
    code = "SR-AUDIT-024"
    title = "another releaser appends to this log"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "A log has one releaser. Stop one of the two; this one has signed nothing that the other "
        "has not. If this one is to go on, see `strongroom releaser adopt`."
    )


class LogCopyDamaged(AuditError):
    code = "SR-AUDIT-025"
    title = "this machine's copy of the log cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Move the file away; a reader reads the log again. For a releaser, see its folder."


class CosignatureMissing(AuditError):
    code = "SR-AUDIT-026"
    title = "a witness has not signed this checkpoint"
    exit_code = Exit.INTEGRITY
    remedy = "Take a checkpoint that the witness has signed, or leave out its key."


class EventRefused(AuditError):
    code = "SR-AUDIT-027"
    title = "this event cannot enter the log now"
    fault = Fault.POLICY
    exit_code = Exit.KEY_REFUSED
    remedy = "Events are taken from who may say them, in their order, once, and when they happen."
