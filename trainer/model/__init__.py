"""The policy: a frozen base model, built from bytes, with a trainable low-rank adapter.

``base`` loads it, ``lora`` attaches the adapter; ``attention``, ``linear`` and ``processor`` make
it fast on a CPU.
"""
