"""Errors of key services: codes ``SR-KMS-NNN``."""

from __future__ import annotations

from strongroom.errors import Exit, Fault, StrongroomError


class KmsError(StrongroomError):
    """Branch: a key service did not do what was asked."""

    fault = Fault.ACCESS
    exit_code = Exit.KEY_REFUSED


class KmsReferenceInvalid(KmsError):
    code = "SR-KMS-001"
    title = "the key reference cannot be read"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Write vault://<mount>/<key> or local:///<keyring file>#<name>"


class KmsUnreachable(KmsError):
    code = "SR-KMS-002"
    title = "the key service does not answer"
    fault = Fault.PLATFORM
    exit_code = Exit.FAILED
    remedy = "Check the address and the network; for the embedded stack run 'strongroom stack up'"


class KmsSealed(KmsError):
    code = "SR-KMS-003"
    title = "the key service is sealed"
    fault = Fault.PLATFORM
    remedy = "Unseal it; for the embedded stack run 'strongroom stack down' and 'stack up'"


class KmsRefused(KmsError):
    code = "SR-KMS-004"
    title = "the key service refused this identity"
    remedy = "The key's owner must grant this identity the operation on this key"


class KmsKeyMissing(KmsError):
    code = "SR-KMS-005"
    title = "the key does not exist in the key service"
    remedy = "Check the reference; a key that was shredded cannot come back"


class KmsContextMismatch(KmsError):
    code = "SR-KMS-006"
    title = "the wrapped key does not open in this context"
    exit_code = Exit.INTEGRITY
    remedy = (
        "It was wrapped for another dataset or run, or it was changed: use the original manifest"
    )


class KmsWrappedInvalid(KmsError):
    code = "SR-KMS-007"
    title = "the wrapped key is not in this key service's form"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = "Check that the manifest was sealed with this key service"


class KmsKeyUnfit(KmsError):
    code = "SR-KMS-008"
    title = "the key is of a kind that cannot do this operation"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Wrap with an aes256-gcm96 key made with derived=true; sign with an ed25519 key"


class KmsFailed(KmsError):
    code = "SR-KMS-009"
    title = "the key service failed"
    fault = Fault.PLATFORM
    exit_code = Exit.FAILED
    remedy = "Look into the key service's own log"


class KeyringUnusable(KmsError):
    code = "SR-KMS-010"
    title = "the keyring file cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Give a keyring that only its owner can read (0600), or create a new one"


class KmsIdentityUnusable(KmsError):
    code = "SR-KMS-011"
    title = "the key service needs an address and a usable credentials file"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Give the address and a JSON file with role_id and secret_id, mode 0600"
