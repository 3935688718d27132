"""The plan document, and the rules by which its fields follow from each other.

An enclave attests to a plan by its digest. The planner makes it, the broker, the enclave, the
releaser and ``strongroom verify`` read it, each by :meth:`document.Plan.from_json`, which refuses a
plan whose fields do not follow from each other. They lie here since the enclave knows nothing of
whoever starts it.
"""
