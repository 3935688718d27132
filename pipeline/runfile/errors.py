"""What can be wrong with a run file, or with facts that disagree: one class per code.

Values from the run file appear in ``actual`` only when they were written there literally and look
like no secret; values that came from an environment variable or a parameter are shown by the
variable's name.
"""

from __future__ import annotations

from typing import ClassVar

from strongroom.errors import Exit, Fault, StrongroomError


class RunError(StrongroomError):
    """Branch of the run file and the plan."""

    fault: ClassVar[Fault] = Fault.INPUT
    exit_code: ClassVar[int] = Exit.BAD_INPUT


class RunFileUnreadable(RunError):
    code = "SR-RUN-001"
    title = "the run file cannot be read"
    remedy = "Check the path and its permissions; `strongroom init` writes a first run file"


class RunFileNotUtf8(RunError):
    code = "SR-RUN-002"
    title = "the run file is not UTF-8 text"
    remedy = "Save it as UTF-8"


class RunFileEmpty(RunError):
    code = "SR-RUN-003"
    title = "the run file is empty"
    remedy = "Start from examples/feedback/run.yaml or `strongroom init`"


class YamlSyntax(RunError):
    code = "SR-RUN-004"
    title = "the run file is not valid YAML 1.2"
    remedy = "Check indentation, quotes and brackets at this position"


class SeveralDocuments(RunError):
    code = "SR-RUN-005"
    title = "the run file holds more than one YAML document"
    remedy = "Put each run into a file of its own"


class DuplicateKey(RunError):
    code = "SR-RUN-006"
    title = "a key is given twice"
    remedy = "Remove one of them"


class AliasRefused(RunError):
    code = "SR-RUN-007"
    title = "YAML anchors, aliases and merge keys are not used in run files"
    remedy = "Write the value out, or use ${params.NAME}"


class TagRefused(RunError):
    code = "SR-RUN-008"
    title = "YAML tags and directives are not used in run files"
    remedy = "Remove the tag; quote the value if it must be text"


class RunFileTooLarge(RunError):
    code = "SR-RUN-009"
    title = "the run file is too large"
    remedy = "A run file holds references, not data: put data into the bucket"


class RunFileTooDeep(RunError):
    code = "SR-RUN-010"
    title = "the run file is nested too deeply"
    remedy = "No field of a run file needs this depth"


class KeyNotText(RunError):
    code = "SR-RUN-011"
    title = "a key is not plain text"
    remedy = "Keys of a run file are field names"


class UnknownField(RunError):
    code = "SR-RUN-012"
    title = "unknown field"
    remedy = "Remove it; docs/reference/run-file.md lists every field"


class MissingField(RunError):
    code = "SR-RUN-013"
    title = "a required field is missing"
    remedy = "Add it; docs/reference/run-file.md describes it"


class WrongType(RunError):
    code = "SR-RUN-014"
    title = "a value has the wrong type"
    remedy = "Write a value of the expected type"


class InvalidValue(RunError):
    code = "SR-RUN-015"
    title = "a value is not allowed here"
    remedy = "Choose a value in the expected form and range"


class UnknownChoice(RunError):
    code = "SR-RUN-016"
    title = "a value is not one of the choices"
    remedy = "Choose one of the expected values"


class UnknownVersion(RunError):
    code = "SR-RUN-017"
    title = "this apiVersion or kind is not known to this version of strongroom"
    remedy = "Use apiVersion strongroom/v1 and kind TrainingRun"


class MissingVariable(RunError):
    code = "SR-RUN-018"
    title = "a variable has no value"
    remedy = "Set it: in the environment, with --param name=value, or by `strongroom stack up`."


class BadInterpolation(RunError):
    code = "SR-RUN-019"
    title = "a ${…} expression cannot be used here"
    remedy = (
        "Values may hold ${env.STRONGROOM_NAME}, ${params.NAME}, ${stack.NAME} and ${run.name}; "
        "$${ stands for a literal ${"
    )


class SecretInRunFile(RunError):
    code = "SR-RUN-020"
    title = "this looks like a secret"
    remedy = (
        "Remove it and revoke it; a run file holds references only: keys as vault://…, "
        "credentials as the path of a file that only the broker reads"
    )


class Inconsistent(RunError):
    code = "SR-RUN-021"
    title = "two fields do not go together"
    remedy = "Change one of them"


class FileMissing(RunError):
    code = "SR-RUN-022"
    title = "a file that the run file names is not there"
    remedy = "Relative paths start at the run file's folder"


class ParameterMalformed(RunError):
    code = "SR-RUN-023"
    title = "a parameter has no value"
    remedy = "Write --param name=value for each; name= alone gives an empty text"


class VariableForbidden(RunError):
    code = "SR-RUN-024"
    title = "a run file may not read this variable of the environment"
    remedy = (
        "Hand the value over: write ${params.NAME} and give --param NAME=…; or let the variable's "
        "name begin with STRONGROOM_"
    )


class FactsDisagree(RunError):
    code = "SR-RUN-031"
    title = "what was found does not agree with the run file"
    remedy = "Correct the run file, or restore what it names"
