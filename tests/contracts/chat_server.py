"""A real HTTP server on loopback that speaks the chat protocol, with answers chosen by each test."""

import contextlib
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Answers each request with what `answer(body)` gives: (status, headers, JSON or bytes)."""

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.lock = answer, threading.Lock()
        self.bodies, self.headers, self.paths, self.under_way, self.most_under_way = [], [], [], 0, 0
        self.url = f"http://{self.server_address[0]}:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.bodies.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.paths.append(self.path)
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        status, headers, content = server.answer(body)
        with server.lock:
            server.under_way -= 1
        if status is None:
            self.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        # A client that was killed, or gave up, hears no answer.
        with contextlib.suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *arguments):
        """Say nothing."""


def completion(text, usage=(10, 5), finish="stop"):
    """Give an answer in the form of the protocol."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    table = {"id": "x", "object": "chat.completion", "choices": [choice]}
    if usage:
        table["usage"] = {
            "prompt_tokens": usage[0],
            "completion_tokens": usage[1],
            "total_tokens": sum(usage),
        }
    return 200, {}, table


@contextmanager
def serve(answer):
    """Run a server for the block."""
    server = Server(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def slow(answer, seconds):
    """Wait before each answer."""

    def wait(body):
        time.sleep(seconds)
        return answer(body)

    return wait
