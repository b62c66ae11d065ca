"""The little of a browser that a sign-in needs: cookies per origin, redirects, forms."""

from __future__ import annotations

from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = values.get("action")
        elif tag == "input" and values.get("name"):
            self.fields[str(values["name"])] = values.get("value") or ""


class Browser:
    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}  # origin -> name -> value
        self.seen: list[str] = []
        self._http = SimpleAsyncHTTPClient(force_instance=True)

    def close(self) -> None:
        self._http.close()

    async def fetch(self, url: str, form: dict[str, str] | None = None) -> HTTPResponse:
        """One request, without following."""
        self.seen.append(url)
        jar = self.cookies.setdefault("{0.scheme}://{0.netloc}".format(urlsplit(url)), {})
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items()), "Accept": "text/html"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        response = await self._http.fetch(
            HTTPRequest(
                url,
                method="GET" if form is None else "POST",
                headers=headers,
                body=None if form is None else urlencode(form),
                follow_redirects=False,
            ),
            raise_error=False,
        )
        for line in response.headers.get_list("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    jar.pop(name, None)
                else:
                    jar[name] = morsel.value
        return response

    async def go(self, url: str, *, until: str, forms: dict[str, str] | None = None) -> str:
        """Follow redirects and submit forms (filled from ``forms``) until an address begins with ``until``."""
        form: dict[str, str] | None = None
        for _ in range(20):
            if url.startswith(until):
                return url
            response = await self.fetch(url, form)
            form = None
            if response.code in (301, 302, 303, 307):
                url = urljoin(url, response.headers["Location"])
                continue
            page = _Form()
            page.feed(response.body.decode())
            assert page.action, (response.code, response.body[:500])
            url = urljoin(url, page.action)
            form = {name: (forms or {}).get(name, value) for name, value in page.fields.items()}
        raise AssertionError(f"went round and round: {self.seen}")
