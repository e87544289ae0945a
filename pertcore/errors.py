"""What can go wrong, by whose hand: the caller, the pieces, a library, or the model file."""

from __future__ import annotations


class PertcoreError(Exception):
    """Base of every error that pertcore raises on purpose."""


class InputError(PertcoreError, ValueError):
    """The call is wrong: the message says what was got, what is allowed and what to do."""


class CapabilityError(PertcoreError, NotImplementedError):
    """The pieces do not fit: no derivative rule, no jvp, no batch axis to take from."""


class BackendError(PertcoreError, RuntimeError):
    """A library or device is missing or broken."""


class DeviceMemoryError(BackendError):
    """A device has no room for the batch it was given."""


class ModelError(PertcoreError, ValueError):
    """The model file is broken or refused."""


class PertcoreWarning(UserWarning):
    """Something is approximated, or a gradient may lie; the result stays as verified."""
