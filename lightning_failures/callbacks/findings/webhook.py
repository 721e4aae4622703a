"""Tells another program of each finding, in a thread of its own, so that no training waits for it or stops by it."""

import json
import queue
import threading
import urllib.request
import warnings
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlsplit

from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.records.finding import Finding
from lightning_failures.records.strict_json import to_text
from lightning_failures.reporting.sentences import alert, title
from lightning_failures.version import __version__

__all__ = ["Event", "Notify", "Webhook"]

#: What happened to a finding.
Event = Literal["new", "worse", "cleared"]
#: An address, or what is called with each message.
Notify = str | Callable[[dict[str, Any]], object]


class Webhook:
    """Posts one JSON for each finding that is new, more severe or cleared; on the process that calls it.

    A message holds ``event`` (``"new"``, ``"worse"`` or ``"cleared"``), ``run``, ``finding`` as in ``findings.json``,
    ``title``, ``text``, which chat programs show, and ``version``. One that cannot be sent is warned of once, without
    the address, which may hold a secret.

    Args:
        target: ``"https://..."`` or ``"http://..."``, to which messages are posted; or a callable, which is called with
            each in the thread.
        timeout: seconds after which a post is given up, and for which the end of a run waits at most for what is left
            to be sent; a run whose messages failed does not wait.
        where: the public name to put into an error.

    Raises:
        InputError: neither an address nor a callable.

    Example:
        >>> heard = []
        >>> webhook = Webhook(heard.append)
        >>> finding = Finding(
        ...     kind="class_collapse", subject="", epoch=2, step=90, evidence={"classes": 16}, message="All on one."
        ... )
        >>> webhook.send("new", finding, "run")
        >>> webhook.close()
        >>> heard[0]["event"], heard[0]["finding"]["kind"], heard[0]["text"]
        ('new', 'class_collapse', 'run, new warning: Class collapse. Epoch 2, step 90. All on one.')
    """

    def __init__(self, target: Notify, timeout: float = 5.0, where: str = "FailureDiagnosis") -> None:
        if not callable(target) and not _is_address(target):
            given = f"notify of type {type(target).__name__}"
            raise InputError(where, "not an address", given, "Pass notify='https://...' or a callable.")
        self.target = target
        self.timeout = timeout
        self._messages: queue.Queue[dict[str, Any]] | None = None
        self._failed: str | None = None
        self._warned = False

    def __getstate__(self) -> dict[str, Any]:
        """Without its queue, which no other process can go on with."""
        return self.__dict__ | {"_messages": None}

    def send(self, event: Event, finding: Finding, run: str) -> None:
        """Hand over one message, and go on at once."""
        word = "cleared" if event == "cleared" else f"{event} {finding.severity}"
        message = {
            "event": event,
            "run": run,
            "finding": finding.to_dict(),
            "title": title(finding),
            "text": f"{run}, {word}: {title(finding)}. {alert(finding)}",
            "version": __version__,
        }
        if self._messages is None:
            self._messages = queue.Queue()
            threading.Thread(target=self._work, args=(self._messages,), name="lightning-failures", daemon=True).start()
        self._messages.put(message)
        self._warn()

    def close(self) -> None:
        """Wait for what is left to be sent, at most for the time-out; warn where something failed."""
        messages = self._messages
        if messages is not None and self._failed is None:
            with messages.all_tasks_done:
                messages.all_tasks_done.wait_for(lambda: not messages.unfinished_tasks or self._failed, self.timeout)
        self._warn()

    def _work(self, messages: "queue.Queue[dict[str, Any]]") -> None:
        while True:
            message = messages.get()
            try:
                self._post(message)
            except Exception as error:  # whatever it is, it is not the training's
                self._failed = self._failed or type(error).__name__ + _status(error)
            finally:
                messages.task_done()

    def _post(self, message: dict[str, Any]) -> None:
        if callable(self.target):
            self.target(json.loads(to_text(message)))
            return
        request = urllib.request.Request(
            self.target, to_text(message).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=self.timeout):
            pass

    def _warn(self) -> None:
        """From the thread of the training, so that a user's filters of warnings hold."""
        if self._failed is None or self._warned:
            return
        self._warned = True
        to = "the callable of notify" if callable(self.target) else str(urlsplit(self.target).hostname)
        warnings.warn(
            f"lightning-failures: a finding could not be told to {to} ({self._failed}), training goes on; this is said "
            "once.",
            FailuresWarning,
            stacklevel=2,
        )


def _is_address(target: object) -> bool:
    parts = urlsplit(target) if isinstance(target, str) else None
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)


def _status(error: Exception) -> str:
    """The answer of a server that refused; nothing else of an error, which may hold the address."""
    code = getattr(error, "code", None)
    return f" {code}" if isinstance(code, int) else ""
