"""The errors a user can meet; each names the thing that is wrong and the mend, in one line."""

from __future__ import annotations


class VBananaError(Exception):
    """Base of every error raised on purpose by this package; the CLI prints it and exits with 2."""


class RequestError(VBananaError):
    """A request cannot be understood: unknown task or colour word, colours too near, missing classes."""


class ModelError(VBananaError):
    """A model directory is missing, partial, corrupt or of an unknown family."""


class InputError(VBananaError):
    """An image, camera_info or file cannot be used."""


class BagError(VBananaError):
    """A bag cannot be read or written."""


class SimError(VBananaError):
    """Simulated scenes cannot be rendered."""


def one_line(error: BaseException) -> str:
    """What an error says, in one line; its type's name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
