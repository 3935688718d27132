"""Errors of the processes that make up a run, and of talking to them."""

from __future__ import annotations

import traceback

from errors import Exit, Fault, StrongroomError


class ProcessError(StrongroomError):
    """Branch: the controller's own processes."""

    fault = Fault.PLATFORM


class BrokerLost(ProcessError):
    """The broker process ended while the controller waited for it."""

    code = "SR-PROC-001"
    title = "the broker ended unexpectedly"
    remedy = "Nothing is lost: continue with `strongroom resume RUN`."


class Defect(ProcessError):
    """Something that no error class foresees."""

    code = "SR-PROC-002"
    title = "an unexpected failure"
    remedy = "This is a defect of Strongroom; report the class and place above. No data is lost."


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
    """The releaser signs log checkpoints and dataset manifests, and nothing else."""

    code = "SR-RELEASE-005"
    title = "the releaser refused to sign"
    fault = Fault.POLICY
    exit_code = Exit.KEY_REFUSED
    remedy = "Only well-formed log checkpoints and dataset manifests are signed."


class ReleaserSettingsInvalid(ProcessError):
    """``releaser.json`` is not there, or is not the owner's settings."""

    code = "SR-RELEASE-006"
    title = "the releaser's settings cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Write the file as docs/own-bucket.md shows it."


class PurposeRefused(ProcessError):
    """A broker was asked for an object outside the purpose's scope."""

    code = "SR-PROC-003"
    title = "the broker refused an object outside its scope"
    fault = Fault.POLICY
    exit_code = Exit.DENIED
    remedy = "The plan lists every object of a run; see `strongroom plan RUN.yaml`."


class OutputConflict(ProcessError):
    """An output object exists with other bytes."""

    code = "SR-RUN-201"
    title = "an output object exists with other content"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = "Nothing was overwritten. Start a new run; keep this one for the investigation."


class RunExists(ProcessError):
    """A run of this id is in the bucket already."""

    code = "SR-RUN-202"
    title = "a run with this id exists"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Continue it with `strongroom resume RUN`, or choose another --id."


class RunUnknown(ProcessError):
    """No run of this id is known here."""

    code = "SR-RUN-203"
    title = "no run with this id is known"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "List the runs with `strongroom status`."


class RunFinished(ProcessError):
    """The run is complete; there is nothing to resume."""

    code = "SR-RUN-204"
    title = "the run is complete already"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "See `strongroom report RUN`."


class FactMissing(ProcessError):
    """Something that the plan needs is not in the bucket."""

    code = "SR-RUN-205"
    title = "something that the plan needs is missing"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Check the URI; datasets are put there with `strongroom seal`."


class ReplayDiffers(ProcessError):
    """An object of a replay has other bytes than the run's."""

    code = "SR-RUN-214"
    title = "the replay came out differently"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = (
        "The published result does not follow from its plan on this machine. Compare processor, "
        "threads and versions with the run's evidence before you conclude anything."
    )


class RunUnfinished(ProcessError):
    """Only a run that has written everything can be replayed."""

    code = "SR-RUN-215"
    title = "the run has not written all of its objects"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Finish it with `strongroom resume RUN` first."


def defect(error: BaseException) -> Defect:
    """An unforeseen exception as an error: class and place only, never its text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return Defect(place=where, actual=type(error).__name__)


class EdgeRefused(ProcessError):
    """Something other than a handle would cross an edge of the Beam graph."""

    code = "SR-PROC-004"
    title = "only handles, digests and counts may cross a stage edge"
    fault = Fault.POLICY
    exit_code = Exit.INTEGRITY
    remedy = "This is a defect in the pipeline's code: keep rows inside the enclave."


class DatasetMissing(ProcessError):
    """There is no manifest under the prefix."""

    code = "SR-SEAL-004"
    title = "there is no sealed dataset"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Check the prefix; a dataset exists once its manifest.json does."


class ModelFolderInvalid(ProcessError):
    """What should be uploaded is no base model."""

    code = "SR-SEAL-006"
    title = "the folder holds no base model"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Give the folder of a transformers model with weights in safetensors."


class OwnerHasNoAccess(ProcessError):
    """The data's owner cannot reach where inputs should go."""

    code = "SR-SEAL-005"
    title = "the data's owner has no access there"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Name a prefix that `access` in the owner file (--owner) holds. Without an owner file, "
        "inputs go to the embedded stack's bucket."
    )


class DatasetExists(ProcessError):
    """The target prefix of a seal is not empty."""

    code = "SR-SEAL-001"
    title = "there is something under the dataset's prefix already"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Datasets are never overwritten: choose another prefix. Shards without a manifest.json "
        "are left from a seal that was cut off; the bucket's owner may delete them."
    )


class SourceMissing(ProcessError):
    """The rows to seal are not there."""

    code = "SR-SEAL-002"
    title = "there are no rows to seal"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name a file of rows (.jsonl, .jsonl.zst or .parquet), or a folder that holds some."


class DatasetNameInvalid(ProcessError):
    """A dataset's name cannot stand in a manifest."""

    code = "SR-SEAL-003"
    title = "this cannot be a dataset's name"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Use 1 to 128 lower-case letters, digits, dots, hyphens and underscores, starting with a "
        "letter or digit (--name)."
    )


class IdentityMissing(ProcessError):
    """A run that needs bucket credentials names no identity."""

    code = "SR-RUN-207"
    title = "the run names no identity for its broker"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Add spec.identity: who issues the broker's web identity token."


class ReleaserMissing(ProcessError):
    """A run names no releaser."""

    code = "SR-RUN-208"
    title = "the run names no releaser"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Add spec.keys.releaser: the socket where the key owner's releaser listens."


class CheckpointUnknown(ProcessError):
    """The run has no such checkpoint."""

    code = "SR-RUN-209"
    title = "the run has no such checkpoint"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "`strongroom plan` lists the steps that have one; `strongroom status` says how far it is."
    )


class VerificationFailed(ProcessError):
    """A run's objects and log do not agree."""

    code = "SR-RUN-210"
    title = "the run does not verify"
    fault = Fault.PLATFORM
    exit_code = Exit.INTEGRITY
    remedy = "`strongroom verify RUN` names each object that is wrong."


class ScaffoldExists(ProcessError):
    """A file that ``strongroom init`` would write is there already."""

    code = "SR-RUN-211"
    title = "the file exists already"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Choose another folder; nothing is overwritten."


class RunFileOutdated(ProcessError):
    """The kept copy of a run's file is not valid for this version."""

    code = "SR-RUN-212"
    title = "the run was started by a version with another run file form"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Use the version that started the run; its objects and log are untouched."


class PlanNotAdmitted(ProcessError):
    """The stored plan is none that the log says was admitted."""

    code = "SR-RUN-213"
    title = "the stored plan is not the one that was admitted"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = "Somebody changed plan.json. Restore its earlier version from the versioned bucket."


class RunBusy(ProcessError):
    """Two controllers of one run would write the same objects and the same log entries."""

    code = "SR-RUN-216"
    title = "another process on this machine drives the run"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Follow it with `strongroom wait RUN`, or end it with `strongroom cancel RUN`."


class RunEnded(ProcessError):
    """There is nothing to cancel."""

    code = "SR-RUN-217"
    title = "the run has ended already"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "See `strongroom status RUN`."


class RunInterrupted(ProcessError):
    """Nobody on this machine drives the run, and it has not ended."""

    code = "SR-RUN-218"
    title = "the run was interrupted"
    remedy = "Nothing is lost: continue with `strongroom resume RUN`."


class RunCancelled(ProcessError):
    """Its owner stopped the run."""

    code = "SR-RUN-219"
    title = "the run was cancelled"
    fault = Fault.INPUT
    remedy = "Checkpoints and log stay. `strongroom resume RUN` goes on from the last checkpoint."


class RunGoesOn(ProcessError):
    """The time to wait is up."""

    code = "SR-RUN-220"
    title = "the run has not ended yet"
    fault = Fault.INPUT
    remedy = "Wait longer with `strongroom wait RUN`; nothing was stopped."


class IntentChanged(ProcessError):
    """The run file or the evaluator is not what was looked at when the run was planned."""

    code = "SR-RUN-222"
    title = "the run file asks for something else than was planned"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Plan again, look at the plan, and submit what it says."


class SupervisorLost(ProcessError):
    """The supervisor of a detached run ended before it began."""

    code = "SR-RUN-221"
    title = "the supervisor did not start"
    remedy = "Read the log file named here, or run without --detach."
