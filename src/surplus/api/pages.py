"""The few pages for people: where things are, and the document of the API. Everything comes from this server."""

import base64
import hashlib
from html import escape
from string import Template
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

router = APIRouter(include_in_schema=False)
assets: Final = StaticFiles(directory=swagger_ui_path)

_STYLE: Final = (
    "body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:4rem auto;padding:0 1rem;color:#1c2430}"
    "code,pre{font:14px/1.5 ui-monospace,monospace;background:#f2f4f7;border-radius:4px;padding:.1em .3em}"
    "pre{padding:1em;overflow:auto}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_LANDING: Final = Template("""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Surplus</title>
<style>$style</style></head>
<body>
<h1>Surplus</h1>
<p>This server sells model tokens: call it as you call OpenAI, with a key that its operator gave you.</p>
<pre>curl ${base}v1/chat/completions \\
  -H "Authorization: Bearer $$SURPLUS_KEY" -H "Content-Type: application/json" \\
  -d '{"model": "MODEL", "messages": [{"role": "user", "content": "Hello"}]}'</pre>
<ul>
<li>Base URL for SDKs: <code>${base}v1</code></li>
<li>Control plane: <a href="/api/docs">its document</a>, also as <a href="/api/openapi.json">OpenAPI</a></li>
<li>For operators: <a href="/healthz">alive</a>, <a href="/readyz">ready</a>, <a href="/metrics">metrics</a></li>
</ul>
</body>
</html>
""")

_DOCS: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Surplus control plane</title>
<link rel="stylesheet" href="/api/docs/assets/swagger-ui.css">
<link rel="icon" href="/api/docs/assets/favicon-32x32.png"></head>
<body><div id="docs"></div>
<script src="/api/docs/assets/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script></body>
</html>
"""

_START: Final = 'SwaggerUIBundle({url: "/api/openapi.json", dom_id: "#docs", deepLinking: true});\n'


def _headers(policy: str) -> dict[str, str]:
    return {
        "content-security-policy": f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
    }


@router.get("/")
async def landing(request: Request) -> HTMLResponse:
    """Where everything is."""
    base = escape(str(request.base_url))
    page = _LANDING.substitute(style=_STYLE, base=base)
    return HTMLResponse(page, headers=_headers(f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'"))


@router.get("/api/docs")
async def docs() -> HTMLResponse:
    """Swagger UI, which sets styles by script and shows images of its own."""
    policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
    return HTMLResponse(_DOCS, headers=_headers(policy))


@router.get("/api/docs/start.js")
async def docs_start() -> Response:
    """The script that starts it: a file of its own, so that no inline script has to be allowed."""
    return Response(_START, media_type="text/javascript")
