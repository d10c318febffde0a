"""Errors that the user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user can put right: the message says what is wrong, where, and what to do.

    The command line prints the message on stderr, without a traceback, and exits with 1. Everything that is not one of
    these is a bug and keeps its traceback.
    """
