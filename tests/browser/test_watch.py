"""The watch over pages sees what they must not do, and no machine of CI goes without a browser."""

import re

import pytest
from playwright.sync_api import Page

from tests.support.browser import Watch, chromium
from tests.support.service import Service


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        ("console.error('boom')", "console error: boom"),
        ("setTimeout(() => { throw new Error('boom') })", "error on the page: boom"),
        ("fetch('/nothing')", "status of 404"),
        ("fetch('http://127.0.0.1:9/').catch(() => null)", "violates .* Content Security Policy"),
        ("new Image().src = 'http://127.0.0.1:9/'", "request to another origin: http://127.0.0.1"),
    ],
)
def test_a_fault_fails_the_test_unless_it_is_expected(
    page: Page, plain: Service, watch: Watch, action: str, fault: str
) -> None:
    page.goto(f"{plain.url}/docs")
    page.evaluate(f"() => {{ {action}; return new Promise((done) => setTimeout(done, 300)); }}")
    with pytest.raises(AssertionError, match=fault):
        watch.check()
    watch.expect(f"{fault}|{re.escape('127.0.0.1:9/')}|Content Security Policy")


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail), ("", pytest.skip)])
def test_without_a_browser_tests_are_skipped_but_fail_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: pytest.fail
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(outcome.Exception, match="there is no Chromium"), chromium():
        pass
