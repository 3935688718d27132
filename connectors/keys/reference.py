"""References to keys: ``vault://<mount>/<key>`` and ``local:///<keyring file>#<name>``.

The one grammar of them. Run files and commands check references here and ``keys.open`` opens what
this module parses, so a run may name a key exactly when a key service can open it. Does no I/O, and
knows of a key service only the name of its module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from strongroom.connectors.keys.errors import KmsReferenceInvalid
from strongroom.errors.visible import shortened

# OpenBao's own grammar of a key's name; a mount's parts may end in more.
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_MOUNT = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_FILE = r"(?!\.{1,2}[/#])[^/#?*\x00-\x1f\x7f]+"


@dataclass(frozen=True)
class KeyService:
    """A kind of key service: how references to its keys are written, and who opens them."""

    shown: str
    """The form of a reference, for people."""
    pattern: re.Pattern[str]
    template: str
    """Of a reference."""
    service: str
    """Template of what the key service is called."""
    module: str
    """Whose ``open_key(reference, vault_addr, credentials_file)`` opens a key of this kind."""


SERVICES: dict[str, KeyService] = {
    "vault": KeyService(
        "vault://<mount>/<key>",
        re.compile(rf"vault://(?P<holder>{_MOUNT}(?:/{_MOUNT})*)/(?P<name>{_NAME})"),
        "vault://{holder}/{name}",
        "{vault_addr}",
        "strongroom.connectors.keys.vault",
    ),
    "local": KeyService(
        "local:///<keyring file>#<name>",
        re.compile(rf"local://(?P<holder>(?:/{_FILE})+)#(?P<name>{_NAME})"),
        "local://{holder}#{name}",
        "local://{holder}",
        "strongroom.connectors.keys.keyring",
    ),
}
"""By scheme."""

ALL_FORMS = " or ".join(form.shown for form in SERVICES.values())
"""Every form of a reference, as errors and descriptions show it."""


@dataclass(frozen=True)
class KeyReference:
    """One key: ``holder`` is the mount or the keyring file that holds it. Made by ``parse``."""

    scheme: str
    holder: str
    name: str

    def __str__(self) -> str:
        return SERVICES[self.scheme].template.format(holder=self.holder, name=self.name)

    def service(self, vault_addr: str) -> str:
        """What the key service is called: the address of OpenBao or Vault, or the keyring file."""
        return SERVICES[self.scheme].service.format(holder=self.holder, vault_addr=vault_addr)


def parse(text: str) -> KeyReference:
    """The key that ``text`` names. Raises ``KmsReferenceInvalid``."""
    for scheme, form in SERVICES.items():
        if match := form.pattern.fullmatch(text):
            return KeyReference(scheme, match["holder"], match["name"])
    expected = [form.shown for scheme, form in SERVICES.items() if text.startswith(f"{scheme}://")]
    raise KmsReferenceInvalid(
        place=shortened(text, 200), expected=expected[0] if expected else ALL_FORMS
    )
