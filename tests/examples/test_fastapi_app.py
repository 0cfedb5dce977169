"""The FastAPI example behind real servers, uvicorn on asyncio and hypercorn on Trio, asked by a real client."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelvault import Database

ROOT = Path(__file__).parents[2]
APP = "examples.fastapi_app.main:app"
ADA = {"email": "ada@example.com", "name": "Ada", "age": 36, "city": "London"}
BOB = {"email": "bob@example.com", "name": "Bob", "age": 41, "city": "Paris"}
NOBODY = "00000000-0000-4000-8000-000000000000"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server with the example, in a process of its own."""

    def __init__(self, kind: str, path: Path) -> None:
        self.path = path
        self.port = free_port()
        command = {
            "uvicorn": ["uvicorn", APP, "--port", str(self.port), "--log-level", "warning"],
            "hypercorn": [
                "hypercorn",
                "-w",
                "0",
                "-k",
                "trio",
                "-b",
                f"127.0.0.1:{self.port}",
                "--log-level",
                "warning",
                APP,
            ],
        }[kind]
        environment = os.environ | {"MODELVAULT_PATH": str(path), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment)
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None, "the server stopped"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def stop(self) -> None:
        """End it as a service manager would."""
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module", params=["uvicorn", "hypercorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(request.param, tmp_path_factory.mktemp("app") / "blog.modelvault")
    yield running
    running.stop()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client that finds nothing."""
    with server.client() as client:
        for user in client.get("/users", params={"size": 1000}).json()["items"]:
            client.delete(f"/users/{user['id']}").raise_for_status()
        yield client


def made(answer: httpx.Response) -> Any:
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def ada(client: httpx.Client) -> dict[str, Any]:
    """Ada, a user."""
    user: dict[str, Any] = made(client.post("/users", json=ADA))
    return user


def write_post(client: httpx.Client, author: dict[str, Any], title: str, *tags: str) -> Any:
    post = {"author": author["id"], "title": title, "text": "...", "tags": tags}
    return made(client.post("/posts", json=post))


def test_users(client: httpx.Client, ada: dict[str, Any]) -> None:
    answer = client.post("/users", json=BOB)
    bob = made(answer)
    assert answer.headers["location"] == f"/users/{bob['id']}" and bob.items() >= BOB.items()
    assert client.get(f"/users/{ada['id']}").json() == ada
    assert client.get(f"/users/{NOBODY}").status_code == 404
    assert client.get("/users", params={"city": "Paris"}).json() == {"items": [bob], "next": None}
    assert client.get("/users", params={"city": "Rome"}).json()["items"] == []
    taken = client.post("/users", json=BOB | {"name": "Rob"})
    assert taken.status_code == 409 and "bob@example.com" in taken.json()["detail"]
    assert client.post("/users", json=BOB | {"email": "x", "age": -1}).status_code == 422
    older = client.patch(f"/users/{ada['id']}", json={"age": 37, "city": "Paris"})
    assert (older.status_code, older.json()) == (200, ada | {"age": 37, "city": "Paris"})
    assert client.patch(f"/users/{NOBODY}", json={"age": 1}).status_code == 404
    assert client.patch(f"/users/{bob['id']}", json={"email": ADA["email"]}).status_code == 409
    assert client.delete(f"/users/{bob['id']}").status_code == 204
    assert client.delete(f"/users/{bob['id']}").status_code == 404


def test_what_was_answered_is_in_the_file(client: httpx.Client, server: Server) -> None:
    """The moment a response arrives, another process finds its row, and all of its transaction."""
    with Database.open(server.path, read_only=True) as db:
        for number in range(20):
            user = made(client.post("/users", json=BOB | {"email": f"{number}@example.com"}))
            assert db.collection("users").where("email", f"{number}@example.com").count() == 1
            before = db.collection("tags").get("new")
            write_post(client, user, f"post {number}", "new")
            after = db.collection("tags").get("new")
            assert after is not None and after["posts"] == (0 if before is None else before["posts"]) + 1


def test_posts_and_pages(client: httpx.Client, ada: dict[str, Any]) -> None:
    titles = [f"post {number}" for number in range(7)]
    posts = [write_post(client, ada, title, "odd" if int(title[-1]) % 2 else "even") for title in titles]
    found: list[str] = []
    page = client.get("/posts", params={"size": 3})
    while True:
        found += [post["title"] for post in page.json()["items"]]
        if "next" not in page.links:
            break
        page = client.get(page.links["next"]["url"])
    assert found == titles[::-1]
    odd = client.get("/posts", params={"tag": "odd", "title": "3"}).json()["items"]
    assert odd == [posts[3]]
    assert client.get("/posts", params={"author": NOBODY}).json()["items"] == []
    assert client.post("/posts", json={"author": NOBODY, "title": "x", "text": "x"}).status_code == 404
    assert client.post("/posts", json={"author": ada["id"], "title": "x", "text": "", "tags": ["?"]}).status_code == 422
    assert client.get("/posts", params={"after": "x"}).status_code == 422
    lines = client.get("/posts/export").text.splitlines()
    assert sorted(json.loads(line)["title"] for line in lines) == titles


def test_revisions(client: httpx.Client, ada: dict[str, Any]) -> None:
    post = write_post(client, ada, "first", "a", "b")
    place = f"/posts/{post['id']}"
    tag = client.get(place).headers["etag"]
    assert client.get(place, headers={"If-None-Match": tag}).status_code == 304
    text = {"title": "second", "text": "!", "tags": ["b", "c"]}
    assert client.put(place, json=text).status_code == 428
    changed = client.put(place, json=text, headers={"If-Match": tag})
    assert changed.status_code == 200 and changed.json() == post | text | {"revision": 2}
    late = client.put(place, json=text | {"title": "third"}, headers={"If-Match": tag})
    assert late.status_code == 412 and late.headers["etag"] == changed.headers["etag"] != tag
    assert client.get(place, headers={"If-None-Match": tag}).json()["title"] == "second"
    assert client.get("/tags").json() == [{"name": "b", "posts": 1}, {"name": "c", "posts": 1}]
    assert client.delete(place, headers={"If-Match": changed.headers["etag"]}).status_code == 204
    assert client.get(place).status_code == 404
    assert client.get("/tags").json() == []


def test_comments(client: httpx.Client, ada: dict[str, Any]) -> None:
    post = write_post(client, ada, "post")
    place = f"/posts/{post['id']}/comments"
    comments = [made(client.post(place, json={"author": ada["id"], "text": str(number)})) for number in range(3)]
    assert client.get(place).json()["items"] == comments
    assert client.post(place, json={"author": NOBODY, "text": "x"}).status_code == 404
    assert client.post(f"/posts/{NOBODY}/comments", json={"author": ada["id"], "text": "x"}).status_code == 404
    assert client.delete(f"/posts/{NOBODY}/comments/{comments[0]['id']}").status_code == 404
    assert client.delete(f"{place}/{comments[0]['id']}").status_code == 204
    assert client.get(place).json()["items"] == comments[1:]


def test_a_user_goes_with_everything(client: httpx.Client, ada: dict[str, Any], server: Server) -> None:
    bob = made(client.post("/users", json=BOB))
    post = write_post(client, ada, "by Ada", "shared")
    kept = write_post(client, bob, "by Bob", "shared")
    for where in (post, kept):
        made(client.post(f"/posts/{where['id']}/comments", json={"author": ada["id"], "text": "x"}))
    assert client.delete(f"/users/{ada['id']}").status_code == 204
    assert client.get("/posts").json()["items"] == [kept]
    assert client.get(f"/posts/{kept['id']}/comments").json()["items"] == []
    assert client.get("/tags").json() == [{"name": "shared", "posts": 1}]
    with Database.open(server.path, read_only=True) as db:
        assert db.collection("comments").count() == 0


def test_clients_at_the_same_time(client: httpx.Client, ada: dict[str, Any], server: Server) -> None:
    """Counters are right whoever came first; of two who change the same revision one is told to look again."""

    def work(number: int) -> list[int]:
        with server.client() as mine:
            for turn in range(5):
                write_post(mine, ada, f"{number}-{turn}", "busy")
            post = mine.get("/posts", params={"title": "0-0"}).json()["items"]
            if not post:
                return []
            text = {"title": "0-0", "text": "changed", "tags": ["busy"]}
            return [mine.put(f"/posts/{post[0]['id']}", json=text, headers={"If-Match": '"1"'}).status_code]

    with ThreadPoolExecutor(4) as pool:
        statuses = [status for found in pool.map(work, range(4)) for status in found]
    assert client.get("/tags").json() == [{"name": "busy", "posts": 20}]
    assert statuses.count(200) == 1 and set(statuses) <= {200, 412}


def test_the_document(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert {"User", "Post", "Tag", "Comment"} <= document["components"]["schemas"].keys()
    page = document["paths"]["/posts"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert document["components"]["schemas"][page.rpartition("/")[2]]["properties"].keys() == {"items", "next"}


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn"])
def test_a_restart_keeps_what_was_acknowledged(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "blog.modelvault"
    first = Server(kind, path)
    with first.client() as client:
        ada = made(client.post("/users", json=ADA))
    first.process.kill()
    first.process.wait(30)
    second = Server(kind, path)
    with second.client() as client:
        assert client.get("/users").json()["items"] == [ada]
    second.stop()
    assert second.process.returncode in (0, -15)
    with Database.open(str(path), read_only=True) as db:
        assert db.collection("users").count() == 1
