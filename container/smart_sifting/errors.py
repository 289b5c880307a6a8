"""Everything a user can do wrong with the runtime, as one family of typed errors.

Each message is one line that names what is wrong, where, and what to write instead. The first
three names are those of the withdrawn AWS library, so that scripts which catch them still do.
"""


class SiftingError(Exception):
    """Base of every error that the runtime raises on purpose."""


class SiftConfigValidationException(SiftingError, ValueError):
    """A field of the sifting configuration is unknown or has a value that means nothing."""


class UnsupportedDataFormatException(SiftingError, TypeError):
    """A batch whose samples cannot be told apart, taken or joined."""


class LossImplementationNotProvidedException(SiftingError, ValueError):
    """No per-sample loss is known for this model, or the one that was named cannot be used."""


class LossOutputException(SiftingError, ValueError):
    """A user's ``Loss`` returned something else than one number for every sample."""


class ReceiptException(SiftingError, ValueError):
    """A receipt that is not there, is not JSON, or is not one of ours."""


class SiftingStateException(SiftingError, ValueError):
    """A saved state that is damaged, or of another data set."""
