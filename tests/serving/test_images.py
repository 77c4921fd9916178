"""Image URLs: data URLs, and remote ones from a real server on loopback."""

import asyncio
import base64
import io
import socket
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from starlette.testclient import TestClient

from gooseguard.core.content import Modality
from gooseguard.core.errors import ConfigError, ContentError
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.serving.app import create_app
from gooseguard.serving.config import ImagesConfig, ServeConfig
from gooseguard.serving.images import ImageReader, check_remote, is_public

pytest.importorskip("PIL")
pytest.importorskip("httpx2")


def png(shade=0):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(b"".join(b"\0" + bytes([shade] * 12) for _ in range(4)))
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


IMAGE = png()
DATA_URL = "data:image/png;base64," + base64.b64encode(IMAGE).decode()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("2001:0:53aa:64c:0:0:f5ff:fffe", False),
    ],
)
def test_only_addresses_of_the_public_internet(address, expected):
    assert is_public(address) is expected


def read(url, reader=None, **config):
    return asyncio.run((reader or ImageReader(ImagesConfig(**config))).read(url))


def test_data_urls():
    part = read(DATA_URL)
    assert (part.modality, part.media_type, part.data) == (Modality.IMAGE, "image/png", IMAGE)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("data:image/png,x", "no data URL of base64"),
        ("data:image/png;base64," + base64.b64encode(IMAGE[:-28]).decode(), "damaged or incomplete"),
        ("data:image/png;base64," + base64.b64encode(b"<svg/>").decode(), "no format that is read"),
        ("data:image/png;base64," + "A" * 400, "more than 200 bytes"),
        ("https://example.com/secret.png", "which this server does not fetch"),
        ("file:///etc/passwd", "which this server does not fetch"),
    ],
)
def test_what_is_no_image_without_fetching(url, found):
    with pytest.raises(ContentError, match=found) as caught:
        read(url, size_bytes=200)
    assert "secret" not in str(caught.value)


class Handler(BaseHTTPRequestHandler):
    seen = []  # noqa: RUF012  (one server for all tests)

    def do_GET(self):
        self.seen.append((self.path, self.headers["host"], self.headers.get("authorization")))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("location", self.path.removeprefix("/to/") or "/")
            self.end_headers()
        elif self.path == "/slow":
            threading.Event().wait(2)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with pytest.MonkeyPatch.context():
                try:
                    for _ in range(10_000):
                        self.wfile.write(bytes(65536))
                except OSError:
                    self.close_connection = True
        elif self.path.startswith("/image"):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(IMAGE)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(port):
    """Read URLs of images.example, which is looked up as loopback, and any other as what `hosts` says."""
    Handler.seen.clear()

    def run(url, hosts=None, **config):
        looked_up = []

        async def look_up(host, _):
            looked_up.append(host)
            addresses = {"images.example": ["127.0.0.1"], **(hosts or {})}
            if host not in addresses:
                raise socket.gaierror("unknown")
            return addresses[host]

        reader = ImageReader(
            ImagesConfig(remote=True, **config),
            lambda address: address == "127.0.0.1" or is_public(address),
            {"http": port},
            look_up,
        )
        return read(url, reader), looked_up

    return run


def refused(fetch, url, found, **options):
    with pytest.raises(ContentError, match=found) as caught:
        fetch(url, **options)
    assert "example" not in str(caught.value)


def test_a_remote_image_is_fetched_from_the_address_that_was_checked(fetch, port):
    part, looked_up = fetch("http://images.example/image?size=1#part")
    assert part.data == IMAGE
    assert looked_up == ["images.example"]
    assert Handler.seen == [("/image?size=1", "images.example", None)]
    assert fetch(f"http://images.example:{port}/image")[0].data == IMAGE


def test_redirects_are_checked_like_the_first_url(fetch, monkeypatch):
    # What the environment says of proxies is not followed.
    monkeypatch.setenv("HTTP_PROXY", f"http://{socket.gethostbyname('localhost')}:1")
    part, looked_up = fetch("http://images.example/to//to//image")
    assert part.data == IMAGE
    assert looked_up == ["images.example"] * 3
    refused(fetch, "http://images.example/to/http://inside.example/image", "no public address",
            hosts={"inside.example": ["10.0.0.1"]})  # fmt: skip
    refused(fetch, "http://images.example/to/http://169.254.169.254/image", "no public address",
            hosts={"169.254.169.254": ["169.254.169.254"]})  # fmt: skip
    refused(fetch, "http://images.example/to/file:///etc/passwd", "no known scheme")
    refused(fetch, "http://images.example/to//to//to//image", "more than 2 redirects", redirects=2)


def test_one_private_address_among_several_is_enough(fetch):
    refused(fetch, "http://mixed.example/image", "no public address",
            hosts={"mixed.example": ["127.0.0.1", "192.168.1.1"]})  # fmt: skip
    assert Handler.seen == []


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://images.example/absent", "answered 404"),
        ("http://nowhere.example/image", "could not be fetched"),
        ("http://user:secret@images.example/image", "has a user or a port"),
        ("http://images.example:22/image", "has a user or a port"),
        ("http://images.example:x/image", "URL is none"),
        ("ftp://images.example/image", "no known scheme"),
        ("//images.example/image", "no known scheme"),
        ("http:///image", "no known scheme"),
    ],
)
def test_what_is_not_fetched(fetch, url, found):
    refused(fetch, url, found)


def test_size_and_time_are_limited(fetch):
    refused(fetch, "http://images.example/endless", "more than 100000 bytes", size_bytes=100_000)
    refused(fetch, "http://images.example/slow", "did not arrive within 0.2 s", timeout_s=0.2)


def test_fetching_needs_its_extra(monkeypatch):
    check_remote(ImagesConfig(remote=True))
    monkeypatch.setattr("gooseguard.serving.images.find_spec", lambda name: None)
    check_remote(ImagesConfig())
    with pytest.raises(ConfigError, match=r"gooseguard\[remote\]"):
        check_remote(ImagesConfig(remote=True))


class Seeing:
    """Scores violence by how bright the first pixel of the images is, and texts not at all."""

    name = "seeing@0123456789ab"
    categories = frozenset({"violence", "violence/graphic"})
    modalities = frozenset({Modality.TEXT, Modality.IMAGE})
    languages = frozenset({"en"})

    def score(self, contents):
        return [self._score(content) for content in contents]

    def _score(self, content):
        from PIL import Image

        images = [part for part in content.parts if part.modality is Modality.IMAGE]
        if any(not part.data for part in images):
            return ScoreError("ContentError", "part 0: the image is empty")
        shades = [Image.open(io.BytesIO(part.data)).getpixel((0, 0))[0] / 255 for part in images]
        applied = dict.fromkeys(self.categories, frozenset(part.modality for part in content.parts))
        return Scores(dict.fromkeys(self.categories, max(shades, default=0.0)), self.name, applied=applied)


@pytest.fixture
def seeing(tmp_path):
    """A client of a server whose model sees."""
    policy = tmp_path / "mine.toml"
    policy.write_text(
        'id = "mine"\nversion = "1"\n[thresholds]\nviolence = {review = 0.5, block = 0.9}\n', "utf-8"
    )
    app = create_app(ServeConfig(policy=str(policy), images=ImagesConfig(count=3)), Seeing())
    with TestClient(app) as client:
        yield client


def image(data):
    encoded = base64.b64encode(data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}


TEXT = {"type": "text", "text": "A caption. Two sentences."}
BAD = image(png()[:-28])
REMOTE = {"type": "image_url", "image_url": {"url": "https://example.com/a"}}


def test_an_image_of_openai_s_api_is_judged_and_a_bad_one_is_one_error(seeing):
    def ask(*parts):
        return seeing.post("/v1/moderations", json={"input": list(parts)})

    (dark,) = ask(TEXT, image(png(10))).json()["results"]
    assert dark["flagged"] is False
    assert "errors" not in dark
    assert dark["category_applied_input_types"]["violence"] == ["image", "text"]
    (bright,) = ask(TEXT, image(png(10)), image(png(250))).json()["results"]
    assert bright["categories"]["violence"] is True
    (mixed,) = ask(BAD, image(png(250)), REMOTE).json()["results"]
    assert mixed["category_scores"]["violence"] == pytest.approx(250 / 255)
    assert [error["param"] for error in mixed["errors"]] == ["input[0]", "input[2]"]
    assert "damaged" in mixed["errors"][0]["message"]
    assert "does not fetch" in mixed["errors"][1]["message"]
    (none,) = ask(BAD).json()["results"]
    assert none["flagged"] is True
    assert len(none["errors"]) == 1
    many = ask(*[image(png())] * 4)
    assert many.status_code == 400
    assert many.json()["error"]["message"] == "input has 4 images, expected at most 3"


def test_an_image_of_our_own_api_is_judged_and_a_bad_one_is_its_item_s_error(seeing):
    def ask(*items):
        return seeing.post("/v1/score", json={"items": [{"parts": list(parts)} for parts in items]})

    dark, bright, mixed, none = ask(
        [TEXT, image(png(10))],
        # The type may be left out: the field says what it is.
        [{"image_url": image(png(250))["image_url"]}],
        [TEXT],
        [BAD],
    ).json()["results"]  # fmt: skip
    assert (dark["action"], dark["scores"]["violence"]) == ("allow", pytest.approx(10 / 255))
    assert "error" not in dark
    assert (bright["action"], bright["categories"]) == ("block", ["violence"])
    assert mixed["action"] == "allow"
    assert (none["action"], none["scores"]) == ("review", {})
    assert none["error"]["type"] == "ContentError"
    assert "parts[0]: " in none["error"]["message"]
    assert "damaged" in none["error"]["message"]
    # What is left of an item is judged, and never allowed.
    (doubtful,) = ask([BAD, TEXT, REMOTE]).json()["results"]
    assert (doubtful["action"], doubtful["scores"]["violence"]) == ("review", 0.0)
    assert "parts[0]: " in doubtful["error"]["message"]
    assert "parts[2]: the image is at a remote URL" in doubtful["error"]["message"]
    (blocked,) = ask([REMOTE, image(png(250))]).json()["results"]
    assert blocked["action"] == "block"
    many = ask([image(png())] * 2, [image(png())] * 2)
    assert many.status_code == 400
    assert many.json()["error"]["message"] == "items have 4 images, expected at most 3 in a request"


def test_a_model_that_reads_text_only_says_so_of_an_image_and_places_are_the_request_s(client):
    parts = [REMOTE, {"text": "Fine. You moron!"}]
    response = client.post("/v1/score", json={"items": [{"parts": parts}], "spans": True})
    (result,) = response.json()["results"]
    assert result["action"] == "block"
    assert (
        result["error"]["message"]
        == "parts[0]: this is an image; fake@0123456789ab reads text only, so it was not judged"
    )
    assert {(span["part"], span["begin"], span["end"]) for span in result["spans"]} == {(1, 6, 16)}
