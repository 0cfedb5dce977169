"""The FastAPI example behind a real server, asked by a real client."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from modelvault import Database

ROOT = Path(__file__).parents[2]
ADA = {"id": 1, "email": "ada@example.com", "name": "Ada", "age": 36, "city": "London"}
BOB = {"id": 2, "email": "bob@example.com", "name": "Bob", "age": 41, "city": "Paris"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """uvicorn with the example, in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.port = free_port()
        command = ["-m", "uvicorn", "examples.fastapi_app.main:app", "--port", str(self.port), "--log-level", "warning"]
        environment = os.environ | {"MODELVAULT_PATH": str(path), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment)
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, "the server stopped"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    def stop(self) -> None:
        """End it as a service manager would."""
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("app") / "users.modelvault"


@pytest.fixture(scope="module")
def server(path: Path) -> Iterator[Server]:
    running = Server(path)
    yield running
    running.stop()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client that finds Ada and nobody else."""
    with server.client() as client:
        for user in client.get("/users").json():
            client.delete(f"/users/{user['id']}")
        client.post("/users", json=ADA).raise_for_status()
        yield client


def test_create(client: httpx.Client) -> None:
    answer = client.post("/users", json=BOB)
    assert (answer.status_code, answer.json(), answer.headers["location"]) == (201, BOB, "/users/2")


@pytest.mark.parametrize("again", [ADA | {"email": "other@example.com"}, ADA | {"id": 7}], ids=["key", "email"])
def test_create_what_is_taken(client: httpx.Client, again: dict[str, object]) -> None:
    answer = client.post("/users", json=again)
    assert answer.status_code == 409 and "users" in answer.json()["detail"]
    assert client.get("/users").json() == [ADA]


def test_create_what_breaks_a_constraint(client: httpx.Client) -> None:
    assert client.post("/users", json=BOB | {"age": -1}).status_code == 422
    assert client.get("/users").json() == [ADA]


def test_get(client: httpx.Client) -> None:
    assert client.get("/users/1").json() == ADA
    assert client.get("/users/9").status_code == 404


def test_list_with_a_filter(client: httpx.Client) -> None:
    client.post("/users", json=BOB)
    assert client.get("/users").json() == [ADA, BOB]
    assert client.get("/users", params={"limit": 1}).json() == [ADA]
    assert client.get("/users", params={"city": "Paris"}).json() == [BOB]
    assert client.get("/users", params={"city": "Rome"}).json() == []


def test_patch(client: httpx.Client) -> None:
    answer = client.patch("/users/1", json={"age": 37, "city": "Paris"})
    assert (answer.status_code, answer.json()) == (200, ADA | {"age": 37, "city": "Paris"})
    assert client.get("/users", params={"city": "Paris"}).json() == [ADA | {"age": 37, "city": "Paris"}]
    assert client.patch("/users/9", json={"age": 1}).status_code == 404
    client.post("/users", json=BOB)
    assert client.patch("/users/2", json={"email": ADA["email"]}).status_code == 409


def test_delete(client: httpx.Client) -> None:
    assert client.delete("/users/1").status_code == 204
    assert client.delete("/users/1").status_code == 404
    assert client.get("/users").json() == []


def test_a_restart_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "users.modelvault"
    first = Server(path)
    with first.client() as client:
        client.post("/users", json=ADA).raise_for_status()
    first.process.kill()
    first.process.wait(30)
    second = Server(path)
    with second.client() as client:
        assert client.get("/users").json() == [ADA]
    second.stop()
    with Database.open(str(path), read_only=True) as db:
        assert db.get("users", 1) == ADA
