"""The parts of a training step: ``sampling`` is its first half, ``learning`` its second.

``state`` is what is kept between steps; ``trainer/__init__.py`` is the map of a whole step.
"""
