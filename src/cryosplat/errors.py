"""Errors a user can act on.

Every message says what went wrong, where, what was expected and the remedy.
Anything that is not a :class:`CryosplatError` is a bug in cryosplat.
"""


class CryosplatError(Exception):
    """Base of all errors that the user, not the program, can mend."""


class InputError(CryosplatError):
    """A file or a table that does not say what a reconstruction needs."""


class StarError(InputError):
    """A STAR file that cannot be read or lacks a column."""


class CsError(InputError):
    """A cryoSPARC ``.cs`` file that cannot be read or lacks a field."""


class PickleError(InputError):
    """A cryoDRGN pickle that is malformed or not plain data."""


class MrcError(InputError):
    """An MRC map or stack whose bytes do not agree with its header."""


class StackError(InputError):
    """Images that a particle table asks for and the stacks do not hold."""


class ImageError(InputError):
    """Pixels that no reconstruction can use: NaN, infinite, constant."""


class NotFiniteError(CryosplatError):
    """A fit that met a number that is NaN or infinite."""


class SettingsError(CryosplatError):
    """An option outside its range, or two options that exclude each other."""


class OutputError(CryosplatError):
    """An output folder or file that cannot be written."""
