"""Whether this container's process can do its work, as its `/readyz` says; exit code 0 or 1, for a HEALTHCHECK.

A process that hangs does not answer, and is unhealthy too.
"""  # noqa: INP001 - a script

import json
import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 5.0


def main() -> str | int:
    """Return 0, or a sentence for standard error that makes the exit code 1."""
    url = f"http://127.0.0.1:{os.environ.get('STREAMREC_METRICS_PORT', '')}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return 0
    except urllib.error.HTTPError as error:
        return "; ".join(json.load(error)["reasons"])
    except (OSError, ValueError) as error:
        return f"{url} does not answer: {error}"


if __name__ == "__main__":
    sys.exit(main())
