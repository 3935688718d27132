"""Errors of the channel between broker and enclave, and of what the enclave does for the broker."""

from __future__ import annotations

import builtins

from strongroom.enclave.errors import MemoryExceeded
from strongroom.errors import Exit, Fault, StrongroomError


class ChannelError(StrongroomError):
    """Branch: the channel between a broker and its enclave."""

    fault = Fault.PLATFORM


class ChannelBroken(ChannelError):
    """The other side of a channel went away in the middle of a conversation."""

    code = "SR-CHANNEL-001"
    title = "a process of this run ended unexpectedly"
    remedy = "Nothing is lost: continue with `strongroom resume RUN`."


class ChannelViolation(ChannelError):
    """A frame breaks the channel's rules; the enclave is killed."""

    code = "SR-CHANNEL-002"
    title = "a frame from the enclave was refused"
    fault = Fault.POLICY
    exit_code = Exit.INTEGRITY
    remedy = (
        "The enclave was stopped. Treat the evaluator and the dataset as hostile until explained."
    )


class EnclaveKilled(ChannelError):
    """The enclave process ended by a signal."""

    code = "SR-CHANNEL-003"
    title = "the enclave was killed"
    remedy = (
        "SIGSYS means a forbidden system call, SIGKILL often means lack of memory "
        "(see spec.enclave.memory). Nothing is lost: continue with `strongroom resume RUN`."
    )


class EnclaveFailed(ChannelError):
    """Something unforeseen happened inside; only the exception's class name may leave."""

    code = "SR-CHANNEL-004"
    title = "the enclave failed unexpectedly"
    remedy = "This is a defect of Strongroom. Report the class name and the step; no data is lost."


class EnclaveTimedOut(ChannelError):
    """The enclave said nothing for longer than any work of its kind takes."""

    code = "SR-CHANNEL-006"
    title = "an enclave did not answer in time and was stopped"
    fault = Fault.INPUT
    remedy = (
        "Look at what it was given: a tokenizer's pattern, a template, the number of layers, rows. "
        "Nothing is lost: continue with `strongroom resume RUN`."
    )


class PlanMismatch(ChannelError):
    """An object that the enclave fetched is not the one that the plan names."""

    code = "SR-CHANNEL-005"
    title = "an object is not the one that the plan names"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = "Somebody changed the object after the plan was made. Restore it, or plan again."


class FrameTooLarge(ChannelError):
    """A message would be larger than a frame."""

    code = "SR-CHANNEL-007"
    title = "a plan, manifest or list is too large to be handed from one process to another"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Seal the dataset again in larger shards (--records-per-shard), or in several datasets."
    )


class RecordsRejected(ChannelError):
    """The dataset holds records that cannot be trained on; each is listed by shard and line."""

    code = "SR-DATA-001"
    title = "the dataset holds records that cannot be trained on"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Correct the listed records, seal the dataset under a new name, and run again."


class RecordCountWrong(ChannelError):
    """A shard decrypts, but holds another number of records than its manifest says."""

    code = "SR-DATA-002"
    title = "a shard holds another number of records than its manifest says"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = "The dataset was sealed wrongly. Seal it again from its source."


class NotCompressed(ChannelError):
    """A shard's plaintext is not zstd."""

    code = "SR-DATA-003"
    title = "a shard's content is not valid zstd"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "The dataset was sealed wrongly. Seal it again with `strongroom seal`."


class RecordRejected(ChannelError):
    """One record that cannot be trained on."""

    code = "SR-DATA-004"
    title = "record rejected"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Correct the record in its source and seal the dataset again under a new name."


class NotParquet(ChannelError):
    """A source of rows begins like Parquet and is none, or cannot be read to its end."""

    code = "SR-DATA-005"
    title = "the Parquet file cannot be read"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Write the file again, without encryption. Columns may be text, numbers, booleans, nulls, "
        "and lists and structs of those."
    )


class SourceChanged(ChannelError):
    """The second reading of a source of rows gave other rows than the first, which checked them."""

    code = "SR-DATA-006"
    title = "a file changed while it was being sealed"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Nothing was published. Seal a copy that no program writes to, into another folder of the "
        "bucket."
    )


def known(error: BaseException) -> StrongroomError:
    """What an enclave may say of an error: ours as it is, of any other the name of its class."""
    if isinstance(error, StrongroomError):
        return error
    if isinstance(error, MemoryError):
        return MemoryExceeded()
    name = type(error).__name__
    return EnclaveFailed(actual=name if hasattr(builtins, name) else "Exception")
