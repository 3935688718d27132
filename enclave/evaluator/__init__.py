"""The customer's evaluator in a process of its own.

``process`` is the enclave's side of it, and ``child`` what runs in it.

``messages`` is everything that the two send each other; after it has loaded the customer's code the
child is not trusted, so ``process`` checks the form of every answer.
"""
