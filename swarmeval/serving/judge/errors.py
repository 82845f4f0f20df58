"""Errors of the judge's API, in the form of the other API errors."""

from swarmeval.serving.errors import ApiError


class QueueFull(ApiError):
    """Too many items of this client wait already."""

    status = 429
    kind = "rate_limit_error"

    def __init__(self, waiting: int, retry_s: int) -> None:
        super().__init__(f"{waiting} of your items are already waiting (judge_service.queue); retry in {retry_s} s")
        self.retry_s = retry_s


class NotOffered(ApiError):
    """A part of the compatible API that this server does not have."""

    status = 501
    kind = "not_offered"
