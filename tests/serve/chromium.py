"""A real browser without a window, where there is one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium: the system's, else playwright's own. The test is skipped if there is neither."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        system = shutil.which("chromium") or shutil.which("google-chrome")
        try:
            found = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no Chromium (apt-get install chromium): {str(error).splitlines()[0]}")
        yield found
        found.close()
