"""Python processes of ours that run the measured set and nothing else.

``start`` is the one way in which the product starts one, ``measured`` what may run in it, ``boot``
its first act, and ``compiled`` the byte code that is measured too, since compiling takes long.
"""
