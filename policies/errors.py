"""What can go wrong around admission: a denial, or a policy bundle that cannot decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from strongroom.errors import ErrorList, Exit, Fault, StrongroomError


class PolicyError(StrongroomError):
    """Branch of the policy gate."""

    fault: ClassVar[Fault] = Fault.POLICY
    exit_code: ClassVar[int] = Exit.DENIED


class AdmissionDenied(PolicyError):
    code = "SR-POLICY-001"
    title = "denied by policy"
    remedy = "Change the run file, or ask the policy's owner"


class BundleMissing(PolicyError):
    code = "SR-POLICY-002"
    title = "the policy bundle cannot be read"
    remedy = "Name a folder with manifest.json, data.json and *.rego in spec.policy.bundle"


class BundleMalformed(PolicyError):
    code = "SR-POLICY-003"
    title = "the policy bundle is malformed"
    remedy = "Restore the bundle; nothing is admitted until it can be read"


class SettingsMalformed(PolicyError):
    code = "SR-POLICY-004"
    title = "the policy settings are malformed"
    remedy = "Correct data.json; docs/reference/policy.md lists every setting"


class BundleInUse(PolicyError):
    code = "SR-POLICY-005"
    title = "the folder holds something else than a policy bundle"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Choose a new folder"


class SettingsInvalid(PolicyError):
    code = "SR-POLICY-006"
    title = "the file holds no policy settings"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Write one JSON object; docs/reference/policy.md lists every setting"


class BundleNotWritten(PolicyError):
    code = "SR-POLICY-007"
    title = "the policy bundle cannot be written"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name a folder that this user can write to"


class DenialList(ErrorList):
    """Every denial of a plan, as one error with the exit code of a denial."""

    code = "SR-POLICY-000"
    title = "denied by policy"
    fault = Fault.POLICY
    exit_code = Exit.DENIED

    def __init__(self, errors: Sequence[StrongroomError]) -> None:
        super().__init__(errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return (DenialList, (self.errors,))
