"""Whether the model hub can be reached, found in seconds: its own client retries for most of a minute."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request

from clipwright.core.errors import BackboneError

_SECONDS = 5.0


def reason(error: BaseException) -> str:
    """The first line of an error of another library, without a full stop, to stand inside a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


def require_hub() -> None:
    """Refuse to start a download that can't succeed.

    Raises:
        BackboneError: the hub can't be reached, or HF_HUB_OFFLINE forbids it.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise BackboneError("HF_HUB_OFFLINE is set, which forbids downloads: unset it.")
    endpoint = str(constants.ENDPOINT)
    if not endpoint.startswith(("https://", "http://")):
        raise BackboneError(f"HF_ENDPOINT must be an http address; it is {endpoint}.")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_SECONDS).close()  # noqa: S310 - checked above
    except urllib.error.HTTPError:
        return  # it answered
    except (urllib.error.URLError, OSError) as error:
        why = getattr(error, "reason", error)
        if not isinstance(why, ssl.SSLError):  # certificates are the client's own business
            raise BackboneError(f"{endpoint} can't be reached: {getattr(why, 'strerror', None) or why}.") from error
