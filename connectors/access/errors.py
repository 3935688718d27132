"""Errors of leases and identities: codes ``SR-ACCESS-NNN``.

Servers' own messages never reach a field: they can quote tokens, policies or paths, so only their
enumerated codes are carried.
"""

from __future__ import annotations

from strongroom.errors import Exit, Fault, StrongroomError


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


class IdentityElsewhere(AccessError):
    """A run file asks to send an identity to another address than that in its file."""

    code = "SR-ACCESS-011"
    title = "the credentials file is for another address"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Nothing was sent. Correct spec.identity, or have its owner correct addr in the file"


class IdentityFileUnusable(AccessError):
    code = "SR-ACCESS-010"
    title = "the credentials file cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Give a JSON file with addr, role_id and secret_id that only its owner can read (0600)"
