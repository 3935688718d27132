"""What both sides of ``enclave_start`` do: import all that an enclave with torch has."""

from __future__ import annotations


def main() -> None:
    """The imports of the role ``train``, and those that libraries put off."""
    import transformers.models.llama.modeling_llama  # noqa: F401

    from strongroom.isolated import boot
    from strongroom.trainer import warmup  # noqa: F401

    if boot.guard:
        boot.guard.settle()
