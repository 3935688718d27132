"""References to keys: ``vault://<mount>/<key>`` and ``local:///<keyring file>#<name>``.

The one grammar of them. Run files and commands check references here and ``keys.open`` opens what
this module parses, so a run may name a key exactly when a key service can open it. Does no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from strongroom.connectors.keys.errors import KmsReferenceInvalid

Scheme = Literal["vault", "local"]

# OpenBao's own grammar of a key's name; a mount's parts may end in more.
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_MOUNT = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_FILE = r"(?!\.{1,2}[/#])[^/#?*\x00-\x1f\x7f]+"


@dataclass(frozen=True)
class _Form:
    """How references of one scheme are written: for people, as a pattern, and as a template.

    ``service`` is the template of what the key service is called.
    """

    shown: str
    pattern: re.Pattern[str]
    template: str
    service: str


_FORMS: dict[Scheme, _Form] = {
    "vault": _Form(
        "vault://<mount>/<key>",
        re.compile(rf"vault://(?P<holder>{_MOUNT}(?:/{_MOUNT})*)/(?P<name>{_NAME})"),
        "vault://{holder}/{name}",
        "{vault_addr}",
    ),
    "local": _Form(
        "local:///<keyring file>#<name>",
        re.compile(rf"local://(?P<holder>(?:/{_FILE})+)#(?P<name>{_NAME})"),
        "local://{holder}#{name}",
        "local://{holder}",
    ),
}
assert _FORMS.keys() == set(get_args(Scheme))  # noqa: S101 - a row for each scheme

ALL_FORMS = " or ".join(form.shown for form in _FORMS.values())
"""Every form of a reference, as errors and descriptions show it."""


@dataclass(frozen=True)
class KeyReference:
    """One key: ``holder`` is the mount or the keyring file that holds it. Made by ``parse``."""

    scheme: Scheme
    holder: str
    name: str

    def __str__(self) -> str:
        return _FORMS[self.scheme].template.format(holder=self.holder, name=self.name)

    def service(self, vault_addr: str) -> str:
        """What the key service is called: the address of OpenBao or Vault, or the keyring file."""
        return _FORMS[self.scheme].service.format(holder=self.holder, vault_addr=vault_addr)


def parse(text: str) -> KeyReference:
    """The key that ``text`` names. Raises ``KmsReferenceInvalid``."""
    for scheme, form in _FORMS.items():
        if match := form.pattern.fullmatch(text):
            return KeyReference(scheme, match["holder"], match["name"])
    expected = [form.shown for scheme, form in _FORMS.items() if text.startswith(f"{scheme}://")]
    raise KmsReferenceInvalid(place=text[:200], expected=expected[0] if expected else ALL_FORMS)
