"""What an enclave can be started as: ``train``, ``seal``, ``view``, ``export`` or ``probe``.

``lifecycle`` is what all of them do first. ``train`` has its commands in ``tasks``, its input in
``datasets``, its output in ``checkpoint_store``.
"""
