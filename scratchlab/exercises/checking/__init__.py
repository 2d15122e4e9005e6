"""A person's file is read, run apart in a process of its own, and compared with the reference.

``solution`` reads the file and finds its functions, ``worker`` is the process that runs it,
``bench`` starts that and hands over files, ``judging`` shows every case to a person's functions and
to the reference, ``comparing`` finds the first difference and ``mistakes`` its name.
"""
