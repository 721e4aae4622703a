"""A package may register callbacks for every Trainer of an environment; only tests that ask for them have them."""

import pytest


@pytest.fixture(autouse=True)
def registered_callbacks(request, monkeypatch):
    if request.node.get_closest_marker("other_callbacks") is None:
        for name in ("lightning.pytorch", "pytorch_lightning"):
            place = f"{name}.trainer.connectors.callback_connector._load_external_callbacks"
            monkeypatch.setattr(place, lambda group: [])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Whatever a package writes where it is run is gone with the test."""
    monkeypatch.chdir(tmp_path)
