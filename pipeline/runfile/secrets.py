"""Text that looks like a credential, which no file of ours may hold.

It is reported by position or by a variable's name, never by content.
"""

from __future__ import annotations

import re

from strongroom.errors import StrongroomError
from strongroom.pipeline.runfile.document import Document
from strongroom.pipeline.runfile.errors import SecretInRunFile
from strongroom.pipeline.runfile.yaml_tree import Mark, scalars

# Forms that credentials have by their makers' documentation.
_SECRET = re.compile(
    r"""
    \b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{16}\b          # AWS access key ids
    | -----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY-----        # PEM, OpenSSH
    | \bhv[sbr]\.[A-Za-z0-9_-]{20,}                  # Vault and OpenBao tokens
    | \b[sbr]\.[A-Za-z0-9]{24,}\b                    # their older form
    | \bgh[pousr]_[A-Za-z0-9]{30,}                   # GitHub
    | \bgithub_pat_[A-Za-z0-9_]{30,}
    | \bglpat-[A-Za-z0-9_-]{20,}                     # GitLab
    | \bhf_[A-Za-z0-9]{30,}                          # Hugging Face
    | \bsk-[A-Za-z0-9_-]{20,}                        # OpenAI, Anthropic, Stripe
    | \bxox[abeprs]-[A-Za-z0-9-]{10,}                # Slack
    | \bAIza[A-Za-z0-9_-]{35}\b                      # Google API keys
    | \bya29\.[A-Za-z0-9_-]{20,}                     # Google access tokens
    | \beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\. # JSON web tokens
    | AGE-SECRET-KEY-1[A-Z0-9]{20,}
    | ://[^\s/?\#:@'"]*:(?!\$\{)[^\s/?\#@'"]+@        # a URL with a password
    | [?&](?i:                                       # or with a signature, or a token
        x-(?:amz|goog)-(?:signature|credential|security-token) | awsaccesskeyid | signature | sig
        | (?:[a-z]+_)?token | api_?key | (?:client_)?secret | password
      )=[^\s&$]
    """,
    re.VERBOSE,
)
# An AWS secret key has no mark of its own: 40 base64 characters with all three classes.
_AWS_SECRET = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9/+]{40}")


def looks_secret(value: str) -> bool:
    """Whether a value has the form of a credential."""
    return bool(_SECRET.search(value) or _AWS_SECRET.fullmatch(value.strip()))


def secrets_in(document: Document) -> list[StrongroomError]:
    """Secrets in the file's own text (keys and comments too), one error per line."""
    found: dict[int, SecretInRunFile] = {}
    for number, line in enumerate(document.text.splitlines(), start=1):
        match = _SECRET.search(line)
        if match:
            place = document.at(Mark(number, match.start() + 1))
            found[number] = SecretInRunFile(place=place)
    if document.is_read:
        for _, scalar in scalars(document.root):
            if looks_secret(scalar.text):
                found.setdefault(scalar.mark.line, SecretInRunFile(place=document.at(scalar.mark)))
    return list(found.values())
