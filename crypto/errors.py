"""Every error of this package: one class per stable code.

Integrity failures exit with ``Exit.INTEGRITY``. Messages hold names, sizes, digests and positions;
never key material, plaintext or ciphertext.
"""

from __future__ import annotations

from strongroom.errors import Exit, Fault, StrongroomError


class CryptoError(StrongroomError):
    """The branch of everything that can go wrong with sealed bytes, keys and signatures."""

    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT


class IntegrityError(CryptoError):
    """The branch of what is not, or cannot be proven to be, what was sealed or signed."""

    exit_code = Exit.INTEGRITY


# Sealed objects ---------------------------------------------------------------------------------


class HeaderMismatch(IntegrityError):
    """The object starts with another header than the manifest pins."""

    code = "SR-CRYPTO-001"
    title = "the object's header is not the one that its manifest pins"
    remedy = (
        "The object was replaced, or comes from another version of the dataset. Restore the "
        "version that the manifest describes, or seal the dataset again"
    )


class ObjectTruncated(IntegrityError):
    """The object is shorter than the manifest pins."""

    code = "SR-CRYPTO-002"
    title = "the object is shorter than its manifest says"
    remedy = "An upload was cut short or bytes were removed. Restore the object or seal it again"


class ObjectExtended(IntegrityError):
    """The object is longer than the manifest pins."""

    code = "SR-CRYPTO-003"
    title = "the object is longer than its manifest says"
    remedy = "Bytes were appended. Restore the version of the object that the manifest describes"


class SegmentRefused(IntegrityError):
    """AES-GCM refused a segment."""

    code = "SR-CRYPTO-004"
    title = "a segment failed authentication"
    remedy = (
        "The bytes were changed, moved, cut or sealed under another identity or key. Restore the "
        "object from an older version, or seal it again"
    )


class SegmentLengthWrong(IntegrityError):
    """A segment was delivered with another length than its place in the object has."""

    code = "SR-CRYPTO-005"
    title = "a segment has the wrong length"
    remedy = "The bucket returned fewer or more bytes than asked for. Read the range again"


class HeaderMalformed(IntegrityError):
    """The first 40 bytes are not the header of a sealed object."""

    code = "SR-CRYPTO-006"
    title = "the object does not start with a sealed object's header"
    remedy = "The object was not sealed by AES256_GCM_HKDF_1MB. Check its name, or seal it"


class LengthImpossible(IntegrityError):
    """No sealed object has this length."""

    code = "SR-CRYPTO-007"
    title = "no sealed object has this length"
    remedy = "The object was cut or extended, or was never sealed. Restore it or seal it again"


class ObjectDigestMismatch(IntegrityError):
    """The object's SHA-256 is not the one that the manifest pins."""

    code = "SR-CRYPTO-008"
    title = "the object's SHA-256 is not the one in its manifest"
    remedy = "Restore the version of the object that the manifest describes, or seal it again"


class PlaintextTooLong(CryptoError):
    """More than 2^32 segments: the format's counter would wrap."""

    code = "SR-CRYPTO-009"
    title = "the plaintext is too long for one sealed object"
    remedy = "Split it into several shards"


# Manifests --------------------------------------------------------------------------------------


class ManifestMalformed(IntegrityError):
    """The manifest's payload breaks its schema."""

    code = "SR-CRYPTO-010"
    title = "the manifest does not follow its schema"
    remedy = "Write the manifest again with `strongroom seal`; do not edit it by hand"


class ManifestVersionUnknown(IntegrityError):
    """The manifest has a version that this release does not know."""

    code = "SR-CRYPTO-011"
    title = "the manifest has a version that this release cannot read"
    remedy = "Update Strongroom, or seal the dataset again with this release"


class ManifestKindWrong(IntegrityError):
    """A manifest of one kind stands where another kind is expected."""

    code = "SR-CRYPTO-012"
    title = "the manifest is of another kind"
    remedy = "Point the run file at the folder of a dataset, or at that of a checkpoint"


class ManifestNotCanonical(IntegrityError):
    """The payload is valid but not in RFC 8785 form, so that it could be read in two ways."""

    code = "SR-CRYPTO-013"
    title = "the manifest is not in canonical form (RFC 8785)"
    remedy = "Write the manifest again with `strongroom seal`; do not edit it by hand"


class ManifestInconsistent(IntegrityError):
    """The manifest's parts contradict each other."""

    code = "SR-CRYPTO-014"
    title = "the manifest contradicts itself"
    remedy = "Write the manifest again with `strongroom seal`; do not edit it by hand"


# Signatures -------------------------------------------------------------------------------------


class EnvelopeMalformed(IntegrityError):
    """The bytes are not a DSSE envelope."""

    code = "SR-CRYPTO-020"
    title = "this is not a DSSE envelope"
    remedy = "Check that the object is the one meant; write it again if it was damaged"


class PayloadTypeWrong(IntegrityError):
    """The envelope is signed for another purpose."""

    code = "SR-CRYPTO-021"
    title = "the envelope holds another type of payload"
    remedy = "Check that the object is the one meant: a signature counts for one type only"


class SignerNotListed(IntegrityError):
    """No signature is by a key that the caller trusts."""

    code = "SR-CRYPTO-022"
    title = "no signature is by a listed key"
    remedy = "Add the signer's key to the run file if you trust it; otherwise do not use this data"


class SignatureRefused(IntegrityError):
    """A signature names a listed key but does not verify."""

    code = "SR-CRYPTO-023"
    title = "the signature does not verify"
    remedy = "The content was changed after it was signed. Restore it, or have it signed again"


class KeyReferenceMalformed(CryptoError):
    """A public key is not written as ``ed25519:<base64>``."""

    code = "SR-CRYPTO-024"
    title = "this is not a reference to an Ed25519 public key"
    remedy = "Write `ed25519:` and the standard base64 form of the 32-byte public key"


class SignerMismatch(CryptoError):
    """The signer returned something that its own public key refuses."""

    code = "SR-CRYPTO-025"
    title = "the signer's answer does not verify under its public key"
    fault = Fault.ACCESS
    exit_code = Exit.KEY_REFUSED
    remedy = (
        "Check that the KMS key is of type ed25519 and that its newest version is the one named"
    )


# Keysets ----------------------------------------------------------------------------------------


class KeysetMalformed(IntegrityError):
    """The bytes are not a Tink keyset."""

    code = "SR-CRYPTO-030"
    title = "this is not a Tink keyset"
    remedy = "Check that the wrapped keyset belongs to this KMS key and context"


class KeysetUnsupported(CryptoError):
    """A sound Tink keyset, but not one enabled RAW AES256_GCM_HKDF_1MB key."""

    code = "SR-CRYPTO-031"
    title = "the keyset is not of a kind that Strongroom opens"
    remedy = (
        "Use a keyset with exactly one enabled key made from Tink's AES256_GCM_HKDF_1MB template"
    )


class CommitmentMismatch(IntegrityError):
    """The released key is not the one that the manifest commits to."""

    code = "SR-CRYPTO-032"
    title = "the key is not the one that the manifest commits to"
    remedy = "The wrapped keyset was exchanged. Restore the manifest, or seal the dataset again"


class KeyIdMismatch(IntegrityError):
    """The released keyset has another key id than the manifest says."""

    code = "SR-CRYPTO-033"
    title = "the key's id is not the one in the manifest"
    remedy = "The wrapped keyset was exchanged. Restore the manifest, or seal the dataset again"


# Key release ------------------------------------------------------------------------------------


class ReleaseRefused(IntegrityError):
    """HPKE refused to open released keys."""

    code = "SR-CRYPTO-040"
    title = "the released keys cannot be opened"
    remedy = (
        "They were sealed to another enclave or for other evidence, or were changed on the way. "
        "Start the enclave again and ask for the keys anew"
    )


class ReleaseKeyInvalid(CryptoError):
    """The public key that keys should be released to is not a usable X25519 key."""

    code = "SR-CRYPTO-041"
    title = "the enclave's public key is not a usable X25519 key"
    fault = Fault.PLATFORM
    exit_code = Exit.KEY_REFUSED
    remedy = "Start the enclave again; if this repeats, its evidence was changed on the way"


class ReleaseMalformed(IntegrityError):
    """The released keys opened, but do not hold named keysets."""

    code = "SR-CRYPTO-042"
    title = "the released keys are not in the expected form"
    fault = Fault.PLATFORM
    remedy = "Run the releaser and the enclave from the same release of Strongroom"


# Digests ----------------------------------------------------------------------------------------


class NotCanonical(CryptoError):
    """A value has no RFC 8785 form."""

    code = "SR-CRYPTO-050"
    title = "the value has no canonical JSON form"
    remedy = "Use strings, booleans, null, finite numbers and integers within 2^53, and text keys"


class DigestMalformed(CryptoError):
    """A digest is not written as ``sha256:<64 hex>``."""

    code = "SR-CRYPTO-051"
    title = "this is not a SHA-256 digest"
    remedy = "Write `sha256:` and 64 lower-case hexadecimal digits"
