"""A finding told to another program: what is posted, and that no training waits for it or stops by it."""

import json
import pickle
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from lightning_failures import FailureDiagnosis, failure_monitors
from lightning_failures.callbacks.findings.announcer import Announcer
from lightning_failures.callbacks.findings.webhook import Webhook
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.records import RunRecord
from tests.records import UNTAPPED


class Server(HTTPServer):
    """Keeps what is posted to it."""

    heard: list[dict[str, Any]]
    status = 200


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            serving.heard.append(json.loads(body) | {"type": self.headers["Content-Type"]})
            self.send_response(serving.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    serving = Server(("127.0.0.1", 0), Handler)
    serving.heard = []
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/secret"


def test_a_finding_is_posted_as_json(server: Server) -> None:
    webhook = Webhook(address(server))
    webhook.send("new", UNTAPPED, "raw")
    webhook.close()
    (heard,) = server.heard
    assert heard["type"] == "application/json"
    assert (heard["event"], heard["run"], heard["finding"]) == ("new", "raw", UNTAPPED.to_dict())
    assert heard["text"].startswith("raw, new failure: Untapped information: linear reference. Epoch 3, step 176.")


def test_new_worse_and_cleared_are_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[str, Any]] = []
    from dataclasses import replace

    class Nowhere:
        loggers: tuple[()] = ()
        current_epoch, global_step = 3, 30

    announcer = Announcer("nothing", Webhook(heard.append))
    monkeypatch.setattr(announcer.pictures, "draw", lambda *_: None)
    record = RunRecord("run")
    mild = replace(UNTAPPED, severity="warning")
    for finding in (mild, mild, UNTAPPED, UNTAPPED.with_cleared(5), UNTAPPED.with_cleared(5)):
        record.findings = [finding]
        announcer.tell(Nowhere(), record)  # type: ignore[arg-type]
    announcer.close()
    assert [each["event"] for each in heard] == ["new", "worse", "cleared"]
    assert heard[-1]["finding"]["cleared"] == 5


def test_a_server_that_refuses_is_warned_of_once_without_its_address(server: Server) -> None:
    server.status = 500
    webhook = Webhook(address(server))
    webhook.send("new", UNTAPPED, "raw")
    with pytest.warns(FailuresWarning, match=r"could not be told to 127.0.0.1 \(HTTPError 500\)") as warned:
        webhook.close()
    assert len(warned) == 1
    assert "secret" not in str(warned[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        webhook.send("worse", UNTAPPED, "raw")
        webhook.close()


def test_a_callable_that_raises_is_warned_of(server: Server) -> None:
    def refuse(message: dict[str, Any]) -> None:
        raise RuntimeError("secret")

    webhook = Webhook(refuse)
    webhook.send("new", UNTAPPED, "raw")
    with pytest.warns(FailuresWarning, match=r"the callable of notify \(RuntimeError\)"):
        webhook.close()


def test_what_hangs_is_not_waited_for_by_a_message_and_by_the_end_for_the_timeout_alone() -> None:
    hanging, begun = threading.Event(), threading.Event()

    def hang(message: dict[str, Any]) -> None:
        begun.set()
        hanging.wait()

    webhook = Webhook(hang, timeout=0.01)
    for _ in range(50):
        webhook.send("new", UNTAPPED, "raw")
    assert begun.wait(60)
    webhook.close()  # comes back although nothing was sent
    assert not hanging.is_set()
    hanging.set()


def test_a_webhook_travels_to_other_processes(server: Server) -> None:
    webhook = Webhook(address(server))
    webhook.send("new", UNTAPPED, "raw")
    pickle.loads(pickle.dumps(webhook)).close()
    webhook.close()
    assert len(server.heard) == 1


@pytest.mark.parametrize("target", ["", "mail:me", "file:///etc/passwd", 3])
def test_what_is_no_address_is_refused(target: Any) -> None:
    with pytest.raises(InputError, match=r"FailureDiagnosis: not an address; given notify of type"):
        FailureDiagnosis(notify=target)


def test_all_monitors_take_it() -> None:
    diagnosis = failure_monitors(notify="https://example.org/hook")[-1]
    assert isinstance(diagnosis, FailureDiagnosis)
    assert diagnosis.announcer.webhook is not None
    assert diagnosis.announcer.webhook.target == "https://example.org/hook"
