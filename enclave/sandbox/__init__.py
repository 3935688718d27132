"""The walls: namespaces, Landlock, seccomp, memory, and the probes that try them."""
