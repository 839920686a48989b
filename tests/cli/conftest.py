"""The toy plugins in an empty directory, for tests of commands."""

from __future__ import annotations

import pytest

from tests.toy import plugin


@pytest.fixture
def work_with_toys(tmp_path, monkeypatch):
    """Return a function that loads the toy plugins (and others) and works in an empty directory."""

    def begin(load="silmm-toy"):
        plugin.install(tmp_path / "site")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.setenv("SILMM_LOAD_PLUGINS", load)
        monkeypatch.chdir(tmp_path)

    return begin
