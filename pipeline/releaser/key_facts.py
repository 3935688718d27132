"""What the key services say of a run's keys: asked by the only process that they answer."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.connectors.keys.errors import KmsKeyMissing, KmsRefused
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.reference import parse
from strongroom.enclave.plan.parts import KeyFacts, KeyRefs, KmsFacts
from strongroom.pipeline.releaser.errors import ReleaseDenied


def kms_facts(keys: KeyRefs, open_key: Callable[[str], Kms], vault_addr: str) -> KmsFacts:
    """The answers when each key is tried for its use in a run: to unwrap, or to sign.

    Raises the ``Kms…`` errors of a service that does not answer, and of a key of the wrong kind.
    """

    def answer(ref: str, use: Callable[[Kms], object]) -> KeyFacts:
        owner = parse(ref).service(vault_addr)
        try:
            use(open_key(ref))
        except KmsKeyMissing:
            return KeyFacts(owner=owner, state="missing")
        except (KmsRefused, ReleaseDenied):  # by the service, or by the owner's settings
            return KeyFacts(owner=owner, state="refused")
        return KeyFacts(owner=owner, state="held")

    return KmsFacts(
        data=answer(keys.data, lambda key: key.check_unwraps()),
        outputs=answer(keys.outputs, lambda key: key.check_unwraps()),
        audit=answer(keys.audit, lambda key: key.public_key()),
    )
