"""The pages of the documentation ask nobody else for anything, and let changes be tried out."""

import base64
import hashlib
import re

import httpx
import pytest

from app.api.http import documentation
from app.api.http.documentation import FOLDER, LOGO, REDOC, STATIC
from tests.support.service import Service

SCOPE = "head"


def inline(page: httpx.Response) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)


def test_redoc_comes_without_the_address_of_its_makers_logo(shared: Service) -> None:
    script = shared.client.get(f"{STATIC}/{REDOC}")
    own = FOLDER.joinpath(REDOC).read_text()
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert LOGO in own and LOGO not in script.text and "cdn.redoc.ly" not in script.text
    assert len(script.text) > 0.99 * len(own)
    again = {"If-None-Match": script.headers["etag"]}
    assert shared.client.get(f"{STATIC}/{REDOC}", headers=again).status_code == 304


def test_a_version_of_redoc_with_another_address_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="is 0 times in a file of the documentation"):
        documentation._replaced("no logo", LOGO, "")


@pytest.mark.parametrize("prefix", ["", "/models/tangent"])
def test_swagger_ui_sends_the_token_of_a_session_with_what_it_tries_out(serve, prefix) -> None:
    service = serve(root_path=prefix or None)
    page = service.client.get(f"{prefix}/docs")
    (script,) = inline(page)
    assert f'fetch("{prefix}/session")' in script and '"X-CSRF-Token"' in script
    assert script.count("SwaggerUIBundle({") == 1 and "requestInterceptor: addCsrfToken" in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]
    assert "connect-src 'self'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_has_the_icon_of_the_service(shared: Service, page: str) -> None:
    assert 'href="/favicon.ico"' in shared.client.get(page).text
