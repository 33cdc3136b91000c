"""`transra serve`: by a real client, and in a browser; what it refuses, and that it follows `latest`."""

import asyncio
import errno
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from starlette.responses import JSONResponse

from artifacts.embeddings import Embeddings
from artifacts.errors import ResourceError, TransraError
from pipeline.config.loading import load_config
from pipeline.lookup.explain import explained
from pipeline.lookup.explained_text import explanation
from pipeline.lookup.published import Published
from pipeline.output.console import Console
from pipeline.serving import answers
from pipeline.serving.app import application
from pipeline.serving.limits import Hosts
from pipeline.serving.server import names_of
from pipeline.workspace.context import Context
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day

REPOSITORY = Path(__file__).resolve().parents[3]
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;"
SECONDS = 300  # until a server listens, on a machine that has much else to do


def write_world(root: Path) -> None:
    """A log in which one user has a name that a page must not take for markup, and so do labels of pins."""
    write_day(root, 0)
    log = pd.read_parquet(root / "log/day-0.parquet")
    log.loc[log.user == "u1", "user"] = HOSTILE
    log.to_parquet(root / "log/day-0.parquet")
    write_config(root)
    titles = [f"{HOSTILE} of p{pin}" for pin in range(23)]  # p23 has none
    pd.DataFrame({"pin": [f"p{pin}" for pin in range(23)], "title": titles}).to_parquet(root / "titles.parquet")
    raw = json.loads((root / "c.json").read_text())
    raw["graph"]["sources"]["titles"] = {"path": "titles.parquet"}
    raw["graph"]["entities"]["pin"] = {"label": {"source": "titles", "column": "pin", "text": "title"}}
    (root / "c.json").write_text(json.dumps(raw))
    for stage in ("partition", "train", "export"):
        assert transra(root, stage, "--quiet") == 0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("serve")
    write_world(root)
    return root


@contextmanager
def serving(root: Path, *more: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server of its own process, and its address."""
    words = [sys.executable, "-m", "pipeline.cli", "serve", str(root / "c.json"), "--root", str(root), "--port", "0"]
    with subprocess.Popen([*words, *more], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("serve: http://127.0.0.1:"), line
            yield line.split()[1].rstrip("/"), process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with serving(root) as (address, _):
        yield address


def context_at(root: Path) -> Context:
    config = root / "c.json"
    return Context(config, load_config(config), root, workspace_of(root), Console(quiet=True, as_json=False))


def ask(address: str, path: str, **parameters: Any) -> Any:
    return httpx.get(f"{address}{path}", params=parameters, timeout=SECONDS)


def test_neighbours_are_those_of_the_vectors(root: Path, address: str) -> None:
    export = Embeddings.open(latest_of(root).path)
    answer = ask(address, "/api/neighbors", type="user", id="u2", to="pin", k=5)
    (expected,) = export.neighbors("user", ["u2"], k=5, to="pin")
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["neighbors"]] == [one.id for one in expected]
    assert answer.json()["asked"] == {"type": "user", "id": "u2"}
    labels = {one["id"]: one["label"] for one in answer.json()["neighbors"] if one["id"] != "p23"}
    assert labels == {id: f"{HOSTILE} of {id}" for id in labels}


def test_edges_and_explanations(root: Path, address: str) -> None:
    log = pd.read_parquet(root / "log")
    edges = ask(address, "/api/edges", type="user", id="u2", k=100).json()
    assert {one["id"] for one in edges["edges"]} <= {*log.loc[log.user == "u2", "pin"]}
    found = ask(address, "/api/explain", user="u2", ad="p5", relation="click", k=3).json()
    assert found["edges"] == edges["count"] and len(found["supporting"]) == 3
    assert found["ad"] == {"type": "pin", "id": "p5", "label": f"{HOSTILE} of p5"}
    named = [*edges["edges"], *found["supporting"]]
    assert all(one["id"] == "p23" or one["label"] == f"{HOSTILE} of {one['id']}" for one in named)
    assert ask(address, "/api/ranker", user="u2", ad="p5").json()["missing"].startswith("no scorer is published")


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("/api/neighbors", {"type": "user", "id": "nobody"}, 404),
        ("/api/neighbors", {"type": "usr", "id": "u2"}, 400),
        ("/api/neighbors", {"type": "user", "id": "u2", "to": "none"}, 400),
        ("/api/neighbors", {"type": "user", "id": "u2", "k": "101"}, 400),
        ("/api/neighbors", {"type": "user", "id": "u2", "k": "0"}, 400),
        ("/api/neighbors", {"type": "user", "id": "u2", "k": "9" * 5000}, 400),
        ("/api/neighbors", {"type": "user"}, 400),
        ("/api/neighbors", {"type": "user", "id": "u" * 2000}, 400),
        ("/api/neighbors", {"type": "user", "id": "u\0"}, 400),
        ("/api/run", {"x": "u" * 20_000}, 414),
        ("/api/explain", {"user": "u2", "ad": "p5", "relation": "clik"}, 400),
        ("/api/nothing", {}, 404),
        ("/../setup.cfg", {}, 404),
    ],
)
def test_what_is_refused(address: str, path: str, parameters: dict[str, str], status: int) -> None:
    answer = ask(address, path, **parameters)
    assert answer.status_code == status
    assert "/" not in answer.text.replace("/api", ""), "no path of this machine is told"


def test_it_is_read_only_and_bounded(address: str) -> None:
    assert httpx.post(f"{address}/api/run", timeout=SECONDS).status_code == 405
    assert httpx.post(f"{address}/api/run", content=b"x" * 100_000, timeout=SECONDS).status_code == 413
    chunks = iter([b"x"] * 10)
    assert httpx.request("GET", f"{address}/api/run", content=chunks, timeout=SECONDS).status_code == 413


def test_another_name_for_this_machine_is_refused(address: str) -> None:
    """A page elsewhere may lead its own name here, and would then read what is answered."""
    answer = httpx.get(f"{address}/api/run", headers={"host": "evil.example"}, timeout=SECONDS)
    assert answer.status_code == 400
    assert answer.json() == {"error": "asked by another name than this machine's"}
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in ask(address, "/api/run").headers


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "192.0.2.7", "ads.example"])
def test_every_address_that_it_listens_on_checks_the_name(host: str) -> None:
    """Also where all machines may ask: the page that leads its name here runs in a browser of the same network."""
    names = names_of(host)
    served = [*names, "LocalHost", "localhost.", "192.0.2.7", "[2001:db8::7]", "10.0.0.1"]
    for name in served:
        if ":" not in name or name[0] == "[":
            assert asked_by(names, name) == asked_by(names, f"{name}:8350") == asked_by(names, f"{name}:") == 200, name
    odd = (
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[evil.example]",
        "[::1]x",
        "[::1",
        "[::1:8350",
        "[::1]:x",
        "[]",
        "[",
        ":",
        ":8350",
        "localhost::",
        "localhost:-1",
        "evil:8350",
    )
    for name in (*odd, "localhost:x", "192.0.2.7:80:80", "0x7f.1", "*"):
        assert asked_by(names, name) == 400, name
    assert asked_by(names, socket.gethostname()) == (400 if host == "127.0.0.1" else 200)


def asked_by(names: set[str], host: str) -> int:
    """The status of a request for a host."""

    async def answer() -> int:
        transport = httpx.ASGITransport(Hosts(JSONResponse({}), names=names))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return int((await client.get("/", headers={"host": host})).status_code)

    return asyncio.run(answer())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ResourceError("needs about 9 GiB of memory", "more"), "needs about 9 GiB of memory"),
        (OSError(errno.EIO, "Input/output error", "/srv/runs/x.h5"), "cannot be read now (Input/output error)"),
        (OSError("/srv/runs/x.h5: truncated"), "cannot be read now (OSError)"),
        (TransraError("something else"), "something else"),
    ],
)
def test_what_fails_meanwhile_is_said_as_json(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fails(*of: Any) -> Any:
        raise error

    monkeypatch.setattr("pipeline.serving.answers.run_facts", fails)

    async def answer() -> Any:
        made = application(context_at(root), ["x"])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://x") as client:
            return await client.get("/api/run")

    answered = asyncio.run(answer())
    assert (answered.status_code, answered.json()) == (503, {"error": said})


def test_a_scan_that_ends_early_says_so(root: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(address, "/api/edges", type="user", id="u2").json()["counted"] is True
    published = Published.of(context_at(root))
    whole = answers.edges(published, "user", "u2", 100)
    for most, counted in ((whole["count"], True), (whole["count"] - 1, False)):
        monkeypatch.setattr("pipeline.lookup.edges.MOST_EDGES", most)
        found = answers.edges(published, "user", "u2", 2)
        assert (found["count"], found["counted"]) == (most, counted)
        pair = explained(published, "u2", "p5", "click", 2)
        assert (pair["edges"], pair["edges_counted"]) == (most, counted)
        text = explanation({**pair, "ranker": {"missing": "none"}})
        assert (f"(2 of {most})" if counted else f"(2 of at least {most})") in text


def test_nothing_is_loaded_from_elsewhere(address: str) -> None:
    page = ask(address, "/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in ("/", "/page.css", "/page.js"):
        assert "http://" not in ask(address, path).text and "https://" not in ask(address, path).text


def test_it_follows_latest_and_ends_at_a_signal(root: Path, tmp_path: Path) -> None:
    write_world(tmp_path)
    with serving(tmp_path) as (address, process):
        before = ask(address, "/api/run").json()["run"]
        write_day(tmp_path, 1)
        for stage in ("partition", "train", "export"):
            assert transra(tmp_path, stage, "--quiet") == 0
        assert ask(address, "/api/run").json()["run"] == latest_of(tmp_path).id != before
        assert transra(tmp_path, "rollback", "--quiet") == 0
        assert ask(address, "/api/run").json()["run"] == before
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert workspace_of(tmp_path).latest is not None


def test_nothing_to_serve_and_a_port_that_is_taken(
    root: Path, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(tmp_path)
    assert transra(tmp_path, "serve") == 2
    assert "nothing is published yet" in capsys.readouterr().err
    assert transra(root, "serve", "--port", address.rpartition(":")[2]) == 73
    assert "choose another" in capsys.readouterr().err
    assert transra(root, "serve", "--host", "192.0.2.1") == 2
    assert "no address of this machine" in capsys.readouterr().err


def test_the_page_in_a_browser(root: Path, address: str) -> None:
    """Looks up, explains, and takes no name for markup; at three widths nothing sticks out."""
    pytest.importorskip("selenium")
    from tests.worlds.chromium import chromium, console_errors, requests

    with chromium() as browser:
        requests(browser)
        for width in (390, 820, 1440):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(f"{address}/?{width}")
            shown(browser, "ready", "yes")
            browser.execute_script(
                "const form = document.getElementById('entity'); form.type.value = 'user'; form.to.value = 'pin';"
                "form.id.value = arguments[0]; form.requestSubmit()",
                HOSTILE,
            )
            shown(browser, "entity", "shown")
            assert len(browser.find_elements("css selector", "#neighbors tbody tr")) == 10
            assert HOSTILE in browser.find_element("css selector", "#neighbors caption").text
            assert f"{HOSTILE} of p" in browser.find_element("css selector", "#neighbors tbody").text
            browser.execute_script(
                "const form = document.getElementById('pair'); form.user.value = arguments[0];"
                "form.ad.value = 'p5'; form.requestSubmit()",
                HOSTILE,
            )
            shown(browser, "pair", "shown")
            assert "near in the anchor space" in browser.find_element("id", "scores").text
            assert browser.find_elements("css selector", "#supporting tbody tr")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            browser.save_screenshot(str(root / f"{width}.png"))
        browser.find_elements("css selector", "#supporting tbody a")[0].click()
        time.sleep(0.2)
        shown(browser, "entity", "shown")
        assert browser.find_element("css selector", "#entity [name=id]").get_attribute("value").startswith("p")
        assert browser.find_element("id", "entity-error").text == ""
        assert console_errors(browser) == []
        assert {url.split("/")[2] for url in requests(browser) if url.startswith("http")} == {address.split("/")[2]}


def shown(browser: Any, what: str, state: str) -> None:
    """Waits until the page says so of itself."""
    for _ in range(10 * SECONDS):
        if browser.execute_script(f"return document.documentElement.dataset.{what}") == state:
            return
        time.sleep(0.1)
    pytest.fail(f"the page did not say {what}: {state}")
