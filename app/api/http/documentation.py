"""The pages `/docs` and `/redoc`, which ask nobody but this service for anything.

Their files come with the package fastapi-offline. Redoc loses its request for its maker's logo, and
Swagger UI sends with each change what a browser's session needs beside its cookie.
"""

from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from app.api.http.page_files import PageFile, answer_with

STATIC, OPENAPI = "/static-offline-docs", "/openapi.json"
REDOC = "redoc.standalone.js"
FOLDER = files("fastapi_offline").joinpath("static")
# Redoc has no option for its logo. An image of nothing is drawn as nothing.
LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_LOGO = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
START = "const ui = SwaggerUIBundle({"
# A key that was given to the page's button goes before the cookie, and needs no such token.
INTERCEPTOR = """async function addCsrfToken(request) {
        if (["GET", "HEAD"].includes((request.method || "GET").toUpperCase())) return request;
        const answer = await fetch("%s/session");
        const token = answer.ok && (await answer.json()).csrf_token;
        if (token) request.headers["X-CSRF-Token"] = token;
        return request;
    }
    const ui = SwaggerUIBundle({
        requestInterceptor: addCsrfToken,"""


def add_pages(app: FastAPI) -> None:
    """Add both pages and their files to the application, below what a request has as its root."""
    app.add_route(f"{STATIC}/{REDOC}", _redoc_script, include_in_schema=False)
    app.mount(STATIC, StaticFiles(directory=str(FOLDER)), name="static-offline-docs")
    app.add_route("/docs", _swagger_ui, include_in_schema=False)
    app.add_route("/redoc", _redoc, include_in_schema=False)


async def _swagger_ui(request: Request) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}{OPENAPI}",
        title=f"{request.app.title} – Swagger UI",
        swagger_js_url=f"{root}{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{STATIC}/swagger-ui.css",
        swagger_favicon_url=f"{root}/favicon.ico",
    )
    return HTMLResponse(_replaced(bytes(page.body).decode(), START, INTERCEPTOR % root))


async def _redoc(request: Request) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    return get_redoc_html(
        openapi_url=f"{root}{OPENAPI}",
        title=f"{request.app.title} – Redoc",
        redoc_js_url=f"{root}{STATIC}/{REDOC}",
        with_google_fonts=False,
        redoc_favicon_url=f"{root}/favicon.ico",
    )


async def _redoc_script(request: Request) -> Response:
    return answer_with(request, _redoc_without_logo(), policy=None)


@cache
def _redoc_without_logo() -> PageFile:
    script = FOLDER.joinpath(REDOC).read_bytes().decode()
    return PageFile(_replaced(script, LOGO, NO_LOGO).encode(), "text/javascript")


def _replaced(text: str, old: str, new: str) -> str:
    """Return the text with the only place of `old` replaced; a later version may have none."""
    before, *rest = text.split(old)
    if len(rest) != 1:
        raise RuntimeError(f"{old!r} is {len(rest)} times in a file of the documentation, not once")
    return before + new + rest[0]
