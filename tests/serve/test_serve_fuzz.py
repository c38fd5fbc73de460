"""Requests made up from the OpenAPI description: fitting ones, and ones that do not fit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from serving import Server

EXAMPLES = 10  # of every operation
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance, unsupported_method, ignored_auth,
]  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("fuzz"), ["ada"]) as server:
        server.say("My cat is called Miro.", "ada")
        yield server


@pytest.fixture(scope="module")
def described(served: Server) -> Any:
    return schemathesis.openapi.from_url(f"{served.url}/v1/openapi.json")


@pytest.mark.parametrize("fits", [True, False])
def test_nothing_that_is_sent_breaks_anything(served: Server, described: Any, fits: bool) -> None:
    key = {"Authorization": f"Bearer {served.keys['ada']}"}
    mode = GenerationMode.POSITIVE if fits else GenerationMode.NEGATIVE
    sent = 0
    for found in described.get_all_operations():
        strategy = found.ok().as_strategy(generation_mode=mode)

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=strategy)
        def send(case: Any) -> None:
            nonlocal sent
            sent += 1
            answer = case.call_and_validate(checks=CHECKS, headers=key)
            if _mode(case, "body") == GenerationMode.NEGATIVE:
                assert 400 <= answer.status_code < 500, answer.text

        try:
            send()
        except Unsatisfiable:
            assert not fits  # nothing that it takes could be wrong
    assert sent >= 50


def test_the_description_tells_of_every_route(served: Server) -> None:
    with served.http("ada") as http:
        told = http.get("/v1/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/models", "/v1/memories/{id}", "/health"} <= set(
        told["paths"]
    )
    for path, methods in told["paths"].items():
        for operation in methods.values():
            assert "422" not in operation["responses"], path
            assert ("security" in operation) == path.startswith("/v1/")


def test_the_fuzzed_server_still_works(served: Server, tmp_path: Path) -> None:
    assert served.say("Hello.", "ada") == "Tell me more."


def _mode(case: Any, part: str) -> Any:
    """Whether this part of a request was made to fit."""
    found = {place.value: component.mode for place, component in case.meta.components.items()}
    return found.get(part)
