"""Errors whose text is meant for the user.

UserError                   its text is one sentence, or a few: what is wrong, with which file
└── Cancelled               the user stopped the operation
"""


class UserError(Exception):
    """Error whose `str()` is written for the user; `advice` is what to do about it, "" if the text has it."""

    advice = ""
    can_retry = False


class Cancelled(UserError):  # noqa: N818 - not an error
    """Raised inside an operation that the user stopped."""

    def __init__(self, message: str = "Cancelled.") -> None:
        super().__init__(message)
