"""Sealed bytes, keysets, signed manifests, the key-release protocol: bytes in, bytes out, no I/O.

What the package promises:

* **Whole or nothing.** A sealed object opens as exactly the bytes that were sealed under exactly
  that identity (dataset, keyset, shard, record count), or it raises. Truncation, extension,
  reordering, substitution and flipped bits all raise, and no unauthenticated plaintext is left
  in a buffer of the caller's.
* **Readable elsewhere.** Objects are Tink ``AES256_GCM_HKDF_1MB`` streams and keysets are Tink
  keysets; manifests are RFC 8785 JSON in DSSE envelopes; keys travel by RFC 9180 HPKE.
* **Secrets stay put.** Types that hold key material refuse to pickle and print nothing, so that
  they cannot reach a Beam coder, a log line or an error.

What it does not do: no files, no network, no KMS (``connectors`` does that), no policy on who may
be trusted (callers pass the listed keys), no defence against an adversary inside this process.
"""
