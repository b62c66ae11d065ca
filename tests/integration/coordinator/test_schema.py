"""The OpenAPI document and the service agree, tried with generated requests."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.coordinator.openapi import document
from runtime.protocol.errors import ERRORS
from tests.support.coordinator.fake_host import FakeHost
from tests.support.coordinator.stand import ADMIN_KEY, Stand

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method"
)
# Endless streams, redirects to somewhere else, and what would make every later start fail.
LEFT_OUT = "/events$|/sign-in/oidc|/drain$"


async def test_generated_requests_get_answers_as_promised(stand: Stand, tmp_path: Path) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=250)
    await stand.register([{"name": "sample"}], {host: ["sample"]})
    session = await stand.admin().start("sample")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{stand.url}/openapi.json"),
        *("--checks", CHECKS, "--exclude-path-regex", LEFT_OUT, "--phases", "fuzzing"),
        *("--max-examples", "8", "--request-timeout", "30", "--generation-deterministic", "--no-shrink", "--no-color"),
        *("--header", f"Authorization: Bearer {ADMIN_KEY}", "--suppress-health-check", "all"),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    beating = asyncio.create_task(_beat(host))
    output, _ = await process.communicate()
    beating.cancel()
    assert process.returncode == 0, output.decode()[:9000]
    # The service is still itself.
    await stand.viewer().get(f"/api/v1/sessions/{session['id']}")


async def _beat(host: FakeHost) -> None:
    while True:
        await host.beat()
        await asyncio.sleep(2)


def test_every_operation_can_fail_in_the_common_shape() -> None:
    for path, item in document().content["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                assert operation["responses"]["default"] == {"$ref": "#/components/responses/Error"}, (method, path)
                assert operation["summary"].endswith("."), (method, path)


def test_the_document_names_the_words_of_the_protocol() -> None:
    schemas: dict[str, Any] = document().content["components"]["schemas"]
    from runtime.protocol.states import BookingState, EndReason, Role, SessionState

    for name, words in (
        ("SessionState", SessionState),
        ("EndReason", EndReason),
        ("Role", Role),
        ("BookingState", BookingState),
    ):
        assert set(schemas[name]["enum"]) == {str(word) for word in words}, name


@pytest.mark.parametrize("code", ERRORS)
def test_error_sentences_say_what_to_do(code: str) -> None:
    kind = ERRORS[code]
    assert kind.message.endswith(".")
    assert kind.fix.endswith(".")
    assert 400 <= kind.status < 600


async def test_the_document_is_served_for_programs_and_for_people(stand: Stand) -> None:
    await stand.coordinator()
    viewer = stand.viewer()
    assert (await viewer.get("/openapi.json"))["openapi"].startswith("3.1")
    page = await viewer.call("GET", "/docs")
    text = page.body.decode()
    assert "<script" not in text
    assert 'src="' not in text
    assert all(link.startswith(("/", "#")) for link in re.findall(r'href="([^"]*)"', text))
    for item in document().content["paths"].values():
        for method, operation in item.items():
            if method != "parameters":
                assert f'id="{operation["operationId"]}"' in text
    assert (await viewer.call("GET", "/docs/style.css")).headers["Content-Type"].startswith("text/css")
