"""The walls of an enclave: namespaces, Landlock, system-call filters, memory; and the probes.

``launch`` starts the process, ``lockdown`` closes it in two stages, ``probes`` tries every wall
from inside. Knows nothing of evaluators, roles or training.
"""
