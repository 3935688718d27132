"""The process that holds keys, rows and the model, and what stands between it and everything else.

``sandbox`` locks a process down and tries the walls. ``channel`` is all that can cross to the
broker. ``evaluator`` runs the customer's code in a second process. ``rows`` reads sealed shards and
the owner's files. ``roles`` puts these together: what an enclave can be started as.

``evidence`` is what an enclave states about itself, and ``measurement`` the digest of its code;
``attest`` exchanges evidence for keys. ``plan`` is the plan that it attests to, ``checkpoints`` the
manifest that it signs. ``broker`` is the other end of the channel for one that trains,
``parent`` for one with a single task.
"""
